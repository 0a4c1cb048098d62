// The CUDA library as this process sees it.
#pragma once

#include <uv.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "../accelerator/cuda_accelerator.h"

namespace stemline {

struct CudaStatus {
  const char* reason = nullptr;  // nullptr if there is a device
  std::string message;
  StemlineCudaVersions versions{};
  std::vector<StemlineCudaDevice> devices;
};

// An open library. Through libuv, as Node opens addons: dlopen itself would tie the addon to the C library it was built with.
// Symbols of the library stay its own.
class CudaLibrary {
 public:
  // Opens the one at `path` and asks it for devices.
  explicit CudaLibrary(const std::string& path);
  ~CudaLibrary() { uv_dlclose(&library_); }
  CudaLibrary(const CudaLibrary&) = delete;
  CudaLibrary& operator=(const CudaLibrary&) = delete;

  const CudaStatus& status() const { return status_; }

  // Can be called if there is a device, while the library is open.
  const CudaFunctions& functions() const { return functions_; }

 private:
  void open(const std::string& path);

  uv_lib_t library_;
  CudaStatus status_;
  CudaFunctions functions_{};
};

// Whatever a library wrote, the text ends in its array.
template <size_t size>
std::string text_of(const char (&text)[size]) {
  return {text, strnlen(text, size)};
}

}  // namespace stemline
