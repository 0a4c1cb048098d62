#include <cstring>

#include "machine.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace bench {

namespace {

// How far ahead the L3 and DRAM are asked for data, bytes: as measured best.
constexpr size_t ahead = 1024;

// Each reads `streams` parts of the bytes at the same time, which are `part` bytes long and follow each other; a loop
// takes eight vectors. One stream alone leaves most of the DRAM's speed unused.

template <size_t streams, bool prefetch>
uint64_t read_plain(const uint8_t* bytes, size_t part) {
  uint64_t sums[8] = {};
  for (size_t i = 0; i < part; i += 64 / streams) {
    for (size_t k = 0; k < 8; ++k) {
      const uint8_t* const at = bytes + k % streams * part + i + 8 * (k / streams);
      if (prefetch && k < streams) __builtin_prefetch(at + ahead);
      uint64_t word;
      std::memcpy(&word, at, 8);
      sums[k] += word;
    }
  }
  uint64_t sum = 0;
  for (const uint64_t one : sums) sum += one;
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

template <size_t streams, bool prefetch>
__attribute__((target("avx512f"))) uint64_t read_avx512(const uint8_t* bytes, size_t part) {
  __m512i sums[8];
  for (auto& sum : sums) sum = _mm512_setzero_si512();
  for (size_t i = 0; i < part; i += 512 / streams) {
    for (size_t k = 0; k < 8; ++k) {
      const uint8_t* const at = bytes + k % streams * part + i + 64 * (k / streams);
      if (prefetch) __builtin_prefetch(at + ahead);
      sums[k] = _mm512_add_epi64(sums[k], _mm512_loadu_si512(at));
    }
  }
  for (size_t k = 1; k < 8; ++k) sums[0] = _mm512_add_epi64(sums[0], sums[k]);
  return sum_words(sums[0]);
}

template <size_t streams, bool prefetch>
__attribute__((target("avx2"))) uint64_t read_avx2(const uint8_t* bytes, size_t part) {
  __m256i sums[8];
  for (auto& sum : sums) sum = _mm256_setzero_si256();
  for (size_t i = 0; i < part; i += 256 / streams) {
    for (size_t k = 0; k < 8; ++k) {
      const uint8_t* const at = bytes + k % streams * part + i + 32 * (k / streams);
      if (prefetch) __builtin_prefetch(at + ahead);
      sums[k] = _mm256_add_epi64(sums[k], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
    }
  }
  for (size_t k = 1; k < 8; ++k) sums[0] = _mm256_add_epi64(sums[0], sums[k]);
  return sum_words(sums[0]);
}

#elif defined(__aarch64__)

template <size_t streams, bool prefetch>
uint64_t read_neon(const uint8_t* bytes, size_t part) {
  uint64x2_t sums[8];
  for (auto& sum : sums) sum = vdupq_n_u64(0);
  for (size_t i = 0; i < part; i += 128 / streams) {
    for (size_t k = 0; k < 8; ++k) {
      const uint8_t* const at = bytes + k % streams * part + i + 16 * (k / streams);
      if (prefetch) __builtin_prefetch(at + ahead);
      sums[k] = vaddq_u64(sums[k], vreinterpretq_u64_u8(vld1q_u8(at)));
    }
  }
  for (size_t k = 1; k < 8; ++k) sums[0] = vaddq_u64(sums[0], sums[k]);
  return vgetq_lane_u64(sums[0], 0) + vgetq_lane_u64(sums[0], 1);
}

#endif

using Read = uint64_t (*)(const uint8_t* bytes, size_t part);

struct Unit {
  const char* name;
  Read from_l2, from_l3, from_dram;
};

constexpr size_t dram_streams = 4;

Unit widest_unit() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f"))
    return {"AVX-512", read_avx512<1, false>, read_avx512<1, true>, read_avx512<dram_streams, true>};
  if (__builtin_cpu_supports("avx2"))
    return {"AVX2", read_avx2<1, false>, read_avx2<1, true>, read_avx2<dram_streams, true>};
#elif defined(__aarch64__)
  return {"NEON", read_neon<1, false>, read_neon<1, true>, read_neon<dram_streams, true>};
#endif
  return {"64-bit words", read_plain<1, false>, read_plain<1, true>, read_plain<dram_streams, true>};
}

const Unit& unit() {
  static const Unit chosen = widest_unit();
  return chosen;
}

}  // namespace

uint64_t stream_read(const uint8_t* bytes, size_t size) {
  // Twice: the random number of a message's events may be a little above.
  if (size <= 2 * level_bytes(Level::l2)) return unit().from_l2(bytes, size);
  if (size <= 2 * level_bytes(Level::l3)) return unit().from_l3(bytes, size);
  return unit().from_dram(bytes, size / dram_streams);
}

std::string stream_read_unit() { return unit().name; }

}  // namespace bench
