// Vector primitives of the AVX-512 backend: sixteen 32-bit lanes. Included inside the backend's namespace and target
// region. Sums across lanes are spelled out: gcc 12 warns inside its own reduce intrinsics.

inline constexpr uint32_t lanes = 16;
using U32 = __m512i;
using F32 = __m512;
using Mask = __mmask16;

inline U32 u32_zero() { return _mm512_setzero_si512(); }
inline U32 u32_set(uint32_t value) { return _mm512_set1_epi32(static_cast<int>(value)); }
inline U32 u32_load(const uint8_t* at) {
  U32 v = _mm512_loadu_si512(at);
  // Into a register: gcc would load once more for each use, and a load that crosses a cache line costs two.
  asm("" : "+v"(v));
  return v;
}
inline U32 u32_lane_numbers() { return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }
inline constexpr bool vector_is_cache_line = true;

// The first `count` lanes true; all from `lanes` on.
inline Mask mask_first(uint32_t count) { return static_cast<Mask>(_bzhi_u32(0xffff, count < 16 ? count : 16)); }
inline Mask mask_all() { return 0xffff; }

// The first `count` elements at `at`, other lanes 0; reads nothing beyond them.
inline U32 u32_load_first(const uint8_t* at, uint32_t count) { return _mm512_maskz_loadu_epi32(mask_first(count), at); }
// The same, given also which lanes these are.
inline U32 u32_load_valid(const uint8_t* at, Mask valid, uint32_t) { return _mm512_maskz_loadu_epi32(valid, at); }
inline void u32_store(uint32_t* to, U32 v) { _mm512_store_si512(to, v); }

inline U32 u32_add(U32 a, U32 b) { return _mm512_add_epi32(a, b); }
inline U32 u32_subtract(U32 a, U32 b) { return _mm512_sub_epi32(a, b); }
inline U32 u32_multiply(U32 a, U32 b) { return _mm512_mullo_epi32(a, b); }
inline U32 u32_and(U32 a, U32 b) { return _mm512_and_si512(a, b); }
template <unsigned bits>
inline U32 u32_shift_right(U32 v) {
  return _mm512_maskz_srli_epi32(0xffff, v, bits);
}
template <unsigned bits>
inline U32 u32_shift_left(U32 v) {
  return _mm512_maskz_slli_epi32(0xffff, v, bits);
}
inline U32 u32_max(U32 a, U32 b) { return _mm512_maskz_max_epu32(0xffff, a, b); }
inline U32 u32_add_where(Mask mask, U32 sum, U32 v) { return _mm512_mask_add_epi32(sum, mask, sum, v); }

inline Mask u32_less(U32 a, U32 b) { return _mm512_cmplt_epu32_mask(a, b); }
// a in lanes of `mask`, else b.
inline U32 u32_select(Mask mask, U32 a, U32 b) { return _mm512_mask_blend_epi32(mask, b, a); }
// a <= b in lanes of `mask`. Both have order_bias added.
inline constexpr uint32_t order_bias = 0;
inline Mask u32_ordered_where(Mask mask, U32 a, U32 b) { return _mm512_mask_cmple_epu32_mask(mask, a, b); }

// Signed conversion: exact below 2^24, meaningless but defined from 2^31 on.
inline F32 u32_to_f32(U32 v) { return _mm512_maskz_cvtepi32_ps(0xffff, v); }
inline U32 f32_bits(F32 v) { return _mm512_castps_si512(v); }

inline F32 f32_set(float value) { return _mm512_set1_ps(value); }
// b where one of them is no number.
inline F32 f32_min(F32 a, F32 b) { return _mm512_maskz_min_ps(0xffff, a, b); }
inline F32 f32_max(F32 a, F32 b) { return _mm512_maskz_max_ps(0xffff, a, b); }
// The largest whole number not above it.
inline U32 i32_floor(F32 v) { return _mm512_maskz_cvt_roundps_epi32(0xffff, v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
inline F32 f32_add(F32 a, F32 b) { return _mm512_add_ps(a, b); }
inline F32 f32_sub(F32 a, F32 b) { return _mm512_sub_ps(a, b); }
inline F32 f32_multiply(F32 a, F32 b) { return _mm512_mul_ps(a, b); }
// index * reciprocal + bias rounded down, without a subtraction before it.
inline constexpr bool row_rounds_down = true;
inline F32 f32_row(F32 index, F32, F32 reciprocal, F32 bias) {
  return _mm512_fmadd_round_ps(index, reciprocal, bias, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}
inline F32 f32_fma(F32 a, F32 b, F32 c) { return _mm512_fmadd_ps(a, b, c); }
// c - a * b, rounded once.
inline F32 f32_fnma(F32 a, F32 b, F32 c) { return _mm512_fnmadd_ps(a, b, c); }
// In lanes of `mask`.
inline Mask f32_greater_where(Mask mask, F32 a, F32 b) { return _mm512_mask_cmp_ps_mask(mask, a, b, _CMP_GT_OQ); }
inline Mask f32_less_equal_where(Mask mask, F32 a, F32 b) { return _mm512_mask_cmp_ps_mask(mask, a, b, _CMP_LE_OQ); }

// In each block of four lanes, the last lane of `before`, then all but the last of `v`.
inline U32 u32_shift_in(U32 before, U32 v) { return _mm512_alignr_epi8(v, before, 12); }

// The sum of a's lanes in the low half, that of b's in the high half.
inline uint64_t u32_reduce_add(U32 a, U32 b) {
  const __m512i both = _mm512_add_epi32(_mm512_maskz_unpacklo_epi32(0xffff, a, b), _mm512_maskz_unpackhi_epi32(0xffff, a, b));
  const __m256i half = _mm256_add_epi32(_mm512_maskz_extracti64x4_epi64(0xf, both, 0), _mm512_maskz_extracti64x4_epi64(0xf, both, 1));
  const __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  return static_cast<uint64_t>(_mm_cvtsi128_si64(_mm_add_epi32(sum, _mm_unpackhi_epi64(sum, sum))));
}

inline uint32_t u32_reduce_max(U32 v) {
  const __m256i half = _mm256_max_epu32(_mm512_maskz_extracti64x4_epi64(0xf, v, 0), _mm512_maskz_extracti64x4_epi64(0xf, v, 1));
  __m128i top = _mm_max_epu32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  top = _mm_max_epu32(top, _mm_shuffle_epi32(top, 0x4e));
  top = _mm_max_epu32(top, _mm_shuffle_epi32(top, 0xb1));
  return static_cast<uint32_t>(_mm_cvtsi128_si32(top));
}

// Lane i: the word of that lane, numbers[k * lanes + i], from words[begin] on.
inline U32 u32_load_turned(const uint32_t* words, uint32_t begin) {
  const uint32_t* const whole = words + (begin & ~(lanes - 1));
  return _mm512_mask_load_epi32(_mm512_load_si512(whole), static_cast<Mask>(_bzhi_u32(0xffff, begin & (lanes - 1))), whole + lanes);
}

// Adds the halves of two vectors, at a distance of one lane (32 bits) or two: pairs of frames share a vector after it.
inline U32 add_pairs_1(U32 a, U32 b) {
  return _mm512_add_epi32(_mm512_maskz_unpacklo_epi32(0xffff, a, b), _mm512_maskz_unpackhi_epi32(0xffff, a, b));
}
inline U32 add_pairs_2(U32 a, U32 b) {
  return _mm512_add_epi32(_mm512_maskz_unpacklo_epi64(0xff, a, b), _mm512_maskz_unpackhi_epi64(0xff, a, b));
}

// Four vectors to one: in each 128-bit block, lane i is the sum of that block of v[i].
inline U32 u32_add_quads(U32 a, U32 b, U32 c, U32 d) { return add_pairs_2(add_pairs_1(a, b), add_pairs_1(c, d)); }

// Of vectors from u32_add_quads: lane i of the result is the sum of all lanes of the vector 4 * (i / 4) + i % 4.
inline U32 u32_add_blocks(const U32 (&q)[lanes / 4]) {
  // A 4 x 4 transposition of 128-bit blocks with additions.
  const U32 q01 = _mm512_add_epi32(_mm512_maskz_shuffle_i32x4(0xffff, q[0], q[1], 0x88), _mm512_maskz_shuffle_i32x4(0xffff, q[0], q[1], 0xdd));
  const U32 q23 = _mm512_add_epi32(_mm512_maskz_shuffle_i32x4(0xffff, q[2], q[3], 0x88), _mm512_maskz_shuffle_i32x4(0xffff, q[2], q[3], 0xdd));
  return _mm512_add_epi32(_mm512_maskz_shuffle_i32x4(0xffff, q01, q23, 0x88), _mm512_maskz_shuffle_i32x4(0xffff, q01, q23, 0xdd));
}

inline __m512d f32_unpack_low(__m512 a, __m512 b) { return _mm512_castps_pd(_mm512_maskz_unpacklo_ps(0xffff, a, b)); }
inline __m512d f32_unpack_high(__m512 a, __m512 b) { return _mm512_castps_pd(_mm512_maskz_unpackhi_ps(0xffff, a, b)); }

// Lane i of columns[k]: from[i * pitch + k].
inline void f32_load_columns(const float* from, size_t pitch, F32 (&columns)[4]) {
  // In each block of four lanes a 4 x 4 transposition.
  __m512 rows[4];
#pragma GCC unroll 4
  for (uint32_t k = 0; k < 4; ++k) {
    const float* const row = from + k * pitch;
    rows[k] = _mm512_castps128_ps512(_mm_loadu_ps(row));
    rows[k] = _mm512_maskz_insertf32x4(0xffff, rows[k], _mm_loadu_ps(row + 4 * pitch), 1);
    rows[k] = _mm512_maskz_insertf32x4(0xffff, rows[k], _mm_loadu_ps(row + 8 * pitch), 2);
    rows[k] = _mm512_maskz_insertf32x4(0xffff, rows[k], _mm_loadu_ps(row + 12 * pitch), 3);
  }
  const __m512d low_01 = f32_unpack_low(rows[0], rows[1]), low_23 = f32_unpack_low(rows[2], rows[3]);
  const __m512d high_01 = f32_unpack_high(rows[0], rows[1]), high_23 = f32_unpack_high(rows[2], rows[3]);
  columns[0] = _mm512_castpd_ps(_mm512_maskz_unpacklo_pd(0xff, low_01, low_23));
  columns[1] = _mm512_castpd_ps(_mm512_maskz_unpackhi_pd(0xff, low_01, low_23));
  columns[2] = _mm512_castpd_ps(_mm512_maskz_unpacklo_pd(0xff, high_01, high_23));
  columns[3] = _mm512_castpd_ps(_mm512_maskz_unpackhi_pd(0xff, high_01, high_23));
}
