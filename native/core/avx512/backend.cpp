#if defined(__x86_64__)

#include <immintrin.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "../backend.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,pclmul,bmi2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,pclmul,bmi2")
#endif

namespace stemline::avx512 {
namespace {

#include "simd.h"

#define STEMLINE_WIDE_CRC __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,pclmul,vpclmulqdq")))
using Wide = __m512i;
inline Wide wide_keys(int64_t high, int64_t low) { return _mm512_set_epi64(high, low, high, low, high, low, high, low); }
STEMLINE_WIDE_CRC inline Wide wide_fold(Wide state, Wide next, Wide keys) {
  const Wide low = _mm512_clmulepi64_epi128(state, keys, 0x00);
  const Wide high = _mm512_clmulepi64_epi128(state, keys, 0x11);
  return _mm512_ternarylogic_epi64(low, high, next, 0x96);
}

#include "../generic/center_of_mass.h"
#include "../generic/crc32_clmul.h"

#undef STEMLINE_WIDE_CRC

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
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("bmi2");
}
}  // namespace

const Backend avx512_backend = {"avx512", supported, avx512::sum_frames, avx512::sum_in_window, avx512::sum_in_windows, avx512::crc32, avx512::copy_crc32};

}  // namespace stemline

#endif  // __x86_64__
