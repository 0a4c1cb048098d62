// What stemline_cuda.so offers. The addon opens that library at run time, so that it needs neither CUDA nor a GPU itself; they
// may come from different builds, hence plain C and a version. Nothing throws, prints or allocates for the caller.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Goes up by one with every change below.
#define STEMLINE_CUDA_ABI_VERSION 1

#define STEMLINE_CUDA_EXPORT __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

typedef enum StemlineCudaResult {
  STEMLINE_CUDA_OK = 0,
  STEMLINE_CUDA_DRIVER_MISSING = 1,
  STEMLINE_CUDA_DRIVER_TOO_OLD = 2,  // for the CUDA runtime of this library
  STEMLINE_CUDA_NO_DEVICE = 3,
  STEMLINE_CUDA_FAILED = 4,  // anything else
} StemlineCudaResult;

typedef struct StemlineCudaDevice {
  char name[256];       // ends with '\0'
  char pci_bus_id[16];  // domain:bus:device.function, ends with '\0'
  int32_t compute_major;
  int32_t compute_minor;
  uint64_t total_memory;  // bytes
} StemlineCudaDevice;

// CUDA versions as 1000 * major + 10 * minor.
typedef struct StemlineCudaVersions {
  int32_t driver;  // newest that the driver can run; 0 without a driver
  int32_t runtime;
} StemlineCudaVersions;

// STEMLINE_CUDA_ABI_VERSION of the library. In all versions.
STEMLINE_CUDA_EXPORT uint32_t stemline_cuda_abi_version(void);

// Describes the devices that this process may use. `*device_count` becomes their number, 0 on failure, and the first
// `capacity` of them are written to `devices`, which may be null if that is 0. `*versions` is always written. Unless the result
// is STEMLINE_CUDA_OK, `reason` holds why, cut to `reason_size` bytes with its '\0'. Returns a StemlineCudaResult. Blocks while
// the driver starts: seconds on some machines.
STEMLINE_CUDA_EXPORT int32_t stemline_cuda_devices(StemlineCudaDevice* devices, size_t capacity, size_t* device_count,
                                                   StemlineCudaVersions* versions, char* reason, size_t reason_size);

#ifdef __cplusplus
}
#endif
