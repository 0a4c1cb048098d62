// Sums of one frame's events, written once for the device and for the host. A frame is the work of a few lanes that run
// side by side; what they do together is theirs to say:
//
//   Lanes::size              how many there are, a power of two up to 32
//   lane()                   which of them this is
//   sum(x), max(x), count(b) over all lanes, the same to each; count is the number of lanes where `b` holds
//   add(address, x)          adds to memory that others add to at the same time
//   raise(address, x)        the same for a maximum
//
// All lanes call sum, max and count together, hence in loops of the same number of turns.
#pragma once

#include "stemline_cuda.h"

#ifdef __CUDACC__
#define STEMLINE_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define STEMLINE_HOST_DEVICE inline
#endif
#ifdef __CUDA_ARCH__
#define STEMLINE_UNROLL _Pragma("unroll")
#define STEMLINE_DO_NOT_UNROLL _Pragma("unroll 1")
#else
#define STEMLINE_UNROLL
#define STEMLINE_DO_NOT_UNROLL
#endif

namespace stemline::cuda {

// Frames with more events are given to the kernels in parts, which lanes work on at the same time. Sums of rows, of columns
// and of a part's indices then need 32 bits: 1024 * 65,535 < 2^32.
inline constexpr uint32_t longest_part = 1024;

// What one launch computes. Memory is the device's; results start from zero.
struct SumsTask {
  const uint32_t* events = nullptr;
  const StemlineCudaFrame* parts = nullptr;  // checked: each within the events and the positions, at most longest_part long
  uint32_t part_count = 0;
  uint32_t position_count = 0;
  uint32_t columns = 0;
  uint32_t pixels = 0;  // below 2^32, as both sides are below 2^16
  uint64_t row_factor = 0;

  StemlineCudaWindow window{};
  const StemlineCudaSums* own_sums = nullptr;  // of each position, without a crop
  float half_rows = 0, half_columns = 0, limit = 0;

  const uint32_t* detectors = nullptr;
  uint32_t detector_count = 0;

  StemlineCudaSums* sums = nullptr;
  uint32_t* largest = nullptr;
  uint32_t* event_counts = nullptr;
  uint32_t* detector_counts = nullptr;
  uint32_t* pattern = nullptr;
};

// The row of an event is event * row_factor / 2^48, rounded down. With f = (2^48 + e) / columns, 0 <= e < columns,
//     event * f / 2^48 = event / columns + event / 2^48 * e / columns,
// of which the second term is below 2^32 / 2^48 < 1 / columns: it reaches no further row. The product fits: it is below
// rows * columns * (2^48 / columns + 1) < 65,535 * 2^48 + 2^32 < 2^64. That of an event outside the frame may wrap.
inline uint64_t row_factor_of(uint32_t columns) { return ((uint64_t{1} << 48) + columns - 1) / columns; }

STEMLINE_HOST_DEVICE uint32_t row_of(const SumsTask& task, uint32_t event) {
  return static_cast<uint32_t>(event * task.row_factor >> 48);
}

// As window_around_own of the core.
STEMLINE_HOST_DEVICE StemlineCudaWindow window_around(const StemlineCudaSums& sums, float half_rows, float half_columns, float limit) {
  const double count = static_cast<double>(static_cast<int64_t>(sums.count));
  const float row = static_cast<float>(static_cast<double>(static_cast<int64_t>(sums.row_sum)) / count);
  const float column = static_cast<float>(static_cast<double>(static_cast<int64_t>(sums.column_sum)) / count);
  return {row - half_rows, row + half_rows, column - half_columns, column + half_columns, row, column, limit};
}

struct Box {
  STEMLINE_HOST_DEVICE static bool keeps(const StemlineCudaWindow& window, float row, float column) {
    return (row > window.low_row) & (row <= window.high_row) & (column > window.low_column) & (column <= window.high_column);
  }
};

// Built without contraction into fused multiply-adds: each operation rounds once.
struct Disk {
  STEMLINE_HOST_DEVICE static bool keeps(const StemlineCudaWindow& window, float row, float column) {
    const float row_distance = row - window.center_row;
    const float column_distance = column - window.center_column;
    return row_distance * row_distance + column_distance * column_distance <= window.limit;
  }
};

struct NoCrop {
  static constexpr bool crops = false;
};

template <class ShapeOfWindow>
struct FixedCrop {
  static constexpr bool crops = true;
  static constexpr bool is_own = false;
  using Shape = ShapeOfWindow;
};

template <class ShapeOfWindow>
struct OwnCrop {
  static constexpr bool crops = true;
  static constexpr bool is_own = true;
  using Shape = ShapeOfWindow;
};

template <class Crop>
STEMLINE_HOST_DEVICE StemlineCudaWindow window_of(const SumsTask& task, uint32_t position) {
  if constexpr (!Crop::crops) {
    return {};
  } else if constexpr (Crop::is_own) {
    return window_around(task.own_sums[position], task.half_rows, task.half_columns, task.limit);
  } else {
    return task.window;
  }
}

// How many events are in each detector. Lane l holds the counts of detectors l, l + size, ...
template <class Lanes>
struct DetectorCounts {
  static constexpr uint32_t held = STEMLINE_CUDA_MAX_DETECTORS / Lanes::size;
  uint32_t counts[held] = {};

  // Adds the events of all lanes, of which each has some and their detectors' bits.
  template <uint32_t events>
  STEMLINE_HOST_DEVICE void add(const Lanes& lanes, const uint32_t (&bits)[events], uint32_t detector_count) {
    // Unrolled, so that the counts stay in registers; but no further, since that made a library of several times the size.
    STEMLINE_UNROLL
    for (uint32_t h = 0; h < held; ++h) {
      STEMLINE_DO_NOT_UNROLL
      for (uint32_t l = 0; l < Lanes::size && h * Lanes::size + l < detector_count; ++l) {
        uint32_t count = 0;
        STEMLINE_UNROLL
        for (uint32_t k = 0; k < events; ++k) count += lanes.count((bits[k] >> (h * Lanes::size + l) & 1) != 0);
        counts[h] += l == lanes.lane() ? count : 0;
      }
    }
  }

  STEMLINE_HOST_DEVICE void write(const Lanes& lanes, const SumsTask& task, uint32_t position) const {
    STEMLINE_UNROLL
    for (uint32_t h = 0; h < held; ++h) {
      const uint32_t detector = h * Lanes::size + lanes.lane();
      if (detector < task.detector_count && counts[h] > 0) {
        lanes.add(task.detector_counts + (uint64_t{detector} * task.position_count + position), counts[h]);
      }
    }
  }
};

// Adds a part's sums to those of its position. An event outside of the frame is seen in `largest` alone.
template <class Crop, bool analysis, class Lanes>
STEMLINE_HOST_DEVICE void sum_part(const Lanes& lanes, const SumsTask& task, const StemlineCudaFrame& part, uint32_t& largest) {
  // So many loads are under way at a time.
  constexpr uint32_t loads = 4;
  const StemlineCudaWindow window = window_of<Crop>(task, part.position);
  uint32_t row_sum = 0, kept = 0;
  uint32_t index_sum = 0;  // modulo 2^32
  DetectorCounts<Lanes> in_detectors;
  for (uint32_t first = 0; first < part.count; first += loads * Lanes::size) {
    // Of this lane, from here on; its events lie `size` apart.
    const int32_t left = static_cast<int32_t>(part.count - first) - static_cast<int32_t>(lanes.lane());
    const uint64_t at = uint64_t{part.begin} + first + lanes.lane();
    bool valid[loads];
    uint32_t event[loads];
    STEMLINE_UNROLL
    for (uint32_t k = 0; k < loads; ++k) {
      valid[k] = left > static_cast<int32_t>(k * Lanes::size);
      // Past the end, an event that adds nothing.
      event[k] = valid[k] ? task.events[at + k * Lanes::size] : 0;
    }
    STEMLINE_UNROLL
    for (uint32_t k = 0; k < loads; ++k) {
      const uint32_t row = row_of(task, event[k]);
      largest = event[k] > largest ? event[k] : largest;
      if constexpr (Crop::crops) {
        const uint32_t column = event[k] - row * task.columns;
        const bool keep = valid[k] & Crop::Shape::keeps(window, static_cast<float>(row), static_cast<float>(column));
        row_sum += keep ? row : 0;
        index_sum += keep ? event[k] : 0;
        kept += keep ? 1 : 0;
      } else {
        row_sum += row;
        index_sum += event[k];
      }
    }
    if constexpr (analysis) {
      uint32_t bits[loads];
      STEMLINE_UNROLL
      for (uint32_t k = 0; k < loads; ++k) {
        const bool inside = valid[k] && event[k] < task.pixels;
        bits[k] = inside && task.detector_count > 0 ? task.detectors[event[k]] : 0;
        if (inside) lanes.add(task.pattern + event[k], uint32_t{1});
      }
      in_detectors.add(lanes, bits, task.detector_count);
    }
  }

  const uint32_t rows = lanes.sum(row_sum);
  // Exact, since it is below 2^32.
  const uint32_t columns = lanes.sum(index_sum) - task.columns * rows;
  const uint32_t count = Crop::crops ? lanes.sum(kept) : part.count;
  uint64_t* const sums = &task.sums[part.position].row_sum;
  static_assert(sizeof(StemlineCudaSums) == 3 * sizeof *sums);
  for (uint32_t s = lanes.lane(); s < 3; s += Lanes::size) {
    const uint32_t sum = s == 0 ? rows : s == 1 ? columns : count;
    lanes.add(sums + s, uint64_t{sum});
  }
  if constexpr (analysis) {
    if (lanes.lane() == 0) lanes.add(task.event_counts + part.position, part.count);
    in_detectors.write(lanes, task, part.position);
  }
}

// The parts first, first + stride, ... Each part's description is asked for before the one before it is worked on.
template <class Crop, bool analysis, class Lanes>
STEMLINE_HOST_DEVICE void sum_parts(const Lanes& lanes, const SumsTask& task, uint32_t first, uint32_t stride) {
  if (first >= task.part_count) return;
  uint32_t largest = 0;
  StemlineCudaFrame next = task.parts[first];
  for (uint32_t p = first;; p += stride) {
    const StemlineCudaFrame part = next;
    const bool last = task.part_count - p <= stride;
    if (!last) next = task.parts[p + stride];
    sum_part<Crop, analysis>(lanes, task, part, largest);
    if (last) break;
  }
  largest = lanes.max(largest);
  if (lanes.lane() == 0) lanes.raise(task.largest, largest);
}

// Calls launch.run<Crop, analysis>() for what a batch asks.
template <class Launch>
auto with_crop(StemlineCudaCrop crop, StemlineCudaShape shape, bool analysis, const Launch& launch) {
  const bool disk = shape == STEMLINE_CUDA_DISK;
  if (crop == STEMLINE_CUDA_CROP_OWN_CENTER) {
    // The launch before, without a crop, has done the analysis.
    return disk ? launch.template run<OwnCrop<Disk>, false>() : launch.template run<OwnCrop<Box>, false>();
  }
  if (crop == STEMLINE_CUDA_CROP_FIXED) {
    if (analysis) return disk ? launch.template run<FixedCrop<Disk>, true>() : launch.template run<FixedCrop<Box>, true>();
    return disk ? launch.template run<FixedCrop<Disk>, false>() : launch.template run<FixedCrop<Box>, false>();
  }
  return analysis ? launch.template run<NoCrop, true>() : launch.template run<NoCrop, false>();
}

}  // namespace stemline::cuda
