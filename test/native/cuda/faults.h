// Makes calls of the CUDA library fail: for a build of it with STEMLINE_CUDA_FAULTS, of the real library or of its stand-in.
//
// STEMLINE_CUDA_HOST_FAULT="FUNCTION:NTH:CODE[:sticky]" makes the NTH call of FUNCTION, from 1, fail with the cudaError_t CODE; with
// ":sticky" also all calls of all functions after it, as after a failure of the device. FUNCTION "*" stands for any. Counting starts
// anew when the variable changes.
#pragma once

#include <driver_types.h>

#include <cstring>

namespace stemline::cuda {

// What the next call of a function is to fail with.
cudaError_t next_fault(const char* function);

template <class Call>
cudaError_t call_or_fail(const char* function, const Call& call) {
  const cudaError_t fault = next_fault(function);
  // The device itself is well: what waits for it or gives something back still does.
  const bool ends = std::strstr(function, "Synchronize") != nullptr || std::strstr(function, "Free") != nullptr ||
                    std::strstr(function, "Destroy") != nullptr;
  if (fault == cudaSuccess) return call();
  if (ends) static_cast<void>(call());
  return fault;
}

}  // namespace stemline::cuda
