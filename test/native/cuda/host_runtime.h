// What the CUDA runtime's stand-in offers beside the runtime's own functions.
#pragma once

#include <driver_types.h>

#include <functional>

namespace stemline::cuda {

// Work for a stream's thread, after all that was given to it before.
void enqueue(cudaStream_t stream, std::function<void()> work);

}  // namespace stemline::cuda

// For tests, which have no CUDA of their own: events in memory that the library takes for the device's or for pinned memory.
extern "C" __attribute__((visibility("default"))) void* stemline_cuda_host_allocate(bool pinned, size_t size);
extern "C" __attribute__((visibility("default"))) void stemline_cuda_host_free(void* data);
// How many blocks of either are allocated.
extern "C" __attribute__((visibility("default"))) size_t stemline_cuda_host_blocks();
// Makes all streams slow: each piece of work takes so much longer.
extern "C" __attribute__((visibility("default"))) void stemline_cuda_host_delay(unsigned microseconds);
