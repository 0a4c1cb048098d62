// Vector primitives of the AVX-512 backend: sixteen 32-bit lanes. Included inside the backend's namespace and target
// region. Sums across lanes are spelled out: gcc 12 warns inside its own reduce intrinsics.

inline constexpr uint32_t lanes = 16;
using U32 = __m512i;
using F32 = __m512;
using Mask = __mmask16;

inline U32 u32_zero() { return _mm512_setzero_si512(); }
inline U32 u32_set(uint32_t value) { return _mm512_set1_epi32(static_cast<int>(value)); }
inline U32 u32_load(const uint8_t* at) { return _mm512_loadu_si512(at); }

// The first `count` lanes true, count <= lanes.
inline Mask mask_first(uint32_t count) { return static_cast<Mask>((1u << count) - 1); }
inline Mask mask_all() { return 0xffff; }
inline Mask mask_and(Mask a, Mask b) { return static_cast<Mask>(a & b); }

// The first `count` elements at `at`, other lanes 0; reads nothing beyond them.
inline U32 u32_load_first(const uint8_t* at, uint32_t count) { return _mm512_maskz_loadu_epi32(mask_first(count), at); }
inline void u32_store(uint32_t* to, U32 v) { _mm512_store_si512(to, v); }

inline U32 u32_add(U32 a, U32 b) { return _mm512_add_epi32(a, b); }
inline U32 u32_subtract(U32 a, U32 b) { return _mm512_sub_epi32(a, b); }
inline U32 u32_max(U32 a, U32 b) { return _mm512_maskz_max_epu32(0xffff, a, b); }
inline U32 u32_add_where(Mask mask, U32 sum, U32 v) { return _mm512_mask_add_epi32(sum, mask, sum, v); }

// Signed conversion: exact below 2^24, meaningless but defined from 2^31 on.
inline F32 u32_to_f32(U32 v) { return _mm512_maskz_cvtepi32_ps(0xffff, v); }
inline U32 f32_to_u32(F32 v) { return _mm512_maskz_cvttps_epi32(0xffff, v); }
inline U32 f32_bits(F32 v) { return _mm512_castps_si512(v); }

inline F32 f32_set(float value) { return _mm512_set1_ps(value); }
inline F32 f32_add(F32 a, F32 b) { return _mm512_add_ps(a, b); }
inline F32 f32_sub(F32 a, F32 b) { return _mm512_sub_ps(a, b); }
inline F32 f32_multiply(F32 a, F32 b) { return _mm512_mul_ps(a, b); }
inline F32 f32_fma(F32 a, F32 b, F32 c) { return _mm512_fmadd_ps(a, b, c); }
// c - a * b, rounded once.
inline F32 f32_fnma(F32 a, F32 b, F32 c) { return _mm512_fnmadd_ps(a, b, c); }
inline Mask f32_greater(F32 a, F32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
inline Mask f32_less_equal(F32 a, F32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }

inline uint32_t u32_reduce_add(U32 v) {
  alignas(64) uint32_t lane[lanes];
  _mm512_store_si512(lane, v);
  uint32_t sum = 0;
  for (uint32_t i = 0; i < lanes; ++i) sum += lane[i];
  return sum;
}

inline uint32_t u32_reduce_max(U32 v) {
  alignas(64) uint32_t lane[lanes];
  _mm512_store_si512(lane, v);
  uint32_t top = 0;
  for (uint32_t i = 0; i < lanes; ++i) top = lane[i] > top ? lane[i] : top;
  return top;
}

// Adds the halves of two vectors, at a distance of one lane (32 bits) or two: pairs of frames share a vector after it.
inline U32 add_pairs_1(U32 a, U32 b) {
  return _mm512_add_epi32(_mm512_maskz_unpacklo_epi32(0xffff, a, b), _mm512_maskz_unpackhi_epi32(0xffff, a, b));
}
inline U32 add_pairs_2(U32 a, U32 b) {
  return _mm512_add_epi32(_mm512_maskz_unpacklo_epi64(0xff, a, b), _mm512_maskz_unpackhi_epi64(0xff, a, b));
}

// Four vectors to one: in each 128-bit block, lane i is the sum of that block of v[i].
inline U32 add_quads(U32 a, U32 b, U32 c, U32 d) { return add_pairs_2(add_pairs_1(a, b), add_pairs_1(c, d)); }

// Lane i of the result is the sum of all lanes of v[i].
inline U32 u32_transpose_add(const U32 (&v)[lanes]) {
  const U32 q0 = add_quads(v[0], v[1], v[2], v[3]);
  const U32 q1 = add_quads(v[4], v[5], v[6], v[7]);
  const U32 q2 = add_quads(v[8], v[9], v[10], v[11]);
  const U32 q3 = add_quads(v[12], v[13], v[14], v[15]);
  // Blocks of q0 and q1, then of both pairs: a 4 x 4 transposition of 128-bit blocks with additions.
  const U32 q01 = _mm512_add_epi32(_mm512_maskz_shuffle_i32x4(0xffff, q0, q1, 0x88), _mm512_maskz_shuffle_i32x4(0xffff, q0, q1, 0xdd));
  const U32 q23 = _mm512_add_epi32(_mm512_maskz_shuffle_i32x4(0xffff, q2, q3, 0x88), _mm512_maskz_shuffle_i32x4(0xffff, q2, q3, 0xdd));
  return _mm512_add_epi32(_mm512_maskz_shuffle_i32x4(0xffff, q01, q23, 0x88), _mm512_maskz_shuffle_i32x4(0xffff, q01, q23, 0xdd));
}
