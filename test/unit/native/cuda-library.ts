import { execFileSync } from "node:child_process";
import { existsSync, realpathSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
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

/** Where CUDA's headers are: beside nvcc, or in their usual place. Null without any. */
export function cudaHeaders(): string | null {
  const programs = (process.env.PATH ?? "").split(delimiter).map((folder) => join(folder, "nvcc"));
  const besideNvcc = programs
    .filter((program) => existsSync(program))
    .map((program) => join(dirname(realpathSync(program)), "..", "include"));
  const folders = [...besideNvcc, "/usr/local/cuda/include"];
  return folders.find((folder) => existsSync(join(folder, "cuda_runtime_api.h"))) ?? null;
}

/**
 * Compiles the CUDA library's stand-in for machines without a GPU, which has the library's own files but for the CUDA runtime
 * and the kernels, and returns its path. It has one device, and fails as STEMLINE_CUDA_HOST_FAULT says; see test/native/cuda.
 */
export function compileStandIn(folder: string, headers: string): string {
  const root = fileURLToPath(new URL("../../../", import.meta.url));
  const own = ["context.cpp", "devices.cpp"].map((file) => join(root, "native/cuda", file));
  const instead = ["host_runtime.cpp", "host_kernels.cpp", "faults.cpp"].map((file) =>
    join(root, "test/native/cuda", file),
  );
  const library = join(folder, "stemline_cuda.so");
  const { LD_PRELOAD: _, ...env } = process.env;
  const options = [
    "-std=c++20",
    "-O1",
    "-shared",
    "-fPIC",
    "-fvisibility=hidden",
    "-ffp-contract=off",
    "-pthread",
  ];
  const includes = [join(root, "native/cuda"), join(root, "test/native/cuda")].flatMap((path) => [
    "-I",
    path,
  ]);
  execFileSync(
    "c++",
    [
      ...options,
      "-DSTEMLINE_CUDA_FAULTS",
      ...includes,
      "-isystem",
      headers,
      "-o",
      library,
      ...own,
      ...instead,
    ],
    { env },
  );
  return library;
}
