// The library under test: that of STEMLINE_CUDA_LIBRARY, or else the stand-in.
#pragma once

#include <dlfcn.h>
#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

#include "stemline_cuda.h"

namespace cuda_test {

inline const char* library_path() {
  const char* const path = std::getenv("STEMLINE_CUDA_LIBRARY");
  return path != nullptr && *path != '\0' ? path : STEMLINE_CUDA_LIBRARY;
}

inline void* symbol(const char* name) {
  static void* const library = dlopen(library_path(), RTLD_NOW | RTLD_LOCAL);
  REQUIRE_MESSAGE(library != nullptr, dlerror());
  return dlsym(library, name);
}

template <typename Function>
Function* function(const char* name) {
  void* const address = symbol(name);
  REQUIRE_MESSAGE(address != nullptr, name);
  return reinterpret_cast<Function*>(address);
}

#define CUDA_FUNCTION(name) cuda_test::function<decltype(name)>(#name)

// False, after saying why, if there is no device to test with.
bool have_device();

// True if calls of this library can be made to fail.
bool have_faults();

// The host's stand-in, or a library for GPUs.
inline bool is_host() { return symbol("stemline_cuda_host_allocate") != nullptr; }

struct Answer {
  int32_t result;
  std::string reason;
};

// Calls a function with a place for the reason.
template <class Call>
Answer ask(const Call& call) {
  char reason[512] = "(none)";
  const int32_t result = call(reason, sizeof reason);
  return {result, reason};
}

class Context {
 public:
  explicit Context(uint64_t max_bytes = uint64_t{1} << 30) {
    const Answer answer = ask([&](char* reason, size_t size) { return CUDA_FUNCTION(stemline_cuda_create)(0, max_bytes, &context_, reason, size); });
    REQUIRE_MESSAGE(answer.result == STEMLINE_CUDA_OK, answer.reason);
  }
  explicit Context(StemlineCudaContext* context) : context_(context) {}
  ~Context() { destroy(); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  void destroy() {
    CUDA_FUNCTION(stemline_cuda_destroy)(context_);
    context_ = nullptr;
  }

  Answer submit(const StemlineCudaBatch& batch, uint64_t& ticket) {
    return ask([&](char* reason, size_t size) { return CUDA_FUNCTION(stemline_cuda_submit)(context_, &batch, &ticket, reason, size); });
  }
  Answer wait(uint64_t ticket) {
    return ask([&](char* reason, size_t size) { return CUDA_FUNCTION(stemline_cuda_wait)(context_, ticket, reason, size); });
  }
  StemlineCudaUsage usage() {
    StemlineCudaUsage usage;
    const Answer answer = ask([&](char* reason, size_t size) { return CUDA_FUNCTION(stemline_cuda_query)(context_, &usage, reason, size); });
    CHECK(answer.result == STEMLINE_CUDA_OK);
    return usage;
  }
  StemlineCudaContext* get() const { return context_; }

 private:
  StemlineCudaContext* context_ = nullptr;
};

}  // namespace cuda_test
