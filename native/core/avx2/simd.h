// Vector primitives of the AVX2 backend: eight 32-bit lanes. Included inside the backend's namespace and target region.

inline constexpr uint32_t lanes = 8;
using U32 = __m256i;
using F32 = __m256;
using Mask = __m256i;

inline U32 u32_zero() { return _mm256_setzero_si256(); }
inline U32 u32_set(uint32_t value) { return _mm256_set1_epi32(static_cast<int>(value)); }
inline U32 u32_load(const uint8_t* at) {
  U32 v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
  // Into a register: gcc would load once more for each use, and a load that crosses a cache line costs two.
  asm("" : "+x"(v));
  return v;
}
inline U32 u32_lane_numbers() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
inline constexpr bool vector_is_cache_line = false;

// The first `count` lanes true, count <= lanes.
inline Mask mask_first(uint32_t count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), u32_lane_numbers());
}
inline Mask mask_all() { return _mm256_set1_epi32(-1); }

// The first `count` elements at `at`, other lanes 0; reads nothing beyond them.
inline U32 u32_load_first(const uint8_t* at, uint32_t count) {
  return _mm256_maskload_epi32(reinterpret_cast<const int*>(at), mask_first(count));
}
// The same, given also which lanes these are.
inline U32 u32_load_valid(const uint8_t* at, Mask valid, uint32_t) {
  return _mm256_maskload_epi32(reinterpret_cast<const int*>(at), valid);
}
inline void u32_store(uint32_t* to, U32 v) { _mm256_store_si256(reinterpret_cast<__m256i*>(to), v); }

inline U32 u32_add(U32 a, U32 b) { return _mm256_add_epi32(a, b); }
inline U32 u32_subtract(U32 a, U32 b) { return _mm256_sub_epi32(a, b); }
inline U32 u32_multiply(U32 a, U32 b) { return _mm256_mullo_epi32(a, b); }
inline U32 u32_and(U32 a, U32 b) { return _mm256_and_si256(a, b); }
template <unsigned bits>
inline U32 u32_shift_right(U32 v) {
  return _mm256_srli_epi32(v, bits);
}
template <unsigned bits>
inline U32 u32_shift_left(U32 v) {
  return _mm256_slli_epi32(v, bits);
}
inline U32 u32_max(U32 a, U32 b) { return _mm256_max_epu32(a, b); }
inline U32 u32_add_where(Mask mask, U32 sum, U32 v) { return _mm256_add_epi32(sum, _mm256_and_si256(mask, v)); }

// Of numbers below 2^31.
inline Mask u32_less(U32 a, U32 b) { return _mm256_cmpgt_epi32(b, a); }
// a in lanes of `mask`, else b.
inline U32 u32_select(Mask mask, U32 a, U32 b) { return _mm256_blendv_epi8(b, a, mask); }
// a <= b in lanes of `mask`. Both have order_bias added: there are only signed comparisons.
inline constexpr uint32_t order_bias = 0x80000000;
inline Mask u32_ordered_where(Mask mask, U32 a, U32 b) { return _mm256_andnot_si256(_mm256_cmpgt_epi32(a, b), mask); }

// Signed conversion: exact below 2^24, meaningless but defined from 2^31 on.
inline F32 u32_to_f32(U32 v) { return _mm256_cvtepi32_ps(v); }
inline U32 f32_bits(F32 v) { return _mm256_castps_si256(v); }

inline F32 f32_set(float value) { return _mm256_set1_ps(value); }
// b where one of them is no number.
inline F32 f32_min(F32 a, F32 b) { return _mm256_min_ps(a, b); }
inline F32 f32_max(F32 a, F32 b) { return _mm256_max_ps(a, b); }
// The largest whole number not above it.
inline U32 i32_floor(F32 v) { return _mm256_cvttps_epi32(_mm256_floor_ps(v)); }
inline F32 f32_add(F32 a, F32 b) { return _mm256_add_ps(a, b); }
inline F32 f32_sub(F32 a, F32 b) { return _mm256_sub_ps(a, b); }
inline F32 f32_multiply(F32 a, F32 b) { return _mm256_mul_ps(a, b); }
inline F32 f32_fma(F32 a, F32 b, F32 c) { return _mm256_fmadd_ps(a, b, c); }
inline constexpr bool row_rounds_down = false;
inline F32 f32_row(F32 index, F32 offset, F32 reciprocal, F32 bias) { return f32_fma(f32_sub(index, offset), reciprocal, bias); }
// c - a * b, rounded once.
inline F32 f32_fnma(F32 a, F32 b, F32 c) { return _mm256_fnmadd_ps(a, b, c); }
// In lanes of `mask`.
inline Mask f32_greater_where(Mask mask, F32 a, F32 b) { return _mm256_and_si256(mask, _mm256_castps_si256(_mm256_cmp_ps(a, b, _CMP_GT_OQ))); }
inline Mask f32_less_equal_where(Mask mask, F32 a, F32 b) { return _mm256_and_si256(mask, _mm256_castps_si256(_mm256_cmp_ps(a, b, _CMP_LE_OQ))); }

// In each block of four lanes, the last lane of `before`, then all but the last of `v`.
inline U32 u32_shift_in(U32 before, U32 v) { return _mm256_alignr_epi8(v, before, 12); }

// The sum of a's lanes in the low half, that of b's in the high half.
inline uint64_t u32_reduce_add(U32 a, U32 b) {
  const __m256i both = _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
  const __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
  return static_cast<uint64_t>(_mm_cvtsi128_si64(_mm_add_epi32(sum, _mm_unpackhi_epi64(sum, sum))));
}

inline uint32_t u32_reduce_max(U32 v) {
  __m128i top = _mm_max_epu32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  top = _mm_max_epu32(top, _mm_shuffle_epi32(top, 0x4e));
  top = _mm_max_epu32(top, _mm_shuffle_epi32(top, 0xb1));
  return static_cast<uint32_t>(_mm_cvtsi128_si32(top));
}

// Lane i: the word of that lane, numbers[k * lanes + i], from words[begin] on.
inline U32 u32_load_turned(const uint32_t* words, uint32_t begin) {
  alignas(32) static constexpr uint32_t order[2 * lanes] = {0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7};
  const U32 v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words + begin));
  const uint32_t turn = (0 - begin) & (lanes - 1);
  return _mm256_permutevar8x32_epi32(v, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(order + turn)));
}

// Four vectors to one: in each 128-bit block, lane i is the sum of that block of the i-th vector.
inline U32 u32_add_quads(U32 a, U32 b, U32 c, U32 d) {
  // Not by _mm256_hadd_epi32, which takes longer than its parts.
  const U32 ab = _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
  const U32 cd = _mm256_add_epi32(_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
  return _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
}

// Of vectors from u32_add_quads: lane i of the result is the sum of all lanes of the vector 4 * (i / 4) + i % 4.
inline U32 u32_add_blocks(const U32 (&q)[lanes / 4]) {
  return _mm256_add_epi32(_mm256_permute2x128_si256(q[0], q[1], 0x20), _mm256_permute2x128_si256(q[0], q[1], 0x31));
}

// Lane i of columns[k]: from[i * pitch + k].
inline void f32_load_columns(const float* from, size_t pitch, F32 (&columns)[4]) {
  // In each block of four lanes a 4 x 4 transposition.
  __m256 rows[4];
#pragma GCC unroll 4
  for (uint32_t k = 0; k < 4; ++k) {
    rows[k] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(from + k * pitch)), _mm_loadu_ps(from + (4 + k) * pitch), 1);
  }
  const __m256d low_01 = _mm256_castps_pd(_mm256_unpacklo_ps(rows[0], rows[1])), low_23 = _mm256_castps_pd(_mm256_unpacklo_ps(rows[2], rows[3]));
  const __m256d high_01 = _mm256_castps_pd(_mm256_unpackhi_ps(rows[0], rows[1])), high_23 = _mm256_castps_pd(_mm256_unpackhi_ps(rows[2], rows[3]));
  columns[0] = _mm256_castpd_ps(_mm256_unpacklo_pd(low_01, low_23));
  columns[1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low_01, low_23));
  columns[2] = _mm256_castpd_ps(_mm256_unpacklo_pd(high_01, high_23));
  columns[3] = _mm256_castpd_ps(_mm256_unpackhi_pd(high_01, high_23));
}
