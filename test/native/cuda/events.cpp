#include "batch.h"
#include "host_runtime.h"

namespace cuda_test {

namespace {

// The driver of the machine, for memory of the device: the library under test offers none.
struct Driver {
  Driver() {
    void* const library = dlopen("libcuda.so.1", RTLD_NOW);
    REQUIRE(library != nullptr);
    const auto find = [&](auto& function, const char* name) {
      void* const address = dlsym(library, name);
      REQUIRE_MESSAGE(address != nullptr, name);
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(address);
    };
    int (*init)(unsigned) = nullptr;
    int (*retain)(void**, int) = nullptr;
    find(init, "cuInit");
    find(retain, "cuDevicePrimaryCtxRetain");
    find(set_current, "cuCtxSetCurrent");
    find(allocate_device, "cuMemAlloc_v2");
    find(free_device, "cuMemFree_v2");
    find(allocate_pinned, "cuMemHostAlloc");
    find(free_pinned, "cuMemFreeHost");
    find(copy, "cuMemcpyHtoD_v2");
    REQUIRE(init(0) == 0);
    REQUIRE(retain(&context, 0) == 0);
  }

  void* context = nullptr;
  int (*set_current)(void*) = nullptr;
  int (*allocate_device)(unsigned long long*, size_t) = nullptr;
  int (*free_device)(unsigned long long) = nullptr;
  int (*allocate_pinned)(void**, size_t, unsigned) = nullptr;
  int (*free_pinned)(void*) = nullptr;
  int (*copy)(unsigned long long, const void*, size_t) = nullptr;
};

const Driver& driver() {
  static const Driver found;
  REQUIRE(found.set_current(found.context) == 0);
  return found;
}

}  // namespace

// Never empty, so that the first address is that of memory.
Events::Events(const std::vector<uint32_t>& events, Place place, size_t shift) : place_(place), shift_(shift) {
  const size_t size = events.size() * sizeof(uint32_t);
  if (place == Place::pageable) {
    block_ = new uint8_t[size + shift + 1];
  } else if (is_host()) {
    block_ = CUDA_FUNCTION(stemline_cuda_host_allocate)(place == Place::pinned, size + shift + 1);
    REQUIRE(block_ != nullptr);
  } else if (place == Place::pinned) {
    REQUIRE(driver().allocate_pinned(&block_, size + shift + 1, 0) == 0);
  } else {
    unsigned long long address = 0;
    REQUIRE(driver().allocate_device(&address, size + shift + 1) == 0);
    if (size > 0) REQUIRE(driver().copy(address + shift, events.data(), size) == 0);
    block_ = reinterpret_cast<void*>(address);
    return;
  }
  if (size > 0) std::memcpy(static_cast<uint8_t*>(block_) + shift, events.data(), size);
}

Events::~Events() {
  if (place_ == Place::pageable) {
    delete[] static_cast<uint8_t*>(block_);
  } else if (is_host()) {
    CUDA_FUNCTION(stemline_cuda_host_free)(block_);
  } else if (place_ == Place::pinned) {
    driver().free_pinned(block_);
  } else {
    driver().free_device(reinterpret_cast<unsigned long long>(block_));
  }
}

void SlowStreams::set(unsigned microseconds) {
  if (is_host()) CUDA_FUNCTION(stemline_cuda_host_delay)(microseconds);
}

size_t host_blocks() { return is_host() ? CUDA_FUNCTION(stemline_cuda_host_blocks)() : 0; }

}  // namespace cuda_test
