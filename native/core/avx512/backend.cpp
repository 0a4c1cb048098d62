#if defined(__x86_64__)

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "../backend.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,pclmul"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,pclmul")
#endif

namespace stemline::avx512 {
namespace {

#include "simd.h"

#include "../generic/center_of_mass.h"
#include "../generic/crc32_clmul.h"

}  // namespace
}  // namespace stemline::avx512

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace stemline {

namespace {
bool supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("pclmul");
}
}  // namespace

const Backend avx512_backend = {"avx512", supported, avx512::sum_frames, avx512::sum_cropped_frames, avx512::crc32};

}  // namespace stemline

#endif  // __x86_64__
