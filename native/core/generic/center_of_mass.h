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
//
// Only sum(index) and sum(row) are needed: sum(column) = sum(index) - columns * sum(row).

// 1.5 * 2^23 and its bit pattern: the bits of (row + magic) are magic_bits + row.
inline constexpr float magic = 12582912.0f;
inline constexpr uint32_t magic_bits = 0x4b400000;

struct RowDivision {
  F32 reciprocal, offset;

  explicit RowDivision(uint32_t columns)
      : reciprocal(f32_set(1.0f / static_cast<float>(columns))), offset(f32_set(static_cast<float>(columns - 1) * 0.5f)) {}

  // row + magic, for index below 2^23.
  F32 biased_row(F32 index) const { return f32_fma(f32_sub(index, offset), reciprocal, f32_set(magic)); }
};

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

// Sums of `lanes` frames at once: lane-wise sums of each frame, then one transposing addition instead of a horizontal
// sum a frame. All frames of a group take as many steps as the longest, so that the loop's length is the same for all.
inline void sum_frame_group(const uint8_t* events, const EventRange* frames, uint32_t longest, uint32_t shortest,
                            const RowDivision& division, U32& largest, FrameSums* sums) {
  U32 index_sums[lanes];
  U32 row_bits[lanes];
  const uint32_t full_steps = shortest / lanes;
  const uint32_t steps = (longest + lanes - 1) / lanes;
  for (uint32_t f = 0; f < lanes; ++f) {
    const uint8_t* at = events + 4 * frames[f].begin;
    PlainSums frame_sums;
    uint32_t step = 0;
    for (; step < full_steps; ++step, at += 4 * lanes) frame_sums.add(u32_load(at), division, largest);
    for (uint32_t done = step * lanes; step < steps; ++step, done += lanes, at += 4 * lanes) {
      const uint32_t left = frames[f].count > done ? frames[f].count - done : 0;
      frame_sums.add(u32_load_first(at, left < lanes ? left : lanes), division, largest);
    }
    index_sums[f] = frame_sums.index_sum;
    row_bits[f] = frame_sums.row_bits;
  }
  alignas(64) uint32_t index_sum[lanes];
  alignas(64) uint32_t row_sum[lanes];
  u32_store(index_sum, u32_transpose_add(index_sums));
  u32_store(row_sum, u32_transpose_add(row_bits));
  const uint32_t bias = lanes * steps * magic_bits;
  for (uint32_t f = 0; f < lanes; ++f) sums[f] = {index_sum[f], row_sum[f] - bias};
}

inline uint32_t sum_frames(const uint8_t* events, const EventRange* frames, size_t frame_count, uint32_t columns,
                           uint64_t pixels, FrameSums* sums) {
  if (pixels > max_fast_pixels || columns == 1) {
    return scalar_backend.sum_frames(events, frames, frame_count, columns, pixels, sums);
  }
  const RowDivision division(columns);
  const uint32_t chunk_events = events_without_overflow(pixels);
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
    if (even && longest <= chunk_events) {
      sum_frame_group(events, frames + f, longest, shortest, division, largest, sums + f);
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

// Which lanes a crop keeps, given row and column as float32.
struct BoxTest {
  F32 low_row, high_row, low_column, high_column;

  explicit BoxTest(const CropWindow& window)
      : low_row(f32_set(window.low_row)), high_row(f32_set(window.high_row)), low_column(f32_set(window.low_column)),
        high_column(f32_set(window.high_column)) {}

  Mask keeps(F32 row, F32 column) const {
    return mask_and(mask_and(f32_greater(row, low_row), f32_less_equal(row, high_row)),
                    mask_and(f32_greater(column, low_column), f32_less_equal(column, high_column)));
  }
};

struct DiskTest {
  F32 center_row, center_column, limit;

  explicit DiskTest(const CropWindow& window)
      : center_row(f32_set(window.center_row)), center_column(f32_set(window.center_column)), limit(f32_set(window.limit)) {}

  Mask keeps(F32 row, F32 column) const {
    const F32 row_distance = f32_sub(row, center_row);
    const F32 column_distance = f32_sub(column, center_column);
    const F32 squared = f32_add(f32_multiply(row_distance, row_distance), f32_multiply(column_distance, column_distance));
    return f32_less_equal(squared, limit);
  }
};

template <class Test>
struct CroppedLanes {
  U32 row_sum, column_sum, count;

  CroppedLanes() : row_sum(u32_zero()), column_sum(u32_zero()), count(u32_zero()) {}

  void add(U32 index, Mask valid, const RowDivision& division, F32 columns, const Test& test, U32& largest) {
    largest = u32_max(largest, index);
    const F32 index_f32 = u32_to_f32(index);
    const F32 biased_row = division.biased_row(index_f32);
    const F32 row = f32_sub(biased_row, f32_set(magic));
    // Exact: index and row * columns are integers below 2^24.
    const F32 column = f32_fnma(row, columns, index_f32);
    const Mask kept = mask_and(valid, test.keeps(row, column));
    row_sum = u32_add_where(kept, row_sum, u32_subtract(f32_bits(biased_row), u32_set(magic_bits)));
    column_sum = u32_add_where(kept, column_sum, f32_to_u32(column));
    count = u32_add_where(kept, count, u32_set(1));
  }
};

template <class Test>
inline void sum_cropped_frame(const uint8_t* events, uint32_t count, const RowDivision& division, F32 columns,
                              uint32_t chunk_events, const CropWindow& window, U32& largest, CroppedSums& sums) {
  const Test test(window);
  sums = CroppedSums{};
  while (count > 0) {
    const uint32_t chunk = count < chunk_events ? count : chunk_events;
    CroppedLanes<Test> kept;
    uint32_t i = 0;
    for (; i + lanes <= chunk; i += lanes) kept.add(u32_load(events + 4 * size_t{i}), mask_all(), division, columns, test, largest);
    if (i < chunk) {
      kept.add(u32_load_first(events + 4 * size_t{i}, chunk - i), mask_first(chunk - i), division, columns, test, largest);
    }
    sums.row_sum += u32_reduce_add(kept.row_sum);
    sums.column_sum += u32_reduce_add(kept.column_sum);
    sums.count += u32_reduce_add(kept.count);
    events += 4 * size_t{chunk};
    count -= chunk;
  }
}

// As sum_frame_group, for a crop.
template <class Test>
inline void sum_cropped_group(const uint8_t* events, const EventRange* frames, uint32_t longest, const RowDivision& division,
                              F32 columns, const CropWindow* windows, size_t window_stride, U32& largest, CroppedSums* sums) {
  U32 row_sums[lanes];
  U32 column_sums[lanes];
  U32 counts[lanes];
  const uint32_t steps = (longest + lanes - 1) / lanes;
  for (uint32_t f = 0; f < lanes; ++f) {
    const Test test(windows[f * window_stride]);
    const uint8_t* at = events + 4 * frames[f].begin;
    CroppedLanes<Test> kept;
    for (uint32_t done = 0; done < steps * lanes; done += lanes, at += 4 * lanes) {
      const uint32_t left = frames[f].count > done ? frames[f].count - done : 0;
      const uint32_t first = left < lanes ? left : lanes;
      kept.add(u32_load_first(at, first), mask_first(first), division, columns, test, largest);
    }
    row_sums[f] = kept.row_sum;
    column_sums[f] = kept.column_sum;
    counts[f] = kept.count;
  }
  alignas(64) uint32_t row_sum[lanes];
  alignas(64) uint32_t column_sum[lanes];
  alignas(64) uint32_t count[lanes];
  u32_store(row_sum, u32_transpose_add(row_sums));
  u32_store(column_sum, u32_transpose_add(column_sums));
  u32_store(count, u32_transpose_add(counts));
  for (uint32_t f = 0; f < lanes; ++f) sums[f] = {row_sum[f], column_sum[f], count[f]};
}

template <class Test>
inline uint32_t sum_cropped_frames_with(const uint8_t* events, const EventRange* frames, size_t frame_count,
                                        uint32_t columns, uint64_t pixels, const CropWindow* windows, size_t window_stride,
                                        CroppedSums* sums) {
  const RowDivision division(columns);
  const F32 columns_f32 = f32_set(static_cast<float>(columns));
  const uint32_t chunk_events = events_without_overflow(pixels);
  // Beyond a few vectors a frame, its own horizontal sums cost less than masking every load.
  const uint32_t group_longest = 4 * lanes < chunk_events ? 4 * lanes : chunk_events;
  U32 largest = u32_zero();
  size_t f = 0;
  for (; f + lanes <= frame_count; f += lanes) {
    uint32_t longest = 0;
    for (size_t i = 0; i < lanes; ++i) longest = frames[f + i].count > longest ? frames[f + i].count : longest;
    if (longest <= group_longest) {
      sum_cropped_group<Test>(events, frames + f, longest, division, columns_f32, windows + f * window_stride, window_stride,
                              largest, sums + f);
    } else {
      for (size_t i = f; i < f + lanes; ++i) {
        sum_cropped_frame<Test>(events + 4 * frames[i].begin, frames[i].count, division, columns_f32, chunk_events,
                                windows[i * window_stride], largest, sums[i]);
      }
    }
  }
  for (; f < frame_count; ++f) {
    sum_cropped_frame<Test>(events + 4 * frames[f].begin, frames[f].count, division, columns_f32, chunk_events,
                            windows[f * window_stride], largest, sums[f]);
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
  if (shape == CropShape::box) {
    return sum_cropped_frames_with<BoxTest>(events, frames, frame_count, columns, pixels, windows, window_stride, sums);
  }
  return sum_cropped_frames_with<DiskTest>(events, frames, frame_count, columns, pixels, windows, window_stride, sums);
}
