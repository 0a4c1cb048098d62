#include "kernels.h"

#include <cuda_runtime.h>

#include <algorithm>

#include "mutex.h"

namespace stemline::cuda {

namespace {

constexpr uint32_t block_threads = 256;

// A warp, or a part of it that works by itself.
template <uint32_t width>
class Tile {
 public:
  static constexpr uint32_t size = width;

  __device__ Tile() : lane_(threadIdx.x % width), mask_((width == 32 ? 0 : 1u << width) - 1) {
    if constexpr (width < 32) mask_ <<= threadIdx.x % 32 - lane_;
  }

  __device__ uint32_t lane() const { return lane_; }

  __device__ uint32_t sum(uint32_t x) const {
#if __CUDA_ARCH__ >= 800
    if constexpr (width == 32) {
      return __reduce_add_sync(mask_, x);
    } else
#endif
    {
      for (uint32_t offset = width / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(mask_, x, offset, width);
      return x;
    }
  }

  __device__ uint32_t max(uint32_t x) const {
    for (uint32_t offset = width / 2; offset > 0; offset /= 2) x = ::max(x, __shfl_xor_sync(mask_, x, offset, width));
    return x;
  }

  __device__ uint32_t count(bool holds) const { return __popc(__ballot_sync(mask_, holds) & mask_); }

  __device__ void add(uint32_t* address, uint32_t x) const { atomicAdd(address, x); }
  __device__ void add(uint64_t* address, uint64_t x) const {
    static_assert(sizeof(unsigned long long) == sizeof(uint64_t));
    atomicAdd(reinterpret_cast<unsigned long long*>(address), x);
  }

  // Looks first: most tiles find a maximum that is theirs too, and need not wait for each other.
  __device__ void raise(uint32_t* address, uint32_t x) const {
    if (x > *static_cast<const volatile uint32_t*>(address)) atomicMax(address, x);
  }

 private:
  uint32_t lane_;
  uint32_t mask_;
};

template <uint32_t width, class Crop, bool analysis>
__global__ void __launch_bounds__(block_threads) sum_kernel(const __grid_constant__ SumsTask task) {
  constexpr uint32_t block_tiles = block_threads / width;
  sum_parts<Crop, analysis>(Tile<width>(), task, blockIdx.x * block_tiles + threadIdx.x / width, gridDim.x * block_tiles);
}

// Parts up to this mean length are summed by 8 lanes, whose first loads then hold most of them whole.
constexpr uint32_t longest_for_narrow = 24;

// A kernel's first launch finds it, in a static variable that nvcc makes: without the compiler's own guard, which needs libstdc++.
Mutex launching;

struct SumsLaunch {
  const SumsTask& task;
  uint32_t mean_count;
  uint32_t multiprocessors;
  cudaStream_t stream;

  template <class Crop, bool analysis>
  cudaError_t run() const {
    return mean_count <= longest_for_narrow ? run_with<8, Crop, analysis>() : run_with<32, Crop, analysis>();
  }

  template <uint32_t width, class Crop, bool analysis>
  cudaError_t run_with() const {
    // Twice as many blocks as any device has room for: one that ends early makes room for another.
    constexpr uint32_t most_in_multiprocessor = 2 * 2048 / block_threads;
    constexpr uint32_t block_tiles = block_threads / width;
    const uint32_t blocks = (task.part_count - 1) / block_tiles + 1;
    sum_kernel<width, Crop, analysis>
        <<<std::min(blocks, most_in_multiprocessor * multiprocessors), block_threads, 0, stream>>>(task);
    return cudaGetLastError();
  }
};

}  // namespace

cudaError_t find_kernels() {
  cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(&attributes, sum_kernel<32, NoCrop, false>);
}

cudaError_t launch_sums(const SumsTask& task, StemlineCudaCrop crop, StemlineCudaShape shape, bool analysis, uint32_t mean_count,
                        uint32_t multiprocessors, cudaStream_t stream) {
  const Lock lock(launching);
  return with_crop(crop, shape, analysis, SumsLaunch{task, mean_count, multiprocessors, stream});
}

}  // namespace stemline::cuda
