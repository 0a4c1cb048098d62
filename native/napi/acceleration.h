// The device that batches of this process may be computed on, chosen once.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "../accelerator/cuda_accelerator.h"
#include "cuda_library.h"

namespace stemline {

class Acceleration {
 public:
  // What may be used: nothing but the CPU, whatever calibration finds faster, or the device wherever it can be used.
  enum class Mode : uint8_t { cpu, automatic, cuda };

  struct Settings {
    Mode mode = Mode::cpu;
    std::string library;
    // Index of the device, as STEMLINE_CUDA_DEVICE has it; if empty that of `replica`, modulo their number.
    std::string device;
    uint32_t replica = 0;
  };

  struct Report {
    Settings settings;
    CudaStatus status;  // reason and message also say why there is no accelerator in spite of a device
    std::optional<size_t> device;
    double start_ms = 0;  // to make the context, without calibration
    std::vector<CalibrationPoint> calibration;
    double calibration_ms = 0;
    // Null if there is none.
    const CudaAccelerator* accelerator = nullptr;
  };

  static Acceleration& process();

  // Sets what `start` goes by; without effect once it has been called.
  void configure(Settings settings);

  // The accelerator, nullptr if there is none. The first call opens the library, starts the device and calibrates, tenths of
  // a second where there is one; other calls wait for that.
  CudaAccelerator* start();

  // Nothing before the first `start` is over.
  const Report* report() const;

 private:
  void open();
  void open_device();

  std::mutex mutex_;
  // Held while it starts. Not a once_flag: that one asks for a newer C library than Node does.
  std::mutex starting_;
  Settings settings_;
  std::unique_ptr<CudaLibrary> library_;
  std::unique_ptr<CudaAccelerator> accelerator_;
  Report report_;
  std::atomic<bool> over_{false};
};

}  // namespace stemline
