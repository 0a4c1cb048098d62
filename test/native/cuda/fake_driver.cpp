// Stands for NVIDIA's driver on a machine without devices: as libcuda.so.1 before the real one, it has the CUDA version that
// STEMLINE_FAKE_DRIVER says. The CUDA runtime asks for every function by this one.
#include <cstdlib>
#include <cstring>

namespace {

int driver_version(int* version) {
  *version = std::atoi(std::getenv("STEMLINE_FAKE_DRIVER"));
  return 0;
}

int init(unsigned) { return 100; }  // CUDA_ERROR_NO_DEVICE

int any_other() { return 999; }  // CUDA_ERROR_UNKNOWN

}  // namespace

extern "C" __attribute__((visibility("default"))) int cuGetProcAddress_v2(const char* name, void** function, int,
                                                                          unsigned long long, int* status) {
  *function = reinterpret_cast<void*>(any_other);
  if (std::strcmp(name, "cuGetProcAddress") == 0) *function = reinterpret_cast<void*>(cuGetProcAddress_v2);
  if (std::strcmp(name, "cuDriverGetVersion") == 0) *function = reinterpret_cast<void*>(driver_version);
  if (std::strcmp(name, "cuInit") == 0) *function = reinterpret_cast<void*>(init);
  if (status != nullptr) *status = 0;
  return 0;
}
