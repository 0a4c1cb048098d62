// Has batches computed by the CUDA library, as far as that is there, works, and is faster.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "../core/accelerator.h"
#include "../core/buffer_pool.h"
#include "../core/status.h"
#include "../cuda/stemline_cuda.h"

namespace stemline {

// The functions of an opened library, which stays open.
struct CudaFunctions {
  decltype(stemline_cuda_devices)* devices;
  decltype(stemline_cuda_create)* create;
  decltype(stemline_cuda_destroy)* destroy;
  decltype(stemline_cuda_submit)* submit;
  decltype(stemline_cuda_wait)* wait;
  decltype(stemline_cuda_query)* query;
};

// Most memory that is taken of the device, and of pinned host memory.
inline constexpr uint64_t cuda_max_bytes = uint64_t{1} << 30;

// One comparison of CPU and device: milliseconds for a batch of so many events, the shorter of two runs.
struct CalibrationPoint {
  BatchOperation operation;
  uint64_t events;
  double cpu_ms;
  double device_ms;
  bool device_chosen;
};

class CudaAccelerator : public Accelerator {
 public:
  struct Figures {
    uint64_t batches = 0;    // computed
    uint64_t busy = 0;       // left to the CPU: all slots in use
    uint64_t too_large = 0;  // left to the CPU: beyond the memory that may be used
    uint64_t failures = 0;   // left to the CPU: failed
    std::string failure;     // the last one's reason
    bool off = false;        // for good, after that failure
  };

  // Makes a context on the device. invalid_argument with the library's reason if it cannot be had.
  static Status create(const CudaFunctions& functions, int32_t device, std::unique_ptr<CudaAccelerator>& created);
  ~CudaAccelerator() override;
  CudaAccelerator(const CudaAccelerator&) = delete;
  CudaAccelerator& operator=(const CudaAccelerator&) = delete;

  const char* name() const override { return "cuda"; }
  bool takes(BatchOperation operation, uint64_t event_count) const override;
  bool compute(const BatchWork& work, BatchWorkResult& result) override;

  // Takes every batch that it can, until `calibrate` says which it takes.
  void calibrate(const Backend& cpu, BufferPool& pool);
  const std::vector<CalibrationPoint>& calibration() const { return calibration_; }
  double calibration_ms() const { return calibration_ms_; }

  Figures figures() const;
  StemlineCudaUsage usage() const;

 private:
  CudaAccelerator(const CudaFunctions& functions, StemlineCudaContext* context) : functions_(functions), context_(context) {}
  bool note(int32_t result, const char* reason);

  const CudaFunctions functions_;
  StemlineCudaContext* const context_;

  // Set before other threads use it.
  std::vector<CalibrationPoint> calibration_;
  double calibration_ms_ = 0;

  std::atomic<bool> off_{false};
  mutable std::mutex mutex_;
  Figures figures_;
  uint32_t failures_in_a_row_ = 0;
};

}  // namespace stemline
