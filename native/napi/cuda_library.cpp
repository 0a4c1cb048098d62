#include "cuda_library.h"

#include <unistd.h>

#include <algorithm>

namespace stemline {

namespace {

const char* reason_text(int32_t result) {
  switch (result) {
    case STEMLINE_CUDA_DRIVER_MISSING: return "driver-missing";
    case STEMLINE_CUDA_DRIVER_TOO_OLD: return "driver-too-old";
    case STEMLINE_CUDA_NO_DEVICE: return "no-device";
    default: return "failed";
  }
}

}  // namespace

CudaLibrary::CudaLibrary(const std::string& path) { open(path); }

void CudaLibrary::open(const std::string& path) {
  const auto fail = [&](const char* reason, const std::string& message) {
    status_.reason = reason;
    status_.message = path + ": " + message;
  };
  if (uv_dlopen(path.c_str(), &library_) != 0) {
    if (access(path.c_str(), F_OK) != 0) return fail("library-missing", "no such file");
    return fail("library-unusable", std::string("cannot be loaded: ") + uv_dlerror(&library_));
  }
  // False, and a reason, if there is no such function.
  const auto find = [&]<typename Function>(const char* name, Function*& function) {
    void* address = nullptr;
    if (uv_dlsym(&library_, name, &address) == 0 && address != nullptr) {
      function = reinterpret_cast<Function*>(address);
      return true;
    }
    fail("symbol-missing", std::string("has no function ") + name);
    return false;
  };
  decltype(stemline_cuda_abi_version)* abi_version = nullptr;
  if (!find("stemline_cuda_abi_version", abi_version)) return;
  if (const uint32_t version = abi_version(); version != STEMLINE_CUDA_ABI_VERSION) {
    return fail("wrong-version", "expected interface version " + std::to_string(STEMLINE_CUDA_ABI_VERSION) + ", got " +
                                     std::to_string(version));
  }
  if (!find("stemline_cuda_devices", functions_.devices) || !find("stemline_cuda_create", functions_.create) ||
      !find("stemline_cuda_destroy", functions_.destroy) || !find("stemline_cuda_submit", functions_.submit) ||
      !find("stemline_cuda_wait", functions_.wait) || !find("stemline_cuda_query", functions_.query)) {
    return;
  }

  char why[512] = "";
  size_t count = 0;
  int32_t result = functions_.devices(nullptr, 0, &count, &status_.versions, why, sizeof why);
  if (result == STEMLINE_CUDA_OK) {
    // Far more than any machine has: memory does not depend on what a library says.
    status_.devices.resize(std::min(count, size_t{1024}));
    result = functions_.devices(status_.devices.data(), status_.devices.size(), &count, &status_.versions, why, sizeof why);
    status_.devices.resize(result == STEMLINE_CUDA_OK ? std::min(count, status_.devices.size()) : 0);
  }
  if (result != STEMLINE_CUDA_OK) return fail(reason_text(result), text_of(why));
  if (status_.devices.empty()) return fail(reason_text(STEMLINE_CUDA_NO_DEVICE), "found no device");
}

}  // namespace stemline
