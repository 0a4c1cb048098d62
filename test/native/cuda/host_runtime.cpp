// Stands for the CUDA runtime where there is no GPU: those of its functions that the library uses, with the host's memory and a
// thread for each stream. It proves the library's control flow - slots, memory, what happens in which order, failures - and, with
// host_kernels.cpp, its arithmetic; of GPUs it proves nothing.
#include "host_runtime.h"

#include <cuda_runtime_api.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

namespace {

constexpr size_t device_memory = size_t{4} << 30;

std::atomic<unsigned> delay_microseconds{0};

struct Memory {
  // Found by any address in it. What is allocated is filled, since the device's memory does not start from zero.
  cudaError_t allocate(void** data, size_t size, cudaMemoryType type) {
    const std::lock_guard<std::mutex> lock(mutex);
    if (type == cudaMemoryTypeDevice && size > device_memory - device_used) return cudaErrorMemoryAllocation;
    void* const block = std::malloc(size);
    if (block == nullptr) return cudaErrorMemoryAllocation;
    std::memset(block, 0xa5, size);
    blocks[static_cast<char*>(block)] = {size, type};
    if (type == cudaMemoryTypeDevice) device_used += size;
    *data = block;
    return cudaSuccess;
  }

  cudaError_t free(void* data, cudaMemoryType type) {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto found = blocks.find(static_cast<char*>(data));
    if (found == blocks.end() || found->second.type != type) return cudaErrorInvalidValue;
    if (type == cudaMemoryTypeDevice) device_used -= found->second.size;
    blocks.erase(found);
    std::free(data);
    return cudaSuccess;
  }

  cudaMemoryType type_of(const void* address) {
    const std::lock_guard<std::mutex> lock(mutex);
    const char* const at = static_cast<const char*>(address);
    auto block = blocks.upper_bound(const_cast<char*>(at));
    if (block == blocks.begin()) return cudaMemoryTypeUnregistered;
    --block;
    return at < block->first + block->second.size ? block->second.type : cudaMemoryTypeUnregistered;
  }

  struct Block {
    size_t size;
    cudaMemoryType type;
  };
  std::mutex mutex;
  std::map<char*, Block> blocks;
  size_t device_used = 0;
};

Memory& memory() {
  static Memory all;
  return all;
}

}  // namespace

struct CUstream_st {
  CUstream_st() : thread([this] { run(); }) {}
  ~CUstream_st() {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      ended = true;
    }
    changed.notify_all();
    thread.join();
  }

  void add(std::function<void()> work) {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      queue.push_back(std::move(work));
    }
    changed.notify_all();
  }

  void wait() {
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [this] { return queue.empty(); });
  }

 private:
  void run() {
    std::unique_lock<std::mutex> lock(mutex);
    for (;;) {
      changed.wait(lock, [this] { return ended || !queue.empty(); });
      if (queue.empty()) return;
      const std::function<void()> work = queue.front();
      lock.unlock();
      if (const unsigned delay = delay_microseconds; delay > 0) std::this_thread::sleep_for(std::chrono::microseconds(delay));
      work();
      lock.lock();
      queue.pop_front();
      changed.notify_all();
    }
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> queue;  // the first is at work
  bool ended = false;
  std::thread thread;
};

struct CUevent_st {
  std::mutex mutex;
  std::condition_variable changed;
  uint64_t recorded = 0, reached = 0;
};

void stemline::cuda::enqueue(cudaStream_t stream, std::function<void()> work) { stream->add(std::move(work)); }

void* stemline_cuda_host_allocate(bool pinned, size_t size) {
  void* data = nullptr;
  return memory().allocate(&data, size, pinned ? cudaMemoryTypeHost : cudaMemoryTypeDevice) == cudaSuccess ? data : nullptr;
}

void stemline_cuda_host_free(void* data) { memory().free(data, memory().type_of(data)); }

size_t stemline_cuda_host_blocks() {
  const std::lock_guard<std::mutex> lock(memory().mutex);
  return memory().blocks.size();
}

void stemline_cuda_host_delay(unsigned microseconds) { delay_microseconds = microseconds; }

cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device != 0) return cudaErrorInvalidDevice;
  std::memset(properties, 0, sizeof *properties);
  std::snprintf(properties->name, sizeof properties->name, "host emulation");
  properties->major = 9;
  properties->minor = 0;
  properties->totalGlobalMem = device_memory;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char* id, int size, int device) {
  if (device != 0) return cudaErrorInvalidDevice;
  std::snprintf(id, static_cast<size_t>(size), "0000:00:00.0");
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device != 0) return cudaErrorInvalidDevice;
  if (attribute != cudaDevAttrMultiProcessorCount) return cudaErrorInvalidValue;
  *value = 1;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }

cudaError_t cudaGetLastError() { return cudaSuccess; }

// The real texts need the real runtime.
const char* cudaGetErrorString(cudaError_t error) { return error == cudaErrorMemoryAllocation ? "out of memory" : "a failure"; }

const char* cudaGetErrorName(cudaError_t error) {
  thread_local char name[32];
  std::snprintf(name, sizeof name, "cudaError %d", static_cast<int>(error));
  return name;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st;
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  stream->wait();
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  uint64_t number;
  {
    const std::lock_guard<std::mutex> lock(event->mutex);
    number = ++event->recorded;
  }
  stream->add([event, number] {
    const std::lock_guard<std::mutex> lock(event->mutex);
    event->reached = number;
    event->changed.notify_all();
  });
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  std::unique_lock<std::mutex> lock(event->mutex);
  const uint64_t number = event->recorded;
  event->changed.wait(lock, [&] { return event->reached >= number; });
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** data, size_t size) { return memory().allocate(data, size, cudaMemoryTypeDevice); }

cudaError_t cudaFree(void* data) { return memory().free(data, cudaMemoryTypeDevice); }

cudaError_t cudaMallocHost(void** data, size_t size) { return memory().allocate(data, size, cudaMemoryTypeHost); }

cudaError_t cudaFreeHost(void* data) { return memory().free(data, cudaMemoryTypeHost); }

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
  std::memset(attributes, 0, sizeof *attributes);
  attributes->type = memory().type_of(address);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t size, cudaMemcpyKind kind, cudaStream_t stream) {
  const bool from_device = memory().type_of(from) == cudaMemoryTypeDevice, to_device = memory().type_of(to) == cudaMemoryTypeDevice;
  if (from_device != (kind == cudaMemcpyDeviceToHost) || to_device != (kind == cudaMemcpyHostToDevice)) return cudaErrorInvalidValue;
  stream->add([=] { std::memcpy(to, from, size); });
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* data, int value, size_t size, cudaStream_t stream) {
  if (memory().type_of(data) != cudaMemoryTypeDevice) return cudaErrorInvalidValue;
  stream->add([=] { std::memset(data, value, size); });
  return cudaSuccess;
}
