#if defined(__x86_64__)

#include <immintrin.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

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

#include "../generic/center_of_mass.h"
#include "../generic/crc32_clmul.h"

inline __m512i crc_load_512(const uint8_t* bytes) { return _mm512_loadu_si512(bytes); }

__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,pclmul,vpclmulqdq"))) inline __m512i crc_fold_512(
    __m512i state, __m512i next, __m512i keys) {
  const __m512i low = _mm512_clmulepi64_epi128(state, keys, 0x00);
  const __m512i high = _mm512_clmulepi64_epi128(state, keys, 0x11);
  return _mm512_ternarylogic_epi64(low, high, next, 0x96);
}

// As crc32_by_128.
template <bool copy>
__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,pclmul,vpclmulqdq"))) uint32_t crc32_by_512(
    uint32_t crc, const uint8_t* bytes, size_t size, uint8_t* to) {
  if (size < 512) return crc32_by_128<copy>(crc, bytes, size, to);
  const __m512i fold_256 = _mm512_set_epi64(0x1322d1430, 0x11542778a, 0x1322d1430, 0x11542778a, 0x1322d1430, 0x11542778a, 0x1322d1430, 0x11542778a);
  const __m512i fold_64 = _mm512_set_epi64(0x1c6e41596, 0x154442bd4, 0x1c6e41596, 0x154442bd4, 0x1c6e41596, 0x154442bd4,
                                           0x1c6e41596, 0x154442bd4);
  const size_t whole = size / 64 * 64;
  if (copy && whole < size) std::memcpy(to + whole, bytes + whole, size - whole);
  __m512i state[4];
  for (size_t i = 0; i < 4; ++i) {
    state[i] = crc_load_512(bytes + 64 * i);
    if constexpr (copy) _mm512_storeu_si512(to + 64 * i, state[i]);
  }
  state[0] = _mm512_xor_si512(state[0], _mm512_maskz_set1_epi32(1, static_cast<int>(~crc)));
  size_t at = 256;
  for (; at + 256 <= whole; at += 256) {
    for (size_t i = 0; i < 4; ++i) {
      const __m512i next = crc_load_512(bytes + at + 64 * i);
      if constexpr (copy) _mm512_storeu_si512(to + at + 64 * i, next);
      state[i] = crc_fold_512(state[i], next, fold_256);
    }
  }
  __m512i rest = crc_fold_512(state[0], state[1], fold_64);
  rest = crc_fold_512(rest, state[2], fold_64);
  rest = crc_fold_512(rest, state[3], fold_64);
  for (; at < whole; at += 64) {
    const __m512i next = crc_load_512(bytes + at);
    if constexpr (copy) _mm512_storeu_si512(to + at, next);
    rest = crc_fold_512(rest, next, fold_64);
  }
  __m128i blocks[4];
  _mm512_storeu_si512(blocks, rest);
  return crc_finish(blocks, bytes + whole, size - whole);
}

bool folds_by_512() {
  static const bool wide = __builtin_cpu_supports("vpclmulqdq");
  return wide;
}

uint32_t crc32(uint32_t crc, const uint8_t* bytes, size_t size) {
  return folds_by_512() ? crc32_by_512<false>(crc, bytes, size, nullptr) : crc32_by_128<false>(crc, bytes, size, nullptr);
}

uint32_t copy_crc32(uint32_t crc, uint8_t* to, const uint8_t* bytes, size_t size) {
  return folds_by_512() ? crc32_by_512<true>(crc, bytes, size, to) : crc32_by_128<true>(crc, bytes, size, to);
}

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

const Backend avx512_backend = {"avx512", supported, avx512::sum_frames, avx512::sum_cropped_frames, avx512::crc32, avx512::copy_crc32};

}  // namespace stemline

#endif  // __x86_64__
