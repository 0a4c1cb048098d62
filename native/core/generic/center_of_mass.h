// Event sums of sparse frames, written once against the vector primitives of a backend's simd.h. No include guard and
// no namespace: each backend includes this inside its own namespace and target region.
//
// Row of an event: row = floor(index / columns), by one fused multiply-add. With c = (columns - 1) / 2,
//     (index - c) / columns = row + e,  |e| <= 1/2 - 1/(2 columns),
// so rounding to the nearest integer gives the row if the float error stays below 1/(2 columns). index - c is exact (a
// multiple of 1/2 below 2^23); 1/columns rounded to float32 is off by a factor within 1 +- 2^-24, which moves the
// product by less than 2^23 * 2^-24 / columns = 1/(2 columns). The multiply-add rounds once, onto the integers: adding
// 1.5 * 2^23 leaves a number in [2^23, 2^24), where float32 has a spacing of 1. Exact therefore for index < 2^23 and
// columns >= 2 (with columns = 1 rows would reach 2^23 and leave that range).
// AVX-512, whose multiply-add can round down, saves the subtraction of c: see row_reciprocal.
//
// Only sum(index) and sum(row) are needed: sum(column) = sum(index) - columns * sum(row).

// 1.5 * 2^23 and its bit pattern: the bits of (magic + row) are magic_bits + row.
inline constexpr float magic = 12582912.0f;
inline constexpr uint32_t magic_bits = 0x4b400000;

// So that a vector can sum the rows of dozens of events.
inline constexpr uint64_t most_fast_rows = 65535;

// Asks for the cache lines of so many vectors, some time before they are needed: the hardware stops at the end of each page
// of 4 KiB, and starts anew.
template <uint32_t vectors>
inline void fetch_ahead(const uint8_t* events) {
  for (uint32_t bytes = 0; bytes < vectors * 4 * lanes; bytes += 64) __builtin_prefetch(events + 4096 + bytes);
}

struct RowDivision {
  F32 reciprocal, offset;

  explicit RowDivision(uint32_t columns)
      : reciprocal(f32_set(row_reciprocal(columns))), offset(f32_set(static_cast<float>(columns - 1) * 0.5f)) {}

  // magic + row, for index below 2^23.
  F32 biased_row(F32 index) const { return f32_row(index, offset, reciprocal, f32_set(magic)); }

  static float row_reciprocal(uint32_t columns) {
    const float reciprocal = 1.0f / static_cast<float>(columns);
    // Rounded up for f32_row that rounds down: index / columns then never falls below a whole row, and exceeds it
    // by less than index * 2^-23 / columns < 1 / columns. The product is exact in float64.
    const bool below = row_rounds_down && static_cast<double>(reciprocal) * columns < 1.0;
    return below ? std::bit_cast<float>(std::bit_cast<uint32_t>(reciprocal) + 1) : reciprocal;
  }
};

// Frames up to this many events are cropped in groups, longer ones each by itself: the time that a group saves (a
// mispredicted end of a loop and sums across lanes) is then little, and aligned loads are worth more.
inline constexpr uint32_t longest_in_group = 512;

// A frame by itself costs as much as this many steps more, which a group may waste on its shorter frames.
inline constexpr uint32_t steps_of_a_lone_frame = 10;

// Number of events of each frame of a group, in short.
struct GroupShape {
  uint32_t longest = 0;
  uint32_t total = 0;

  explicit GroupShape(const EventRange* frames) {
    for (uint32_t f = 0; f < lanes; ++f) {
      const uint32_t count = frames[f].count;
      longest = count > longest ? count : longest;
      total += count;
    }
  }

  // A group costs as much as its longest frame for each of its frames. One without any event is none: `events` may
  // then be null, which a group's first step would move.
  bool worth_it(uint32_t most_events) const {
    return longest > 0 && longest <= longest_in_group && longest <= most_events &&
           longest <= total / lanes + steps_of_a_lone_frame * lanes;
  }
};

// Visits the events of four frames, side by side so that their sums do not wait for each other: as many whole vectors as the
// shortest has, then partly valid ones up to the end of the longest.
template <class Whole, class Part>
inline void visit_quad(const uint8_t* events, const EventRange* frames, Whole whole, Part part) {
  const uint8_t* at[4];
  uint32_t longest = 0, shortest = UINT32_MAX;
  for (uint32_t k = 0; k < 4; ++k) {
    const uint32_t count = frames[k].count;
    at[k] = events + 4 * frames[k].begin;
    longest = count > longest ? count : longest;
    shortest = count < shortest ? count : shortest;
  }
  const uint32_t full_steps = shortest / lanes, steps = (longest + lanes - 1) / lanes;
  size_t offset = 0;
  for (uint32_t step = 0; step < full_steps; ++step, offset += 4 * lanes) {
#pragma GCC unroll 4
    for (uint32_t k = 0; k < 4; ++k) whole(k, u32_load(at[k] + offset));
  }
  U32 lane = u32_add(u32_lane_numbers(), u32_set(full_steps * lanes));
  for (uint32_t step = full_steps; step < steps; ++step, offset += 4 * lanes) {
#pragma GCC unroll 4
    for (uint32_t k = 0; k < 4; ++k) {
      const uint32_t count = frames[k].count, done = step * lanes;
      const Mask valid = u32_less(lane, u32_set(count));
      part(k, u32_load_valid(at[k] + offset, valid, count > done ? count - done : 0), valid);
    }
    lane = u32_add(lane, u32_set(lanes));
  }
}

// Visits the events of one frame of any length, whole vectors in turns of four so that sums do not wait for each other.
template <class Whole, class Part>
inline void visit_frame(const uint8_t* events, uint32_t count, Whole whole, Part part) {
  uint32_t i = 0;
  if constexpr (vector_is_cache_line) {
    // Loads that cross no cache line, which unaligned ones of this width all do.
    const uint32_t head = static_cast<uint32_t>(-reinterpret_cast<uintptr_t>(events) / 4 % lanes);
    if (head != 0 && head < count) {
      part(0, u32_load_first(events, head), mask_first(head));
      i = head;
    }
  }
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    fetch_ahead<4>(events + 4 * size_t{i});
#pragma GCC unroll 4
    for (uint32_t k = 0; k < 4; ++k) whole(k, u32_load(events + 4 * size_t{i + k * lanes}));
  }
  for (; i + lanes <= count; i += lanes) whole(0, u32_load(events + 4 * size_t{i}));
  if (i < count) part(0, u32_load_first(events + 4 * size_t{i}, count - i), mask_first(count - i));
}

// Frames that the kernels below are exact for; larger ones, and those of one column, are the scalar backend's.
inline bool is_fast(uint32_t columns, uint64_t pixels) {
  return pixels <= max_fast_pixels && columns > 1 && pixels / columns <= most_fast_rows;
}

// The largest index of each lane, by two running maxima that do not wait for each other.
struct Largest {
  U32 of[2];

  Largest() : of{u32_zero(), u32_zero()} {}
  void see(uint32_t k, U32 index) { of[k % 2] = u32_max(of[k % 2], index); }
  uint32_t all() const { return u32_reduce_max(u32_max(of[0], of[1])); }
};

// A sum over all lanes of biased rows is that of the rows plus a multiple of lanes * magic_bits, whose lowest bit this is.
inline constexpr uint32_t row_sums_end = lanes * (magic_bits & ~(magic_bits - 1));

// Most events of a frame, or of a part of it, whose indices sum to less than 2^32 and whose rows to less than row_sums_end.
inline uint32_t plain_without_overflow(uint32_t columns, uint64_t pixels) {
  const uint64_t rows = pixels / columns;
  const uint64_t by_index = UINT32_MAX / pixels;
  const uint64_t by_row = rows == 0 ? by_index : (row_sums_end - 1) / rows;
  return static_cast<uint32_t>(by_index < by_row ? by_index : by_row);
}

// Sums of events that do not overflow. One loop, with sums that take one operation a vector each: its end is mispredicted,
// and what is begun behind it is lost.
[[gnu::always_inline]] inline FrameSums sum_events(const uint8_t* events, uint32_t count, const RowDivision& division, U32& largest) {
  U32 index_sum = u32_zero(), row_bits = u32_zero();
  // Lanes that are not valid hold index 0, which adds 0 to both sums.
  const auto add = [&](U32 index) {
    largest = u32_max(largest, index);
    index_sum = u32_add(index_sum, index);
    row_bits = u32_add(row_bits, f32_bits(division.biased_row(u32_to_f32(index))));
  };
  const uint8_t* const end = events + 4 * size_t{count};
  if constexpr (vector_is_cache_line) {
    // Loads that cross no cache line, which unaligned ones of this width all do.
    const uint32_t head = static_cast<uint32_t>(-reinterpret_cast<uintptr_t>(events) / 4 % lanes);
    if (head != 0 && head < count) {
      add(u32_load_first(events, head));
      events += 4 * head;
    }
  }
  for (; events + 4 * lanes <= end; events += 4 * lanes) {
    fetch_ahead<1>(events);
    add(u32_load(events));
  }
  if (events < end) add(u32_load_first(events, static_cast<uint32_t>(end - events) / 4));
  const uint64_t both = u32_reduce_add(index_sum, row_bits);
  return {static_cast<uint32_t>(both), (both >> 32) & (row_sums_end - 1)};
}

// A frame of any length.
[[gnu::noinline]] inline void sum_frame(const uint8_t* events, uint32_t count, const RowDivision& division, uint32_t most_events,
                                        Largest& largest, FrameSums& sums) {
  sums = FrameSums{};
  while (count > 0) {
    const uint32_t part = count < most_events ? count : most_events;
    const FrameSums part_sums = sum_events(events, part, division, largest.of[0]);
    sums.index_sum += part_sums.index_sum;
    sums.row_sum += part_sums.row_sum;
    events += 4 * size_t{part};
    count -= part;
  }
}

// Sums frames one by one, up to the first that has fewer events than `fewest` or more than `most`; returns how many those are. A
// function of its own, so that all it needs stays in registers.
[[gnu::noinline]] inline size_t sum_alone(const uint8_t* events, const EventRange* frames, size_t frame_count, uint32_t fewest,
                                          uint32_t most, const RowDivision& shared_division, Largest& largest, FrameSums* sums) {
  const RowDivision division = shared_division;
  U32 largest_here = largest.of[0];
  size_t f = 0;
  // One comparison for both bounds: what is below the lower one is a large number without sign.
  for (; f < frame_count && frames[f].count - fewest <= most - fewest; ++f) {
    sums[f] = sum_events(events + 4 * frames[f].begin, frames[f].count, division, largest_here);
  }
  largest.of[0] = largest_here;
  return f;
}

// Short frames that lie one after another in memory are summed together, without a loop for each: their lengths differ at
// random, and a mispredicted end of a loop costs as much as 100 events. With x the values at hand, the events' numbers
//     running[i + lanes] = x[i] + x[i - lanes] + x[i - 2 lanes] + ...
// take one vector addition for `lanes` events, whatever frames these belong to; the sum of x[0] .. x[i - 1] is that of the
// `lanes` numbers from running[i] on, and a frame's sum the difference of two of those. All modulo 2^32.
// A run is short enough for two such sequences and its events in the first cache.
inline constexpr uint32_t run_events = 3584;
inline constexpr uint32_t run_frames = 256;
// Longer frames are summed each by itself.
inline constexpr uint32_t longest_plain_in_run = vector_is_cache_line ? 192 : 256;
inline constexpr uint32_t longest_cropped_in_run = 512;

inline U32 u32_load_words(const uint32_t* words) { return u32_load(reinterpret_cast<const uint8_t*>(words)); }

// Frames next to each other in memory that fit a run, from the first of `frames` on: as many times `lanes` as possible, or
// fewer than `lanes`.
struct Run {
  uint32_t frame_count = 0;
  uint32_t event_count = 0;
  // Of each frame in events from the run's begin; then the last one's again.
  uint32_t ends[run_frames + lanes];

  Run(const EventRange* frames, size_t most_frames, uint32_t most_events) {
    const uint64_t begin = frames[0].begin;
    uint32_t end = 0;
    bool fits = true;
    const auto add = [&](uint32_t f) {
      const EventRange& frame = frames[f];
      fits = fits & (frame.begin - begin == end) & (frame.count <= most_events);
      end += frame.count;
      ends[f] = end;
    };
    // Without a branch for each frame, whose outcome nothing foretells.
    for (; frame_count + lanes <= most_frames && frame_count < run_frames; frame_count += lanes, event_count = end) {
      for (uint32_t k = 0; k < lanes; ++k) add(frame_count + k);
      if (!fits || end > run_events) break;
    }
    if (frame_count == 0) {
      fits = true;
      end = 0;
      for (; frame_count < lanes && frame_count < most_frames; ++frame_count, event_count = end) {
        add(frame_count);
        if (!fits || end > run_events) break;
      }
    }
    for (uint32_t i = 0; i < lanes; ++i) ends[frame_count + i] = event_count;
  }
};

// The running sums of a run, which begin with `lanes` zeros.
struct RunningSums {
  alignas(64) uint32_t numbers[run_events + 4 * lanes];

  RunningSums() { u32_store(numbers, u32_zero()); }
  void store(uint32_t i, U32 sum) { u32_store(numbers + i + lanes, sum); }

  // Of the `lanes` frames that end at these events, the sums of each block of four lanes, as u32_add_quads leaves them.
  // `before` is what comes before the first and then before the last of them, zero at the begin of a run. The sum of all
  // blocks may as well be made from lanes in another order, which is `whole`.
  template <bool whole>
  void frames(const uint32_t* ends, U32& before, U32 (&quads)[lanes / 4]) const {
#pragma GCC unroll 4
    for (uint32_t q = 0; q < lanes / 4; ++q, ends += 4) {
      U32 quad[4];
#pragma GCC unroll 4
      for (uint32_t k = 0; k < 4; ++k) quad[k] = whole ? u32_load_words(numbers + ends[k]) : u32_load_turned(numbers, ends[k]);
      const U32 until = u32_add_quads(quad[0], quad[1], quad[2], quad[3]);
      quads[q] = u32_subtract(until, u32_shift_in(before, until));
      before = until;
    }
  }
};

// Visits the events of a run in order: visit(turn, number of the first event, events, which are valid).
template <class Visit>
inline void visit_run(const uint8_t* events, uint32_t count, Visit visit) {
  uint32_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    fetch_ahead<2>(events + 4 * size_t{i});
    visit(0, i, u32_load(events + 4 * size_t{i}), mask_all());
    visit(1, i + lanes, u32_load(events + 4 * size_t{i + lanes}), mask_all());
  }
  // Also where nothing is left: that costs less than to predict it.
#pragma GCC unroll 2
  for (uint32_t turn = 0; turn < 2; ++turn, i += lanes) {
    uint32_t left = count > i ? count - i : 0;
    left = left < lanes ? left : lanes;
    const uint8_t* const at = left > 0 ? events + 4 * size_t{i} : events;
    visit(turn, i, u32_load_first(at, left), mask_first(left));
  }
}

// Writes the results of the first `count` of `lanes` frames: sums[i] = make(i). The loop over all of them becomes a few
// vector stores.
template <class Sums, class Make>
inline void write_sums(uint32_t count, Sums* sums, Make make) {
  if (count >= lanes) {
    for (uint32_t i = 0; i < lanes; ++i) sums[i] = make(i);
  } else {
    for (uint32_t i = 0; i < count; ++i) sums[i] = make(i);
  }
}

// Row and index of events in one number each, so that a run takes one store a vector:
//     packed = row * 2^16 + index = row * D + column,  D = 2^16 + columns.
// The sum of n events is R * D + C, with R and C those of rows and columns. If it is below 2^32 and C at most 64,000, then R is
// the integer next to (sum / 2 - 16,000) * 2 / D: without errors that is R + (C - 32,000) / D, within 32,000 / D of R. Halving
// drops 1/2; below 2^31 the conversion to float32 and the subtraction are off by up to 2^6 each, the reciprocal moves the
// result by 2^7 at most: together less than 2^9 / D, and 32,000 + 1 + 2^9 < D / 2. The multiply-add rounds once, onto the
// integers.
struct Packing {
  uint32_t most_events;
  F32 offset, reciprocal;

  Packing(uint32_t columns, uint64_t pixels) : offset(f32_set(16000.0f)) {
    const uint64_t factor = (1u << 16) + columns, last_row = pixels / columns - 1, last_column = columns - 1;
    const uint64_t by_column = 64000 / last_column;
    const uint64_t by_sum = UINT32_MAX / (last_row * factor + last_column);
    // A frame's sum is in blocks of four lanes.
    most_events = lanes * static_cast<uint32_t>((by_column < by_sum ? by_column : by_sum) / 4);
    reciprocal = f32_set(2.0f / static_cast<float>(factor));
  }

  // magic_bits + R.
  U32 biased_rows(U32 sum) const {
    return f32_bits(f32_fma(f32_sub(u32_to_f32(u32_shift_right<1>(sum)), offset), reciprocal, f32_set(magic)));
  }
};

inline void sum_run(const uint8_t* events, const EventRange* frames, const Run& run, const RowDivision& division,
                    const Packing& packing, Largest& largest, FrameSums* sums) {
  RunningSums running;
  // A copy, so that it stays in registers.
  Largest run_largest = largest;
  U32 sum = u32_zero();
  visit_run(events + 4 * frames[0].begin, run.event_count, [&](uint32_t turn, uint32_t i, U32 index, Mask) {
    run_largest.see(turn, index);
    // The shift drops all of magic_bits.
    const U32 row = u32_shift_left<16>(f32_bits(division.biased_row(u32_to_f32(index))));
    sum = u32_add(sum, u32_add(row, index));
    running.store(i, sum);
  });
  largest = run_largest;
  U32 before = u32_zero();
#pragma GCC unroll 1
  for (uint32_t f = 0; f < run.frame_count; f += lanes) {
    U32 packed[lanes / 4], rows[lanes / 4];
    running.frames<false>(run.ends + f, before, packed);
#pragma GCC unroll 4
    for (uint32_t q = 0; q < lanes / 4; ++q) rows[q] = packing.biased_rows(packed[q]);
    const U32 row = u32_subtract(u32_add_blocks(rows), u32_set(lanes / 4 * magic_bits));
    alignas(64) uint32_t row_sums[lanes];
    alignas(64) uint32_t index_sums[lanes];
    u32_store(row_sums, row);
    u32_store(index_sums, u32_subtract(u32_add_blocks(packed), u32_shift_left<16>(row)));
    write_sums(run.frame_count - f, sums + f, [&](uint32_t i) { return FrameSums{index_sums[i], row_sums[i]}; });
  }
}

inline uint32_t sum_frames(const uint8_t* events, const EventRange* frames, size_t frame_count, uint32_t columns,
                           uint64_t pixels, FrameSums* sums) {
  if (!is_fast(columns, pixels)) {
    return scalar_backend.sum_frames(events, frames, frame_count, columns, pixels, sums);
  }
  const RowDivision division(columns);
  const uint32_t most_events = plain_without_overflow(columns, pixels);
  const Packing packing(columns, pixels);
  const uint32_t most_in_run = packing.most_events < longest_plain_in_run ? packing.most_events : longest_plain_in_run;
  // Frames next to each other have about as many events, give or take a few times the root.
  const float spread = 3 * std::sqrt(static_cast<float>(most_in_run)), most_f32 = static_cast<float>(most_in_run);
  const uint32_t longest_begin = spread < most_f32 ? static_cast<uint32_t>(most_f32 - spread) : 0;
  Largest largest;
  for (size_t f = 0; f < frame_count;) {
    if (frames[f].count > most_events) {
      sum_frame(events + 4 * frames[f].begin, frames[f].count, division, most_events, largest, sums[f]);
      ++f;
    } else if (frames[f].count > longest_begin) {
      f += sum_alone(events, frames + f, frame_count - f, longest_begin / 2, most_events, division, largest, sums + f);
    } else {
      const Run run(frames + f, frame_count - f, most_in_run);
      sum_run(events, frames + f, run, division, packing, largest, sums + f);
      f += run.frame_count;
    }
  }
  return largest.all();
}

// A crop adds (magic + row) of each event that it keeps. A sum of n of them is n * magic_bits + rows, and magic_bits =
// 301 * 2^22 with an odd factor: the low 22 bits are the sum of rows and the others, times the inverse of 301 modulo
// 2^10, are n. So kept events need not be counted.
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

// What the tests of a crop need to know of the frame's shape.
struct CropFrame {
  uint32_t columns, rows;
  uint32_t step;  // see BoxTest; 0: too large for it
  RowDivision division;
  F32 columns_f32;

  CropFrame(uint32_t frame_columns, uint64_t pixels)
      : columns(frame_columns), rows(static_cast<uint32_t>(pixels / frame_columns)), step(column_step(columns, rows)),
        division(columns), columns_f32(f32_set(static_cast<float>(columns))) {}

  static uint32_t column_step(uint32_t columns, uint64_t rows) {
    // Odd, for the sake of order_bias.
    const uint64_t step = ((uint64_t{1} << 32) / columns + 1) | 1;
    const uint64_t excess = step * columns - (uint64_t{1} << 32);
    return excess * rows < step ? static_cast<uint32_t>(step) : 0;
  }
};

// Whole numbers v of a side of a frame with low < v <= high, in each lane: from `first` on, below `end`. Bounds that are no
// numbers leave none.
struct SideRange {
  U32 first, end;

  SideRange(F32 low, F32 high, uint32_t side) {
    const F32 before = f32_set(-1.0f), last = f32_set(static_cast<float>(side - 1));
    const U32 one = u32_set(1);
    first = u32_add(i32_floor(f32_max(f32_min(low, last), before)), one);
    end = u32_add(i32_floor(f32_min(f32_max(high, before), last)), one);
  }

  Mask any() const { return u32_less(first, end); }
  U32 size() const { return u32_subtract(end, first); }
};

// Which lanes a box keeps, with integers alone. With x = index - (the box's first pixel), row = x / columns and column =
// x % columns are relative to the box, so that it keeps x <= (its last pixel's x) where column < (its width); x below
// its first pixel is a large number without sign.
// The column is seen in x * step modulo 2^32, step being 2^32 / columns rounded up, step * columns = 2^32 + excess:
//     x * step = row * 2^32 + row * excess + column * step,
// so modulo 2^32 it is column * step + row * excess, if that is below 2^32. With rows * excess < step the second term is
// always less than one step, and column < width is the same as (x * step) % 2^32 < width * step.
// (Lemire, Kaser, Kurz: Faster remainder by direct computation, 2019.)
struct BoxTest {
  U32 first, last, step, end;

  // What belongs to a window, of up to `lanes` of them.
  struct Bounds {
    alignas(64) uint32_t first[lanes], last[lanes], end[lanes];

    Bounds(const CropWindow* windows, uint32_t count, const CropFrame& frame) {
      CropWindow few[lanes];
      if (count < lanes) {
        for (uint32_t i = 0; i < lanes; ++i) few[i] = windows[i < count ? i : 0];
        windows = few;
      }
      // low_row, high_row, low_column, high_column
      F32 sides[4];
      f32_load_columns(&windows->low_row, sizeof(CropWindow) / sizeof(float), sides);
      const SideRange rows(sides[0], sides[1], frame.rows), columns(sides[2], sides[3], frame.columns);
      const U32 pitch = u32_set(frame.columns), one = u32_set(1), most = u32_set(UINT32_MAX), bias = u32_set(order_bias);
      const auto unless_empty = [&](U32 value, U32 otherwise) {
        return u32_select(rows.any(), u32_select(columns.any(), value, otherwise), otherwise);
      };
      const U32 width = columns.size();
      const U32 first_pixel = u32_add(u32_multiply(rows.first, pitch), columns.first);
      const U32 last_pixel = u32_subtract(u32_add(u32_multiply(u32_subtract(rows.size(), one), pitch), width), one);
      // Of all columns: columns * step is more than 2^32.
      const U32 column_end = u32_select(u32_less(width, pitch), u32_subtract(u32_multiply(width, u32_set(frame.step)), one), most);
      // The bias added to x adds itself to x * step, which is odd.
      u32_store(first, u32_subtract(unless_empty(first_pixel, most), bias));
      u32_store(last, u32_add(unless_empty(last_pixel, u32_zero()), bias));
      u32_store(end, u32_add(column_end, bias));
    }
  };

  BoxTest(const Bounds& bounds, uint32_t i, const CropFrame& frame)
      : first(u32_set(bounds.first[i])), last(u32_set(bounds.last[i])), step(u32_set(frame.step)), end(u32_set(bounds.end[i])) {}

  template <class Valid>
  Mask keeps(Valid valid, U32 index, F32, F32, const CropFrame&) const {
    const U32 x = u32_subtract(index, first);
    return u32_ordered_where(u32_ordered_where(valid, x, last), u32_multiply(x, step), end);
  }
};

// Bounds of tests that compare with the windows as they are.
struct WindowsThemselves {
  const CropWindow* windows;

  WindowsThemselves(const CropWindow* all, uint32_t, const CropFrame&) : windows(all) {}
};

// As BoxTest, for frames that are too large for it.
struct FloatBoxTest {
  F32 low_row, high_row, low_column, high_column;

  using Bounds = WindowsThemselves;

  FloatBoxTest(const Bounds& bounds, uint32_t i, const CropFrame&)
      : low_row(f32_set(bounds.windows[i].low_row)), high_row(f32_set(bounds.windows[i].high_row)),
        low_column(f32_set(bounds.windows[i].low_column)), high_column(f32_set(bounds.windows[i].high_column)) {}

  Mask keeps(Mask valid, U32, F32 index, F32 biased_row, const CropFrame& frame) const {
    const F32 row = f32_sub(biased_row, f32_set(magic));
    // Exact: index and row * columns are integers below 2^24.
    const F32 column = f32_fnma(row, frame.columns_f32, index);
    const Mask in_rows = f32_less_equal_where(f32_greater_where(valid, row, low_row), row, high_row);
    return f32_less_equal_where(f32_greater_where(in_rows, column, low_column), column, high_column);
  }
};

struct DiskTest {
  F32 center_row, center_column, limit;

  using Bounds = WindowsThemselves;

  DiskTest(const Bounds& bounds, uint32_t i, const CropFrame&)
      : center_row(f32_set(bounds.windows[i].center_row)), center_column(f32_set(bounds.windows[i].center_column)),
        limit(f32_set(bounds.windows[i].limit)) {}

  Mask keeps(Mask valid, U32, F32 index, F32 biased_row, const CropFrame& frame) const {
    const F32 row = f32_sub(biased_row, f32_set(magic));
    const F32 row_distance = f32_sub(row, center_row);
    const F32 column_distance = f32_sub(f32_fnma(row, frame.columns_f32, index), center_column);
    const F32 squared = f32_add(f32_multiply(row_distance, row_distance), f32_multiply(column_distance, column_distance));
    return f32_less_equal_where(valid, squared, limit);
  }
};

template <class Test>
inline Test test_of(const CropWindow& window, const CropFrame& frame) {
  return Test(typename Test::Bounds(&window, 1, frame), 0, frame);
}

struct CroppedLanes {
  U32 index_sum, row_bits;

  CroppedLanes() : index_sum(u32_zero()), row_bits(u32_zero()) {}

  template <class Test>
  void add(U32 index, Mask valid, const Test& test, const CropFrame& frame) {
    const F32 index_f32 = u32_to_f32(index);
    const F32 biased_row = frame.division.biased_row(index_f32);
    const Mask kept = test.keeps(valid, index, index_f32, biased_row, frame);
    index_sum = u32_add_where(kept, index_sum, index);
    row_bits = u32_add_where(kept, row_bits, f32_bits(biased_row));
  }
};

// Takes the place of Largest where that is known.
struct NoLargest {
  void see(uint32_t, U32) {}
};

template <class Test, class Seen>
inline void sum_cropped_frame(const uint8_t* events, uint32_t count, const CropFrame& frame, uint32_t most_events,
                              const Test& test, Seen& largest, CroppedSums& sums) {
  sums = CroppedSums{};
  while (count > 0) {
    const uint32_t part_events = count < most_events ? count : most_events;
    CroppedLanes kept;
    visit_frame(
        events, part_events,
        [&](uint32_t k, U32 index) {
          largest.see(k, index);
          kept.add(index, mask_all(), test, frame);
        },
        [&](uint32_t k, U32 index, Mask valid) {
          largest.see(k, index);
          kept.add(index, valid, test, frame);
        });
    const uint64_t both = u32_reduce_add(kept.index_sum, kept.row_bits);
    const uint32_t row_bits = static_cast<uint32_t>(both >> 32);
    const uint32_t row_sum = row_bits & row_sum_mask;
    sums.row_sum += row_sum;
    sums.column_sum += static_cast<uint32_t>(both) - frame.columns * row_sum;
    sums.count += (row_bits >> row_sum_width) * count_factor & count_mask;
    events += 4 * size_t{part_events};
    count -= part_events;
  }
}

// Writes the results of up to `lanes` frames.
inline void write_cropped(U32 index_sum, U32 bits, const CropFrame& frame, uint32_t count, CroppedSums* sums) {
  const U32 row = u32_and(bits, u32_set(row_sum_mask));
  const U32 column = u32_subtract(index_sum, u32_multiply(row, u32_set(frame.columns)));
  const U32 kept = u32_and(u32_multiply(u32_shift_right<row_sum_width>(bits), u32_set(count_factor)), u32_set(count_mask));
  alignas(64) uint32_t rows[lanes];
  alignas(64) uint32_t columns[lanes];
  alignas(64) uint32_t counts[lanes];
  u32_store(rows, row);
  u32_store(columns, column);
  u32_store(counts, kept);
  write_sums(count, sums, [&](uint32_t i) { return CroppedSums{rows[i], columns[i], counts[i]}; });
}

// As sum_run, for a crop with one window.
template <class Test>
inline void sum_cropped_run(const uint8_t* events, const EventRange* frames, const Run& run, const CropFrame& frame,
                            const Test& test, Largest& largest, CroppedSums* sums) {
  RunningSums indices, rows;
  Largest run_largest = largest;
  CroppedLanes kept;
  visit_run(events + 4 * frames[0].begin, run.event_count, [&](uint32_t turn, uint32_t i, U32 index, Mask valid) {
    run_largest.see(turn, index);
    kept.add(index, valid, test, frame);
    indices.store(i, kept.index_sum);
    rows.store(i, kept.row_bits);
  });
  largest = run_largest;
  U32 index_before = u32_zero(), row_before = u32_zero();
#pragma GCC unroll 1
  for (uint32_t f = 0; f < run.frame_count; f += lanes) {
    U32 index_quads[lanes / 4], row_quads[lanes / 4];
    indices.frames<true>(run.ends + f, index_before, index_quads);
    rows.frames<true>(run.ends + f, row_before, row_quads);
    write_cropped(u32_add_blocks(index_quads), u32_add_blocks(row_quads), frame, run.frame_count - f, sums + f);
  }
}

// Crops `lanes` frames at once, each in its own window: lane-wise sums of each frame, then one transposing addition.
template <class Test>
inline void sum_cropped_group(const uint8_t* events, const EventRange* frames, const CropFrame& frame, const CropWindow* windows,
                              CroppedSums* sums) {
  U32 index_quads[lanes / 4];
  U32 row_quads[lanes / 4];
  const typename Test::Bounds bounds(windows, lanes, frame);
  for (uint32_t q = 0; q < lanes / 4; ++q) {
    CroppedLanes quad[4];
    const Test tests[4] = {Test(bounds, 4 * q, frame), Test(bounds, 4 * q + 1, frame), Test(bounds, 4 * q + 2, frame),
                           Test(bounds, 4 * q + 3, frame)};
    visit_quad(
        events, frames + 4 * q, [&](uint32_t k, U32 index) { quad[k].add(index, mask_all(), tests[k], frame); },
        [&](uint32_t k, U32 index, Mask valid) { quad[k].add(index, valid, tests[k], frame); });
    index_quads[q] = u32_add_quads(quad[0].index_sum, quad[1].index_sum, quad[2].index_sum, quad[3].index_sum);
    row_quads[q] = u32_add_quads(quad[0].row_bits, quad[1].row_bits, quad[2].row_bits, quad[3].row_bits);
  }
  write_cropped(u32_add_blocks(index_quads), u32_add_blocks(row_quads), frame, lanes, sums);
}

// All frames in one window.
template <class Test>
inline uint32_t sum_in_window_by(const uint8_t* events, const EventRange* frames, size_t frame_count, const CropFrame& frame,
                                 uint32_t most_events, const CropWindow& window, CroppedSums* sums) {
  const Test test = test_of<Test>(window, frame);
  const uint32_t most_in_run = most_events < longest_cropped_in_run ? most_events : longest_cropped_in_run;
  Largest largest;
  for (size_t f = 0; f < frame_count;) {
    if (frames[f].count > most_in_run) {
      sum_cropped_frame(events + 4 * frames[f].begin, frames[f].count, frame, most_events, test, largest, sums[f]);
      ++f;
    } else {
      const Run run(frames + f, frame_count - f, most_in_run);
      sum_cropped_run(events, frames + f, run, frame, test, largest, sums + f);
      f += run.frame_count;
    }
  }
  return largest.all();
}

// Each frame in a window of its own.
template <class Test>
inline void sum_in_windows_by(const uint8_t* events, const EventRange* frames, size_t frame_count, const CropFrame& frame,
                              uint32_t most_events, const CropWindow* windows, CroppedSums* sums) {
  NoLargest unseen;
  const auto one_by_one = [&](size_t f, size_t end) {
    for (; f < end; ++f) {
      sum_cropped_frame(events + 4 * frames[f].begin, frames[f].count, frame, most_events, test_of<Test>(windows[f], frame), unseen,
                        sums[f]);
    }
  };
  size_t f = 0;
  for (; f + lanes <= frame_count; f += lanes) {
    if (GroupShape(frames + f).worth_it(most_events)) {
      sum_cropped_group<Test>(events, frames + f, frame, windows + f, sums + f);
    } else {
      one_by_one(f, f + lanes);
    }
  }
  one_by_one(f, frame_count);
}

inline uint32_t sum_in_window(const uint8_t* events, const EventRange* frames, size_t frame_count, uint32_t columns, uint64_t pixels,
                              CropShape shape, const CropWindow& window, CroppedSums* sums) {
  if (!is_fast(columns, pixels)) return scalar_backend.sum_in_window(events, frames, frame_count, columns, pixels, shape, window, sums);
  const CropFrame frame(columns, pixels);
  const auto sum = shape == CropShape::disk ? sum_in_window_by<DiskTest>
                   : frame.step == 0        ? sum_in_window_by<FloatBoxTest>
                                            : sum_in_window_by<BoxTest>;
  return sum(events, frames, frame_count, frame, cropped_without_overflow(columns, pixels), window, sums);
}

inline void sum_in_windows(const uint8_t* events, const EventRange* frames, size_t frame_count, uint32_t columns, uint64_t pixels,
                           CropShape shape, const CropWindow* windows, CroppedSums* sums) {
  if (!is_fast(columns, pixels)) return scalar_backend.sum_in_windows(events, frames, frame_count, columns, pixels, shape, windows, sums);
  const CropFrame frame(columns, pixels);
  const auto sum = shape == CropShape::disk ? sum_in_windows_by<DiskTest>
                   : frame.step == 0        ? sum_in_windows_by<FloatBoxTest>
                                            : sum_in_windows_by<BoxTest>;
  sum(events, frames, frame_count, frame, cropped_without_overflow(columns, pixels), windows, sums);
}
