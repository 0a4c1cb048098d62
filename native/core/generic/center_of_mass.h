// Event sums of sparse frames, written once against the vector primitives of a backend's simd.h. No include guard and
// no namespace: each backend includes this inside its own namespace and target region.
//
// Row of an event: row = floor(index / columns), by one fused multiply-add. With c = (columns - 1) / 2,
//     (index - c) / columns = row + e,  |e| <= 1/2 - 1/(2 columns),
// so rounding to the nearest integer gives the row if the float error stays below 1/(2 columns). index - c is exact (a
// multiple of 1/2 below 2^23); 1/columns rounded to float32 is off by a factor within 1 +- 2^-24, which moves the
// product by less than 2^23 * 2^-24 / columns = 1/(2 columns). The multiply-add rounds once, onto the integers: adding
// 1.5 * 2^23 leaves a number in [2^23, 2^24), where float32 has a spacing of 1, whose low mantissa bits are the row.
// Exact therefore for index < 2^23 and columns >= 2 (with columns = 1 rows would reach 2^23 and leave that range).
// AVX-512, whose multiply-add can round down, saves the subtraction of c: see row_reciprocal.
//
// Only sum(index) and sum(row) are needed: sum(column) = sum(index) - columns * sum(row).

// 1.5 * 2^23 and its bit pattern: the bits of (row + magic) are magic_bits + row.
inline constexpr float magic = 12582912.0f;
inline constexpr uint32_t magic_bits = 0x4b400000;

struct RowDivision {
  F32 reciprocal, offset;

  explicit RowDivision(uint32_t columns)
      : reciprocal(f32_set(row_reciprocal(columns))), offset(f32_set(static_cast<float>(columns - 1) * 0.5f)) {}

  // row + magic, for index below 2^23.
  F32 biased_row(F32 index) const { return f32_row(index, offset, reciprocal, f32_set(magic)); }

  static float row_reciprocal(uint32_t columns) {
    const float reciprocal = 1.0f / static_cast<float>(columns);
    // Rounded up for f32_row that rounds down: index / columns then never falls below a whole row, and exceeds it by
    // less than index * 2^-23 / columns < 1 / columns. The product is exact in float64.
    const bool below = row_rounds_down && static_cast<double>(reciprocal) * columns < 1.0;
    return below ? std::bit_cast<float>(std::bit_cast<uint32_t>(reciprocal) + 1) : reciprocal;
  }
};

inline constexpr bool vector_is_cache_line = lanes == 16;

// Most events of a frame whose 32-bit lane sums cannot overflow, in groups and in runs: n * pixels < 2^32.
inline uint32_t events_without_overflow(uint64_t pixels) {
  return static_cast<uint32_t>(UINT32_MAX / pixels);
}

// Adds one vector of events to running sums; masked-out lanes hold index 0, which adds 0 to both sums but counts as one
// magic_bits in row_bits, like any other.
struct PlainSums {
  U32 index_sum, row_bits;

  // Spelled out, here and below: an implicit constructor would not get the region's target.
  PlainSums() : index_sum(u32_zero()), row_bits(u32_zero()) {}

  void add(U32 index, const RowDivision& division, U32& largest) {
    index_sum = u32_add(index_sum, index);
    row_bits = u32_add(row_bits, f32_bits(division.biased_row(u32_to_f32(index))));
    largest = u32_max(largest, index);
  }
};

// Sums of one frame, any length: in chunks whose lane sums fit 32 bits.
inline void sum_long_frame(const uint8_t* events, uint32_t count, const RowDivision& division, uint32_t chunk_events,
                           U32& largest, FrameSums& sums) {
  sums = FrameSums{};
  while (count > 0) {
    const uint32_t chunk = count < chunk_events ? count : chunk_events;
    PlainSums chunk_sums;
    uint32_t vectors = 0;
    uint32_t i = 0;
    if constexpr (vector_is_cache_line) {
      // Loads that cross no cache line, which unaligned ones of this width all do: measured 1.5 times as fast.
      const uint32_t head = static_cast<uint32_t>(-reinterpret_cast<uintptr_t>(events) / 4 % lanes);
      if (head != 0 && head < chunk) {
        chunk_sums.add(u32_load_first(events, head), division, largest);
        i = head;
        ++vectors;
      }
    }
    for (; i + lanes <= chunk; i += lanes, ++vectors) chunk_sums.add(u32_load(events + 4 * size_t{i}), division, largest);
    if (i < chunk) {
      chunk_sums.add(u32_load_first(events + 4 * size_t{i}, chunk - i), division, largest);
      ++vectors;
    }
    sums.index_sum += u32_reduce_add(chunk_sums.index_sum);
    sums.row_sum += u32_reduce_add(chunk_sums.row_bits) - lanes * vectors * magic_bits;
    events += 4 * size_t{chunk};
    count -= chunk;
  }
}

// Lane-wise sums of one frame of a group: `full_steps` whole vectors, then masked ones up to `steps`.
inline PlainSums sum_group_frame(const uint8_t* at, uint32_t count, uint32_t full_steps, uint32_t steps,
                                 const RowDivision& division, U32& largest) {
  PlainSums sums;
  uint32_t step = 0;
  for (; step < full_steps; ++step, at += 4 * lanes) sums.add(u32_load(at), division, largest);
  for (uint32_t done = step * lanes; step < steps; ++step, done += lanes, at += 4 * lanes) {
    sums.add(u32_load_first(at, count > done ? count - done : 0), division, largest);
  }
  return sums;
}

// Sums of `lanes` frames at once: lane-wise sums of each frame, then one transposing addition instead of a horizontal
// sum a frame. All frames of a group take as many steps as the longest, so that the loop's length is the same for all.
template <bool packed>
inline void sum_frame_group_as(const uint8_t* events, const EventRange* frames, uint32_t full_steps, uint32_t steps,
                               uint32_t columns, const RowDivision& division, U32& largest, FrameSums* sums) {
  const U32 pack = u32_set(65536u - columns);
  U32 index_quads[lanes / 4];
  U32 row_quads[lanes / 4];
  for (uint32_t q = 0; q < lanes / 4; ++q) {
    U32 index_sums[4];
    U32 row_bits[4];
#pragma GCC unroll 4
    for (uint32_t k = 0; k < 4; ++k) {
      const EventRange& frame = frames[4 * q + k];
      const PlainSums frame_sums = sum_group_frame(events + 4 * frame.begin, frame.count, full_steps, steps, division, largest);
      if constexpr (packed) {
        index_sums[k] = u32_add(frame_sums.index_sum, u32_multiply(frame_sums.row_bits, pack));
      } else {
        index_sums[k] = frame_sums.index_sum;
        row_bits[k] = frame_sums.row_bits;
      }
    }
    index_quads[q] = u32_add_quads(index_sums[0], index_sums[1], index_sums[2], index_sums[3]);
    if constexpr (!packed) row_quads[q] = u32_add_quads(row_bits[0], row_bits[1], row_bits[2], row_bits[3]);
  }
  alignas(64) uint32_t index_sum[lanes];
  alignas(64) uint32_t row_sum[lanes];
  const U32 bias = u32_set(lanes * steps * magic_bits);
  U32 index = u32_add_blocks(index_quads);
  U32 row;
  if constexpr (packed) {
    index = u32_subtract(index, u32_multiply(bias, pack));
    row = u32_shift_right<16>(index);
    // index = columns * row + column
    index = u32_subtract(index, u32_multiply(row, pack));
  } else {
    row = u32_subtract(u32_add_blocks(row_quads), bias);
  }
  u32_store(index_sum, index);
  u32_store(row_sum, row);
  for (uint32_t f = 0; f < lanes; ++f) sums[f] = {index_sum[f], row_sum[f]};
}

inline void sum_frame_group(const uint8_t* events, const EventRange* frames, uint32_t longest, uint32_t shortest,
                            uint32_t columns, uint32_t packed_longest, const RowDivision& division, U32& largest,
                            FrameSums* sums) {
  const uint32_t steps = (longest + lanes - 1) / lanes;
  const uint32_t full_steps = shortest / lanes;
  if (longest > packed_longest) {
    sum_frame_group_as<false>(events, frames, full_steps, steps, columns, division, largest, sums);
  } else if (steps <= 1) {
    sum_frame_group_as<true>(events, frames, 0, 1, columns, division, largest, sums);
  } else if (steps == 2 && full_steps == 0) {
    sum_frame_group_as<true>(events, frames, 0, 2, columns, division, largest, sums);
  } else if (steps == 2) {
    sum_frame_group_as<true>(events, frames, 1, 2, columns, division, largest, sums);
  } else if (steps == 3 && full_steps == 1) {
    sum_frame_group_as<true>(events, frames, 1, 3, columns, division, largest, sums);
  } else {
    sum_frame_group_as<true>(events, frames, full_steps, steps, columns, division, largest, sums);
  }
}

// Longest frame whose sums of rows and of columns both stay below 2^16, so that they can share a 32-bit lane.
inline uint32_t longest_packed(uint32_t columns, uint64_t pixels) {
  const uint64_t rows = pixels / columns;
  const uint64_t side = rows > columns ? rows : columns;
  return side > 65535 ? 0 : static_cast<uint32_t>(65535 / side);
}

inline uint32_t sum_frames(const uint8_t* events, const EventRange* frames, size_t frame_count, uint32_t columns,
                           uint64_t pixels, FrameSums* sums) {
  if (pixels > max_fast_pixels || columns == 1) {
    return scalar_backend.sum_frames(events, frames, frame_count, columns, pixels, sums);
  }
  const RowDivision division(columns);
  const uint32_t chunk_events = events_without_overflow(pixels);
  const uint32_t packed_longest = longest_packed(columns, pixels);
  U32 largest = u32_zero();
  size_t f = 0;
  for (; f + lanes <= frame_count; f += lanes) {
    uint32_t longest = 0;
    uint32_t shortest = UINT32_MAX;
    for (size_t i = 0; i < lanes; ++i) {
      const uint32_t count = frames[f + i].count;
      longest = count > longest ? count : longest;
      shortest = count < shortest ? count : shortest;
    }
    // A group costs as much as its longest frame for each of its frames.
    const bool even = longest <= 4 * lanes || longest / 2 <= shortest;
    // Of no events at all `events` may be null, which a group's first step would move.
    if (even && longest > 0 && longest <= chunk_events && !(vector_is_cache_line && shortest >= 4 * lanes)) {
      sum_frame_group(events, frames + f, longest, shortest, columns, packed_longest, division, largest, sums + f);
    } else {
      for (size_t i = f; i < f + lanes; ++i) {
        sum_long_frame(events + 4 * frames[i].begin, frames[i].count, division, chunk_events, largest, sums[i]);
      }
    }
  }
  for (; f < frame_count; ++f) {
    sum_long_frame(events + 4 * frames[f].begin, frames[f].count, division, chunk_events, largest, sums[f]);
  }
  return u32_reduce_max(largest);
}

// A sum of n biased rows is n * magic_bits + rows, and magic_bits = 301 * 2^22 with an odd factor: the low 22 bits are
// the sum of rows and the others, times the inverse of 301 modulo 2^10, are n. So kept events need not be counted.
inline constexpr uint32_t row_sum_width = 22;
inline constexpr uint32_t row_sum_mask = (1u << row_sum_width) - 1;
inline constexpr uint32_t count_mask = (1u << (32 - row_sum_width)) - 1;
inline constexpr uint32_t count_factor = 677;
static_assert(((magic_bits >> row_sum_width) * count_factor & count_mask) == 1 && (magic_bits & row_sum_mask) == 0);

// Most events of a frame, or of a part of it, for which that and the sum of indices hold.
inline uint32_t cropped_without_overflow(uint32_t columns, uint64_t pixels) {
  const uint64_t rows = pixels / columns;
  uint64_t events = UINT32_MAX / pixels;
  if (events > count_mask) events = count_mask;
  if (rows > 0 && events > row_sum_mask / rows) events = row_sum_mask / rows;
  return events == 0 ? 1 : static_cast<uint32_t>(events);
}

// Which lanes a crop keeps, given row and column as float32.
struct BoxTest {
  F32 low_row, high_row, low_column, high_column;

  explicit BoxTest(const CropWindow& window)
      : low_row(f32_set(window.low_row)), high_row(f32_set(window.high_row)), low_column(f32_set(window.low_column)),
        high_column(f32_set(window.high_column)) {}

  Mask keeps(Mask valid, F32 row, F32 column) const {
    const Mask in_rows = f32_less_equal_where(f32_greater_where(valid, row, low_row), row, high_row);
    return f32_less_equal_where(f32_greater_where(in_rows, column, low_column), column, high_column);
  }
};

struct DiskTest {
  F32 center_row, center_column, limit;

  explicit DiskTest(const CropWindow& window)
      : center_row(f32_set(window.center_row)), center_column(f32_set(window.center_column)), limit(f32_set(window.limit)) {}

  Mask keeps(Mask valid, F32 row, F32 column) const {
    const F32 row_distance = f32_sub(row, center_row);
    const F32 column_distance = f32_sub(column, center_column);
    const F32 squared = f32_add(f32_multiply(row_distance, row_distance), f32_multiply(column_distance, column_distance));
    return f32_less_equal_where(valid, squared, limit);
  }
};

template <class Test>
struct CroppedLanes {
  U32 index_sum, row_bits;

  CroppedLanes() : index_sum(u32_zero()), row_bits(u32_zero()) {}

  void add(U32 index, Mask valid, const RowDivision& division, F32 columns, const Test& test, U32& largest) {
    largest = u32_max(largest, index);
    const F32 index_f32 = u32_to_f32(index);
    const F32 biased_row = division.biased_row(index_f32);
    const F32 row = f32_sub(biased_row, f32_set(magic));
    // Exact: index and row * columns are integers below 2^24.
    const F32 column = f32_fnma(row, columns, index_f32);
    const Mask kept = test.keeps(valid, row, column);
    index_sum = u32_add_where(kept, index_sum, index);
    row_bits = u32_add_where(kept, row_bits, f32_bits(biased_row));
  }
};

template <class Test>
inline void sum_cropped_frame(const uint8_t* events, uint32_t count, const RowDivision& division, F32 columns_f32,
                              uint32_t columns, uint32_t chunk_events, const CropWindow& window, U32& largest,
                              CroppedSums& sums) {
  const Test test(window);
  sums = CroppedSums{};
  while (count > 0) {
    const uint32_t chunk = count < chunk_events ? count : chunk_events;
    CroppedLanes<Test> kept;
    uint32_t i = 0;
    for (; i + lanes <= chunk; i += lanes) kept.add(u32_load(events + 4 * size_t{i}), mask_all(), division, columns_f32, test, largest);
    if (i < chunk) {
      kept.add(u32_load_first(events + 4 * size_t{i}, chunk - i), mask_first(chunk - i), division, columns_f32, test, largest);
    }
    const uint32_t row_bits = u32_reduce_add(kept.row_bits);
    const uint32_t row_sum = row_bits & row_sum_mask;
    sums.row_sum += row_sum;
    sums.column_sum += u32_reduce_add(kept.index_sum) - columns * row_sum;
    sums.count += (row_bits >> row_sum_width) * count_factor & count_mask;
    events += 4 * size_t{chunk};
    count -= chunk;
  }
}

// As sum_frame_group, for a crop.
template <class Test>
inline void sum_cropped_group(const uint8_t* events, const EventRange* frames, uint32_t full_steps, uint32_t steps,
                              const RowDivision& division, F32 columns_f32, uint32_t columns, const CropWindow* windows,
                              size_t window_stride, U32& largest, CroppedSums* sums) {
  U32 index_quads[lanes / 4];
  U32 row_quads[lanes / 4];
  for (uint32_t q = 0; q < lanes / 4; ++q) {
    U32 index_sums[4];
    U32 row_bits[4];
#pragma GCC unroll 4
    for (uint32_t k = 0; k < 4; ++k) {
      const uint32_t f = 4 * q + k;
      const Test test(windows[f * window_stride]);
      const uint8_t* at = events + 4 * frames[f].begin;
      CroppedLanes<Test> kept;
      uint32_t step = 0;
      for (; step < full_steps; ++step, at += 4 * lanes) kept.add(u32_load(at), mask_all(), division, columns_f32, test, largest);
      for (uint32_t done = step * lanes; step < steps; ++step, done += lanes, at += 4 * lanes) {
        const uint32_t left = frames[f].count > done ? frames[f].count - done : 0;
        kept.add(u32_load_first(at, left), mask_first(left), division, columns_f32, test, largest);
      }
      index_sums[k] = kept.index_sum;
      row_bits[k] = kept.row_bits;
    }
    index_quads[q] = u32_add_quads(index_sums[0], index_sums[1], index_sums[2], index_sums[3]);
    row_quads[q] = u32_add_quads(row_bits[0], row_bits[1], row_bits[2], row_bits[3]);
  }
  const U32 bits = u32_add_blocks(row_quads);
  const U32 row = u32_and(bits, u32_set(row_sum_mask));
  const U32 column = u32_subtract(u32_add_blocks(index_quads), u32_multiply(row, u32_set(columns)));
  const U32 count = u32_and(u32_multiply(u32_shift_right<row_sum_width>(bits), u32_set(count_factor)), u32_set(count_mask));
  alignas(64) uint32_t row_sum[lanes];
  alignas(64) uint32_t column_sum[lanes];
  alignas(64) uint32_t counts[lanes];
  u32_store(row_sum, row);
  u32_store(column_sum, column);
  u32_store(counts, count);
  for (uint32_t f = 0; f < lanes; ++f) sums[f] = {row_sum[f], column_sum[f], counts[f]};
}

template <class Test, bool shared_window>
inline uint32_t sum_cropped_frames_with(const uint8_t* events, const EventRange* frames, size_t frame_count,
                                        uint32_t columns, uint64_t pixels, const CropWindow* windows,
                                        CroppedSums* sums) {
  const RowDivision division(columns);
  const F32 columns_f32 = f32_set(static_cast<float>(columns));
  const uint32_t chunk_events = cropped_without_overflow(columns, pixels);
  const size_t stride = shared_window ? 0 : 1;
  U32 largest = u32_zero();
  size_t f = 0;
  for (; f + lanes <= frame_count; f += lanes) {
    uint32_t longest = 0;
    uint32_t shortest = UINT32_MAX;
    for (size_t i = 0; i < lanes; ++i) {
      const uint32_t count = frames[f + i].count;
      longest = count > longest ? count : longest;
      shortest = count < shortest ? count : shortest;
    }
    const bool even = longest <= 4 * lanes || longest / 2 <= shortest;
    if (even && longest > 0 && longest <= chunk_events) {
      const uint32_t steps = (longest + lanes - 1) / lanes;
      const CropWindow* const group_windows = windows + f * stride;
      if (steps <= 1) {
        sum_cropped_group<Test>(events, frames + f, 0, 1, division, columns_f32, columns, group_windows, stride, largest, sums + f);
      } else {
        sum_cropped_group<Test>(events, frames + f, shortest / lanes, steps, division, columns_f32, columns, group_windows, stride,
                                largest, sums + f);
      }
    } else {
      for (size_t i = f; i < f + lanes; ++i) {
        sum_cropped_frame<Test>(events + 4 * frames[i].begin, frames[i].count, division, columns_f32, columns, chunk_events,
                                windows[i * stride], largest, sums[i]);
      }
    }
  }
  for (; f < frame_count; ++f) {
    sum_cropped_frame<Test>(events + 4 * frames[f].begin, frames[f].count, division, columns_f32, columns, chunk_events,
                            windows[f * stride], largest, sums[f]);
  }
  return u32_reduce_max(largest);
}

inline uint32_t sum_cropped_frames(const uint8_t* events, const EventRange* frames, size_t frame_count, uint32_t columns,
                                   uint64_t pixels, CropShape shape, const CropWindow* windows, size_t window_stride,
                                   CroppedSums* sums) {
  if (pixels > max_fast_pixels || columns == 1) {
    return scalar_backend.sum_cropped_frames(events, frames, frame_count, columns, pixels, shape, windows, window_stride,
                                             sums);
  }
  const auto run = shape == CropShape::box
                       ? (window_stride == 0 ? sum_cropped_frames_with<BoxTest, true> : sum_cropped_frames_with<BoxTest, false>)
                       : (window_stride == 0 ? sum_cropped_frames_with<DiskTest, true> : sum_cropped_frames_with<DiskTest, false>);
  return run(events, frames, frame_count, columns, pixels, windows, sums);
}
