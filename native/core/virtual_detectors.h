// Virtual detectors: sets of detector pixels whose events are counted for each scan position, such as a bright field's disk.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "status.h"

namespace stemline {

inline constexpr size_t max_detectors = 32;

// Largest frames that pixels are counted of: those of the largest cameras, 4,096 x 4,096.
inline constexpr uint64_t max_counted_pixels = uint64_t{1} << 24;

// Pixels with inner <= distance from the centre < outer, as interactEM's virtual-bfdf has it; in float64.
struct Annulus {
  struct Center {
    double row, column;
  };
  std::optional<Center> center;  // pixels; the middle of the frame without it
  double inner_radius = 0;       // pixels, at least 0
  double outer_radius = 0;       // pixels, above the inner one
};

// Pixels that are not 0, row-major; only for frames of the same shape.
struct PixelMask {
  uint32_t rows = 0;
  uint32_t columns = 0;
  std::vector<uint8_t> pixels;
};

struct VirtualDetector {
  std::string name;  // of its array in results: a letter, then letters, digits and underscores
  std::variant<Annulus, PixelMask> region;
};

// For each pixel of a frame shape, in bit d whether detector d has it.
struct DetectorMasks {
  uint32_t rows = 0;
  uint32_t columns = 0;
  std::vector<uint32_t> bits;
  uint64_t key = 0;  // differs from that of all other masks of this process
};

// Detectors with distinct names, at most max_detectors of them. Thread-safe.
class VirtualDetectors {
 public:
  // `reserved` are names of other arrays of a result. Throws std::bad_alloc, as `masks` does.
  static Status create(std::vector<VirtualDetector> detectors, std::span<const std::string_view> reserved,
                       std::shared_ptr<VirtualDetectors>& created);

  const std::vector<VirtualDetector>& detectors() const { return detectors_; }
  size_t size() const { return detectors_.size(); }

  // The masks for frames of a shape, at most max_counted_pixels of them. Kept until another shape is asked for.
  Status masks(uint32_t rows, uint32_t columns, std::shared_ptr<const DetectorMasks>& masks);

 private:
  explicit VirtualDetectors(std::vector<VirtualDetector> detectors) : detectors_(std::move(detectors)) {}

  const std::vector<VirtualDetector> detectors_;
  std::mutex mutex_;
  std::shared_ptr<const DetectorMasks> last_;
};

}  // namespace stemline
