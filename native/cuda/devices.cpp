#include <cuda_runtime_api.h>

#include <cstdio>

#include "call.h"
#include "stemline_cuda.h"

namespace {

StemlineCudaResult result_of(cudaError_t error, int driver_version) {
  switch (error) {
    case cudaSuccess: return STEMLINE_CUDA_OK;
    // CUDA has one code for both.
    case cudaErrorInsufficientDriver: return driver_version == 0 ? STEMLINE_CUDA_DRIVER_MISSING : STEMLINE_CUDA_DRIVER_TOO_OLD;
    case cudaErrorNoDevice: return STEMLINE_CUDA_NO_DEVICE;
    default: return STEMLINE_CUDA_FAILED;
  }
}

cudaError_t describe(int index, StemlineCudaDevice& device) {
  cudaDeviceProp properties;
  if (const cudaError_t error = CUDA(cudaGetDeviceProperties, &properties, index); error != cudaSuccess) return error;
  static_assert(sizeof device.name == sizeof properties.name);
  std::snprintf(device.name, sizeof device.name, "%s", properties.name);
  device.compute_major = properties.major;
  device.compute_minor = properties.minor;
  device.total_memory = properties.totalGlobalMem;
  return CUDA(cudaDeviceGetPCIBusId, device.pci_bus_id, sizeof device.pci_bus_id, index);
}

void explain(StemlineCudaResult result, cudaError_t error, const StemlineCudaVersions& versions, char* reason, size_t size) {
  // CUDA's own text for these is the same, and a riddle.
  if (result == STEMLINE_CUDA_DRIVER_MISSING) {
    std::snprintf(reason, size, "no NVIDIA driver is installed");
  } else if (result == STEMLINE_CUDA_DRIVER_TOO_OLD) {
    std::snprintf(reason, size, "the NVIDIA driver runs CUDA up to %d.%d, %d.%d is needed", versions.driver / 1000,
                  versions.driver % 1000 / 10, versions.runtime / 1000, versions.runtime % 1000 / 10);
  } else {
    std::snprintf(reason, size, "%s (%s)", cudaGetErrorString(error), cudaGetErrorName(error));
  }
}

}  // namespace

uint32_t stemline_cuda_abi_version() { return STEMLINE_CUDA_ABI_VERSION; }

int32_t stemline_cuda_devices(StemlineCudaDevice* devices, size_t capacity, size_t* device_count, StemlineCudaVersions* versions,
                              char* reason, size_t reason_size) {
  // Neither call writes its output when it fails.
  int driver = 0, runtime = 0, count = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  *versions = {driver, runtime};
  *device_count = 0;

  cudaError_t error = CUDA(cudaGetDeviceCount, &count);
  if (error == cudaSuccess && count == 0) error = cudaErrorNoDevice;
  for (int i = 0; error == cudaSuccess && i < count && static_cast<size_t>(i) < capacity; ++i) {
    error = describe(i, devices[i]);
  }
  if (error != cudaSuccess) cudaGetLastError();  // which a later call would report as its own
  const StemlineCudaResult result = result_of(error, driver);
  if (result == STEMLINE_CUDA_OK) {
    *device_count = static_cast<size_t>(count);
  } else {
    explain(result, error, *versions, reason, reason_size);
  }
  return result;
}
