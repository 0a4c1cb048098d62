#if defined(__x86_64__)

#include <immintrin.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "../backend.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,pclmul"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,pclmul")
#endif

namespace stemline::avx2 {
namespace {

#include "simd.h"

#define STEMLINE_WIDE_CRC __attribute__((target("avx2,fma,pclmul,vpclmulqdq")))
using Wide = __m256i;
inline Wide wide_keys(int64_t high, int64_t low) { return _mm256_set_epi64x(high, low, high, low); }
STEMLINE_WIDE_CRC inline Wide wide_fold(Wide state, Wide next, Wide keys) {
  const Wide low = _mm256_clmulepi64_epi128(state, keys, 0x00);
  const Wide high = _mm256_clmulepi64_epi128(state, keys, 0x11);
  return _mm256_xor_si256(_mm256_xor_si256(low, high), next);
}

#include "../generic/center_of_mass.h"
#include "../generic/crc32_clmul.h"

#undef STEMLINE_WIDE_CRC

}  // namespace
}  // namespace stemline::avx2

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace stemline {

namespace {
bool supported() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("pclmul");
}
}  // namespace

const Backend avx2_backend = {"avx2", supported, avx2::sum_frames, avx2::sum_in_window, avx2::sum_in_windows, avx2::crc32, avx2::copy_crc32};

}  // namespace stemline

#endif  // __x86_64__
