#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "../cuda/stemline_cuda.h"
#include "convert.h"
#include "exports.h"

namespace stemline {

namespace {

// Through libuv, as Node opens addons: dlopen itself would tie the addon to the C library it was built with. Symbols of the
// library stay its own.
class Library {
 public:
  explicit Library(const std::string& path) : open_(uv_dlopen(path.c_str(), &library_) == 0) {}
  ~Library() { uv_dlclose(&library_); }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  bool is_open() const { return open_; }
  const char* error() const { return uv_dlerror(&library_); }

  // nullptr if there is none.
  template <typename Function>
  Function* function(const char* name) {
    void* address = nullptr;
    return uv_dlsym(&library_, name, &address) == 0 ? reinterpret_cast<Function*>(address) : nullptr;
  }

 private:
  uv_lib_t library_;
  bool open_;
};

struct CudaStatus {
  const char* reason = nullptr;  // nullptr if there is a device
  std::string message;
  StemlineCudaVersions versions{};
  std::vector<StemlineCudaDevice> devices;
};

const char* reason_text(int32_t result) {
  switch (result) {
    case STEMLINE_CUDA_DRIVER_MISSING: return "driver-missing";
    case STEMLINE_CUDA_DRIVER_TOO_OLD: return "driver-too-old";
    case STEMLINE_CUDA_NO_DEVICE: return "no-device";
    default: return "failed";
  }
}

// Whatever the library wrote, the text ends in its array.
template <size_t size>
std::string text_of(const char (&text)[size]) {
  return {text, strnlen(text, size)};
}

CudaStatus cuda_status(const std::string& path) {
  CudaStatus status;
  const auto fail = [&](const char* reason, std::string message) {
    status.reason = reason;
    status.message = path + ": " + std::move(message);
    return status;
  };

  Library library(path);
  if (!library.is_open()) {
    if (access(path.c_str(), F_OK) != 0) return fail("library-missing", "no such file");
    return fail("library-unusable", std::string("cannot be loaded: ") + library.error());
  }
  constexpr const char* names[] = {"stemline_cuda_abi_version", "stemline_cuda_devices"};
  auto* const abi_version = library.function<decltype(stemline_cuda_abi_version)>(names[0]);
  auto* const query = library.function<decltype(stemline_cuda_devices)>(names[1]);
  if (abi_version == nullptr) return fail("symbol-missing", std::string("has no function ") + names[0]);
  if (const uint32_t version = abi_version(); version != STEMLINE_CUDA_ABI_VERSION) {
    return fail("wrong-version", "expected interface version " + std::to_string(STEMLINE_CUDA_ABI_VERSION) + ", got " +
                                     std::to_string(version));
  }
  if (query == nullptr) return fail("symbol-missing", std::string("has no function ") + names[1]);

  char why[512] = "";
  size_t count = 0;
  int32_t result = query(nullptr, 0, &count, &status.versions, why, sizeof why);
  if (result == STEMLINE_CUDA_OK) {
    // Far more than any machine has: memory does not depend on what a library says.
    status.devices.resize(std::min(count, size_t{1024}));
    result = query(status.devices.data(), status.devices.size(), &count, &status.versions, why, sizeof why);
    status.devices.resize(result == STEMLINE_CUDA_OK ? std::min(count, status.devices.size()) : 0);
  }
  if (result != STEMLINE_CUDA_OK) return fail(reason_text(result), text_of(why));
  if (status.devices.empty()) return fail(reason_text(STEMLINE_CUDA_NO_DEVICE), "found no device");
  return status;
}

Napi::Object to_js(Napi::Env env, const StemlineCudaDevice& device) {
  Napi::Array capability = Napi::Array::New(env, 2);
  capability.Set(0u, device.compute_major);
  capability.Set(1u, device.compute_minor);
  Napi::Object object = Napi::Object::New(env);
  object.Set("name", text_of(device.name));
  object.Set("pciBusId", text_of(device.pci_bus_id));
  object.Set("computeCapability", capability);
  object.Set("memoryBytes", static_cast<double>(device.total_memory));
  return object;
}

}  // namespace

Napi::Value js_cuda_status(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::string library = path_argument(info[0], "library");
  const CudaStatus status = cuda_status(library);
  Napi::Array devices = Napi::Array::New(env, status.devices.size());
  for (size_t i = 0; i < status.devices.size(); ++i) devices.Set(static_cast<uint32_t>(i), to_js(env, status.devices[i]));
  Napi::Object object = Napi::Object::New(env);
  object.Set("library", library);
  object.Set("reason", status.reason == nullptr ? env.Null() : Napi::Value(Napi::String::New(env, status.reason)));
  object.Set("message", status.message);
  object.Set("driverVersion", status.versions.driver);
  object.Set("runtimeVersion", status.versions.runtime);
  object.Set("devices", devices);
  return object;
}

}  // namespace stemline
