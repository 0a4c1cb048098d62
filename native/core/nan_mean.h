// Filling of missing values as the peer does it, to the last bit.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

namespace stemline {

namespace detail {

inline float finite_or_zero(float value) { return std::isnan(value) ? 0.0f : value; }

// numpy's pairwise summation (numpy/_core/src/umath/loops_utils.h.src) in float32: eight running sums over blocks of
// up to 128 values, blocks added in pairs.
inline float pairwise_sum(const float* values, size_t count) {
  if (count < 8) {
    float sum = -0.0f;
    for (size_t i = 0; i < count; ++i) sum += finite_or_zero(values[i]);
    return sum;
  }
  if (count <= 128) {
    float sums[8];
    for (size_t k = 0; k < 8; ++k) sums[k] = finite_or_zero(values[k]);
    size_t i = 8;
    for (; i + 8 <= count; i += 8) {
      for (size_t k = 0; k < 8; ++k) sums[k] += finite_or_zero(values[i + k]);
    }
    float sum = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
    for (; i < count; ++i) sum += finite_or_zero(values[i]);
    return sum;
  }
  size_t half = count / 2;
  half -= half % 8;
  return pairwise_sum(values, half) + pairwise_sum(values + half, count - half);
}

}  // namespace detail

// Replaces NaN by the mean of the other values: their float32 pairwise sum, divided in float64. In a plane without any
// value that is 0 / 0, which x86 makes a NaN with its sign set; on every CPU, results are the same bits.
inline void replace_nans_by_mean(std::span<float> plane) {
  size_t finite = 0;
  for (const float value : plane) finite += std::isnan(value) ? 0 : 1;
  if (finite == plane.size()) return;
  if (finite == 0) {
    std::fill(plane.begin(), plane.end(), std::bit_cast<float>(uint32_t{0xffc00000}));
    return;
  }
  const double sum = detail::pairwise_sum(plane.data(), plane.size());
  const float mean = static_cast<float>(sum / static_cast<double>(finite));
  for (float& value : plane) {
    if (std::isnan(value)) value = mean;
  }
}

}  // namespace stemline
