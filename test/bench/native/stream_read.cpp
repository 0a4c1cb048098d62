#include <cstring>

#include "machine.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace bench {

namespace {

uint64_t read_plain(const uint8_t* bytes, size_t size) {
  uint64_t sums[8] = {};
  for (size_t i = 0; i < size; i += 64) {
    for (size_t k = 0; k < 8; ++k) {
      uint64_t word;
      std::memcpy(&word, bytes + i + 8 * k, 8);
      sums[k] += word;
    }
  }
  uint64_t sum = 0;
  for (const uint64_t part : sums) sum += part;
  return sum;
}

#if defined(__x86_64__)

template <class Vector>
uint64_t sum_words(const Vector& vector) {
  uint64_t words[sizeof(Vector) / 8];
  std::memcpy(words, &vector, sizeof words);
  uint64_t sum = 0;
  for (const uint64_t word : words) sum += word;
  return sum;
}

__attribute__((target("avx512f"))) uint64_t read_avx512(const uint8_t* bytes, size_t size) {
  __m512i sums[8];
  for (auto& sum : sums) sum = _mm512_setzero_si512();
  for (size_t i = 0; i < size; i += 512) {
    for (size_t k = 0; k < 8; ++k) sums[k] = _mm512_add_epi64(sums[k], _mm512_loadu_si512(bytes + i + 64 * k));
  }
  for (size_t k = 1; k < 8; ++k) sums[0] = _mm512_add_epi64(sums[0], sums[k]);
  return sum_words(sums[0]);
}

__attribute__((target("avx2"))) uint64_t read_avx2(const uint8_t* bytes, size_t size) {
  __m256i sums[8];
  for (auto& sum : sums) sum = _mm256_setzero_si256();
  for (size_t i = 0; i < size; i += 256) {
    for (size_t k = 0; k < 8; ++k) {
      sums[k] = _mm256_add_epi64(sums[k], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + i + 32 * k)));
    }
  }
  for (size_t k = 1; k < 8; ++k) sums[0] = _mm256_add_epi64(sums[0], sums[k]);
  return sum_words(sums[0]);
}

#elif defined(__aarch64__)

uint64_t read_neon(const uint8_t* bytes, size_t size) {
  uint64x2_t sums[8];
  for (auto& sum : sums) sum = vdupq_n_u64(0);
  for (size_t i = 0; i < size; i += 128) {
    for (size_t k = 0; k < 8; ++k) sums[k] = vaddq_u64(sums[k], vreinterpretq_u64_u8(vld1q_u8(bytes + i + 16 * k)));
  }
  for (size_t k = 1; k < 8; ++k) sums[0] = vaddq_u64(sums[0], sums[k]);
  return vgetq_lane_u64(sums[0], 0) + vgetq_lane_u64(sums[0], 1);
}

#endif

struct Unit {
  const char* name;
  uint64_t (*read)(const uint8_t*, size_t);
};

Unit widest_unit() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return {"AVX-512", read_avx512};
  if (__builtin_cpu_supports("avx2")) return {"AVX2", read_avx2};
#elif defined(__aarch64__)
  return {"NEON", read_neon};
#endif
  return {"64-bit words", read_plain};
}

const Unit& unit() {
  static const Unit chosen = widest_unit();
  return chosen;
}

}  // namespace

uint64_t stream_read(const uint8_t* bytes, size_t size) { return unit().read(bytes, size); }

std::string stream_read_unit() { return unit().name; }

}  // namespace bench
