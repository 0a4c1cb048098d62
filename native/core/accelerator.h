// A device beside the CPU that computes the sums of a batch, where there is one and where it is faster.
#pragma once

#include <cstdint>
#include <span>

#include "backend.h"
#include "virtual_detectors.h"

namespace stemline {

// What is computed of a batch, as far as it matters for who is faster.
enum class BatchOperation : uint8_t { no_crop, fixed_crop, own_center_crop, analysis };
inline constexpr size_t batch_operation_count = 4;

// Which events a centre of mass takes.
struct Crop {
  enum class Kind : uint8_t { none, fixed, own_center };
  Kind kind = Kind::none;
  CropShape shape = CropShape::box;
  CropWindow window{};  // of a fixed one
  // Of windows around each position's own centre; see window_around_own.
  float half_rows = 0, half_columns = 0, limit = 0;
};

// Where one frame's events lie, counted in events from the first of the message, and the index of its position's sums.
struct FrameEvents {
  uint32_t begin;
  uint32_t count;
  uint32_t position;
};

struct BatchWork {
  const uint8_t* events;  // uint32, little-endian, of any alignment
  uint64_t event_count;
  std::span<const FrameEvents> frames;  // at least one
  uint32_t position_count;
  uint32_t frame_rows, frame_columns;
  Crop crop;
  // For an analysis; null without.
  const DetectorMasks* masks;
  uint32_t detector_count;
};

struct BatchWorkResult {
  CroppedSums* sums;  // position_count
  uint32_t largest = 0;
  // Of an analysis: position_count; detector_count times position_count, detector by detector; pixels of a frame.
  uint32_t* events = nullptr;
  uint32_t* detectors = nullptr;
  uint32_t* pattern = nullptr;
};

class Accelerator {
 public:
  virtual ~Accelerator() = default;
  virtual const char* name() const = 0;

  // Whether it should compute a batch of so many events.
  virtual bool takes(BatchOperation operation, uint64_t event_count) const = 0;

  // Computes as the CPU does, bit for bit. False if it could not: then the CPU has to. Called from several threads.
  virtual bool compute(const BatchWork& work, BatchWorkResult& result) = 0;
};

}  // namespace stemline
