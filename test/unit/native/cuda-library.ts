import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const header = fileURLToPath(new URL("../../../native/cuda/stemline_cuda.h", import.meta.url));

/** Compiles a shared object of C functions that has the place of the CUDA library, and returns its path. */
export function compileCudaLibrary(folder: string, functions: string): string {
  const library = join(folder, "stemline_cuda.so");
  const source = join(folder, "stemline_cuda.c");
  writeFileSync(source, `#include <string.h>\n#include "${header}"\n${functions}`);
  // A sanitizer that the test's process preloads is nothing for the compiler.
  const { LD_PRELOAD: _, ...env } = process.env;
  execFileSync("cc", ["-shared", "-fPIC", "-Wall", "-Werror", "-o", library, source], { env });
  return library;
}

export const currentVersion =
  "uint32_t stemline_cuda_abi_version(void) { return STEMLINE_CUDA_ABI_VERSION; }\n";

/** The function that lists devices, with the given statements, and those that need one, which fail. */
export function devicesFunction(body: string): string {
  return `int32_t stemline_cuda_devices(StemlineCudaDevice* devices, size_t capacity, size_t* device_count,
      StemlineCudaVersions* versions, char* reason, size_t reason_size) {
    *device_count = 0;
    *versions = (StemlineCudaVersions){12040, 13000};
    ${body}
  }
  static int32_t stub(char* reason, size_t size) {
    strncpy(reason, "this device is a stub", size);
    return STEMLINE_CUDA_FAILED;
  }
  int32_t stemline_cuda_create(int32_t device, uint64_t max_bytes, StemlineCudaContext** context, char* reason, size_t size) {
    return stub(reason, size);
  }
  void stemline_cuda_destroy(StemlineCudaContext* context) {}
  int32_t stemline_cuda_submit(StemlineCudaContext* context, const StemlineCudaBatch* batch, uint64_t* ticket, char* reason, size_t size) {
    return stub(reason, size);
  }
  int32_t stemline_cuda_wait(StemlineCudaContext* context, uint64_t ticket, char* reason, size_t size) { return stub(reason, size); }
  int32_t stemline_cuda_query(StemlineCudaContext* context, StemlineCudaUsage* usage, char* reason, size_t size) {
    return stub(reason, size);
  }\n`;
}

/** A machine with these two devices. */
export const twoDevices =
  currentVersion +
  devicesFunction(`
    const StemlineCudaDevice all[] = {
      {"First GPU", "0000:3b:00.0", 9, 0, 85520809984}, {"Second GPU", "0001:af:00.0", 8, 6, 25447170048}};
    *device_count = 2;
    for (size_t i = 0; i < 2 && i < capacity; ++i) devices[i] = all[i];
    return STEMLINE_CUDA_OK;`);
