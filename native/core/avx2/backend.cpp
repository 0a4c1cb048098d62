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
#pragma clang attribute push(__attribute__((target("avx2,fma,pclmul"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,pclmul")
#endif

namespace stemline::avx2 {
namespace {

#include "simd.h"

#include "../generic/center_of_mass.h"
#include "../generic/crc32_clmul.h"

uint32_t crc32(uint32_t crc, const uint8_t* bytes, size_t size) { return crc32_by_128<false>(crc, bytes, size, nullptr); }
uint32_t copy_crc32(uint32_t crc, uint8_t* to, const uint8_t* bytes, size_t size) { return crc32_by_128<true>(crc, bytes, size, to); }

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

const Backend avx2_backend = {"avx2", supported, avx2::sum_frames, avx2::sum_cropped_frames, avx2::crc32, avx2::copy_crc32};

}  // namespace stemline

#endif  // __x86_64__
