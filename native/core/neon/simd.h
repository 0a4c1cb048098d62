// Vector primitives of the NEON backend: four 32-bit lanes. Included inside the backend's namespace.

inline constexpr uint32_t lanes = 4;
using U32 = uint32x4_t;
using F32 = float32x4_t;
using Mask = uint32x4_t;

inline U32 u32_zero() { return vdupq_n_u32(0); }
inline U32 u32_set(uint32_t value) { return vdupq_n_u32(value); }
// Byte loads need no alignment.
inline U32 u32_load(const uint8_t* at) { return vreinterpretq_u32_u8(vld1q_u8(at)); }

inline U32 u32_lane_numbers() {
  static constexpr uint32_t numbers[lanes] = {0, 1, 2, 3};
  return vld1q_u32(numbers);
}
inline constexpr bool vector_is_cache_line = false;

// The first `count` lanes true; all from `lanes` on.
inline Mask mask_first(uint32_t count) { return vcgtq_u32(vdupq_n_u32(count), u32_lane_numbers()); }
inline Mask mask_all() { return vdupq_n_u32(UINT32_MAX); }

// The first `count` elements at `at`, other lanes 0; reads nothing beyond them.
inline U32 u32_load_first(const uint8_t* at, uint32_t count) {
  if (count >= lanes) return u32_load(at);
  uint8_t bytes[4 * lanes] = {};
  for (uint32_t i = 0; i < count; ++i) __builtin_memcpy(bytes + 4 * i, at + 4 * i, 4);
  return u32_load(bytes);
}
// The same, given also which lanes these are.
inline U32 u32_load_valid(const uint8_t* at, Mask, uint32_t count) { return u32_load_first(at, count); }
inline void u32_store(uint32_t* to, U32 v) { vst1q_u32(to, v); }

inline U32 u32_add(U32 a, U32 b) { return vaddq_u32(a, b); }
inline U32 u32_subtract(U32 a, U32 b) { return vsubq_u32(a, b); }
inline U32 u32_multiply(U32 a, U32 b) { return vmulq_u32(a, b); }
inline U32 u32_and(U32 a, U32 b) { return vandq_u32(a, b); }
template <unsigned bits>
inline U32 u32_shift_right(U32 v) {
  return vshrq_n_u32(v, bits);
}
template <unsigned bits>
inline U32 u32_shift_left(U32 v) {
  return vshlq_n_u32(v, bits);
}
inline U32 u32_max(U32 a, U32 b) { return vmaxq_u32(a, b); }
inline U32 u32_add_where(Mask mask, U32 sum, U32 v) { return vaddq_u32(sum, vandq_u32(mask, v)); }

inline Mask u32_less(U32 a, U32 b) { return vcltq_u32(a, b); }
// a in lanes of `mask`, else b.
inline U32 u32_select(Mask mask, U32 a, U32 b) { return vbslq_u32(mask, a, b); }
// a <= b in lanes of `mask`. Both have order_bias added.
inline constexpr uint32_t order_bias = 0;
inline Mask u32_ordered_where(Mask mask, U32 a, U32 b) { return vandq_u32(mask, vcleq_u32(a, b)); }

// Exact below 2^24.
inline F32 u32_to_f32(U32 v) { return vcvtq_f32_u32(v); }
inline U32 f32_bits(F32 v) { return vreinterpretq_u32_f32(v); }

inline F32 f32_set(float value) { return vdupq_n_f32(value); }
// b where one of them is no number.
inline F32 f32_min(F32 a, F32 b) { return vminnmq_f32(a, b); }
inline F32 f32_max(F32 a, F32 b) { return vmaxnmq_f32(a, b); }
// The largest whole number not above it.
inline U32 i32_floor(F32 v) { return vreinterpretq_u32_s32(vcvtmq_s32_f32(v)); }
inline F32 f32_add(F32 a, F32 b) { return vaddq_f32(a, b); }
inline F32 f32_sub(F32 a, F32 b) { return vsubq_f32(a, b); }
inline F32 f32_multiply(F32 a, F32 b) { return vmulq_f32(a, b); }
inline F32 f32_fma(F32 a, F32 b, F32 c) { return vfmaq_f32(c, a, b); }
inline constexpr bool row_rounds_down = false;
inline F32 f32_row(F32 index, F32 offset, F32 reciprocal, F32 bias) { return f32_fma(f32_sub(index, offset), reciprocal, bias); }
// c - a * b, rounded once.
inline F32 f32_fnma(F32 a, F32 b, F32 c) { return vfmsq_f32(c, a, b); }
// In lanes of `mask`.
inline Mask f32_greater_where(Mask mask, F32 a, F32 b) { return vandq_u32(mask, vcgtq_f32(a, b)); }
inline Mask f32_less_equal_where(Mask mask, F32 a, F32 b) { return vandq_u32(mask, vcleq_f32(a, b)); }

// The last lane of `before`, then all but the last of `v`.
inline U32 u32_shift_in(U32 before, U32 v) { return vextq_u32(before, v, lanes - 1); }

// The sum of a's lanes in the low half, that of b's in the high half.
inline uint64_t u32_reduce_add(U32 a, U32 b) {
  const U32 pairs = vpaddq_u32(a, b);
  return vgetq_lane_u64(vreinterpretq_u64_u32(vpaddq_u32(pairs, pairs)), 0);
}
inline uint32_t u32_reduce_max(U32 v) { return vmaxvq_u32(v); }

// In any order: there is one block only.
inline U32 u32_load_turned(const uint32_t* words, uint32_t begin) { return vld1q_u32(words + begin); }

// Four vectors to one: lane i is the sum of the i-th vector's lanes.
inline U32 u32_add_quads(U32 a, U32 b, U32 c, U32 d) { return vpaddq_u32(vpaddq_u32(a, b), vpaddq_u32(c, d)); }

// Of vectors from u32_add_quads: lane i of the result is the sum of all lanes of the vector 4 * (i / 4) + i % 4.
inline U32 u32_add_blocks(const U32 (&q)[lanes / 4]) { return q[0]; }

// Lane i of columns[k]: from[i * pitch + k].
inline void f32_load_columns(const float* from, size_t pitch, F32 (&columns)[4]) {
  const float32x4x2_t a = vtrnq_f32(vld1q_f32(from), vld1q_f32(from + pitch));
  const float32x4x2_t b = vtrnq_f32(vld1q_f32(from + 2 * pitch), vld1q_f32(from + 3 * pitch));
  columns[0] = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
  columns[1] = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
  columns[2] = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
  columns[3] = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
}
