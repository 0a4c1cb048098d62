// The kernels as loops on the host: frames one after another, each by one lane.
#include "host_runtime.h"
#include "kernels.h"

namespace stemline::cuda {

namespace {

struct OneLane {
  static constexpr uint32_t size = 1;
  uint32_t lane() const { return 0; }
  uint32_t sum(uint32_t x) const { return x; }
  uint32_t max(uint32_t x) const { return x; }
  uint32_t count(bool holds) const { return holds ? 1 : 0; }

  // A stream's results are its own.
  template <class T>
  void add(T* address, T x) const {
    *address += x;
  }
  void raise(uint32_t* address, uint32_t x) const { *address = x > *address ? x : *address; }
};

struct SumsLoop {
  const SumsTask& task;
  cudaStream_t stream;

  template <class Crop, bool analysis>
  cudaError_t run() const {
    enqueue(stream, [task = task] { sum_parts<Crop, analysis>(OneLane(), task, 0, 1); });
    return cudaSuccess;
  }
};

}  // namespace

cudaError_t find_kernels() { return cudaSuccess; }

cudaError_t launch_sums(const SumsTask& task, StemlineCudaCrop crop, StemlineCudaShape shape, bool analysis, uint32_t, uint32_t,
                        cudaStream_t stream) {
  return with_crop(crop, shape, analysis, SumsLoop{task, stream});
}

}  // namespace stemline::cuda
