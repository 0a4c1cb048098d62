// CRC-32 by carry-less multiplication, for x86 backends; included like center_of_mass.h. Four vectors of remainders, of 128
// bits each, are folded over 64 bytes a step, or over 128 or 256 where the CPU multiplies wider vectors. Of these a backend tells
//   Wide               the vector,
//   STEMLINE_WIDE_CRC  what functions that multiply it are compiled for,
//   wide_fold          as crc_fold,
//   wide_keys          keys of a fold in each 128 bits.
// The constants are x^n mod P for the distances of the folds, bit-reflected (Gopal et al., "Fast CRC Computation for Generic
// Polynomials Using PCLMULQDQ Instruction", Intel, 2009).

inline __m128i crc_fold(__m128i state, __m128i next, __m128i keys) {
  const __m128i low = _mm_clmulepi64_si128(state, keys, 0x00);
  const __m128i high = _mm_clmulepi64_si128(state, keys, 0x11);
  return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

// A vector from bytes[at] on, which goes to to[at] too if `copy`.
template <class Vector, bool copy>
inline Vector crc_take(const uint8_t* bytes, uint8_t* to, size_t at) {
  Vector v;
  std::memcpy(&v, bytes + at, sizeof v);
  if constexpr (copy) std::memcpy(to + at, &v, sizeof v);
  return v;
}

inline __m128i crc_load(const uint8_t* bytes) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)); }

// CRC of the 64 bytes in `state`, which stand for all that was folded into them, and of `size` more.
inline uint32_t crc_finish(const __m128i (&state)[4], const uint8_t* bytes, size_t size) {
  const __m128i fold_16 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
  __m128i rest = crc_fold(state[0], state[1], fold_16);
  rest = crc_fold(rest, state[2], fold_16);
  rest = crc_fold(rest, state[3], fold_16);
  for (; size >= 16; bytes += 16, size -= 16) rest = crc_fold(rest, crc_load(bytes), fold_16);
  // The folded 16 bytes have the CRC of all that went in, when taken from a CRC register of 0.
  alignas(16) uint8_t folded[16];
  _mm_store_si128(reinterpret_cast<__m128i*>(folded), rest);
  const uint32_t folded_crc = scalar_backend.crc32(~0u, folded, sizeof folded);
  return scalar_backend.crc32(folded_crc, bytes, size);
}

// Copies to `to` meanwhile if `copy`.
template <bool copy>
inline uint32_t crc32_by_128(uint32_t crc, const uint8_t* bytes, size_t size, uint8_t* to) {
  const size_t whole = size < 64 ? 0 : size / 64 * 64;
  if (copy && whole < size) std::memcpy(to + whole, bytes + whole, size - whole);
  if (whole == 0) return scalar_backend.crc32(crc, bytes, size);
  const __m128i fold_64 = _mm_set_epi64x(0x1c6e41596, 0x154442bd4);
  __m128i state[4];
  for (size_t i = 0; i < 4; ++i) state[i] = crc_take<__m128i, copy>(bytes, to, 16 * i);
  state[0] = _mm_xor_si128(state[0], _mm_cvtsi32_si128(static_cast<int>(~crc)));
  for (size_t at = 64; at < whole; at += 64) {
    for (size_t i = 0; i < 4; ++i) state[i] = crc_fold(state[i], crc_take<__m128i, copy>(bytes, to, at + 16 * i), fold_64);
  }
  return crc_finish(state, bytes + whole, size - whole);
}

// As crc32_by_128.
template <bool copy>
STEMLINE_WIDE_CRC uint32_t crc32_wide(uint32_t crc, const uint8_t* bytes, size_t size, uint8_t* to) {
  constexpr size_t width = sizeof(Wide), in_64 = 64 / width;
  if (size < 8 * width) return crc32_by_128<copy>(crc, bytes, size, to);
  const Wide fold_four = width == 64 ? wide_keys(0x1322d1430, 0x11542778a) : wide_keys(0x14a7fe880, 0x1e88ef372);
  const Wide fold_64 = wide_keys(0x1c6e41596, 0x154442bd4);
  const size_t whole = size / 64 * 64;
  if (copy && whole < size) std::memcpy(to + whole, bytes + whole, size - whole);
  Wide state[4];
  for (size_t i = 0; i < 4; ++i) state[i] = crc_take<Wide, copy>(bytes, to, width * i);
  Wide begin = {};
  const uint32_t inverted = ~crc;
  std::memcpy(&begin, &inverted, sizeof inverted);
  state[0] ^= begin;
  size_t at = 4 * width;
  for (; at + 4 * width <= whole; at += 4 * width) {
    for (size_t i = 0; i < 4; ++i) state[i] = wide_fold(state[i], crc_take<Wide, copy>(bytes, to, at + width * i), fold_four);
  }
  // To the last 64 bytes of these, and on by 64.
  for (size_t i = in_64; i < 4; ++i) state[i % in_64] = wide_fold(state[i % in_64], state[i], fold_64);
  for (; at < whole; at += 64) {
    for (size_t i = 0; i < in_64; ++i) state[i] = wide_fold(state[i], crc_take<Wide, copy>(bytes, to, at + width * i), fold_64);
  }
  __m128i blocks[4];
  std::memcpy(blocks, state, sizeof blocks);
  return crc_finish(blocks, bytes + whole, size - whole);
}

template <bool copy>
uint32_t crc32_widest(uint32_t crc, const uint8_t* bytes, size_t size, uint8_t* to) {
  static const bool wide = __builtin_cpu_supports("vpclmulqdq");
  return wide ? crc32_wide<copy>(crc, bytes, size, to) : crc32_by_128<copy>(crc, bytes, size, to);
}

uint32_t crc32(uint32_t crc, const uint8_t* bytes, size_t size) { return crc32_widest<false>(crc, bytes, size, nullptr); }
uint32_t copy_crc32(uint32_t crc, uint8_t* to, const uint8_t* bytes, size_t size) { return crc32_widest<true>(crc, bytes, size, to); }
