// Centre of mass of a batch by its definition in the design: / and %, sums in wide integers, a square root for the
// disk. Every float32 operation is a float64 one rounded: with 53 bits against 24 that gives the same number, and no
// compiler can fuse it.
#pragma once

#include <cmath>
#include <limits>
#include <map>

#include "batch.h"

namespace reference {

struct Crop {
  double x = 0;  // along rows
  double y = 0;  // along columns
};

struct ComOptions {
  std::optional<Crop> crop_to;
  std::optional<Crop> init_center;
  bool disk = false;
  bool replace_nans = false;
};

struct Pixel {
  int64_t row = 0;
  int64_t column = 0;
};

struct ComArrays {
  std::vector<float> com;  // mean columns, then mean rows
  std::vector<uint32_t> count;
};

inline float round_f32(double value) { return static_cast<float>(value); }

// True if the crop keeps a pixel.
inline bool box_keeps(const Pixel& pixel, float low_row, float high_row, float low_column, float high_column) {
  const double row = round_f32(static_cast<double>(pixel.row)), column = round_f32(static_cast<double>(pixel.column));
  return row > low_row && row <= high_row && column > low_column && column <= high_column;
}

inline float squared_distance(const Pixel& pixel, float center_row, float center_column) {
  const double down = round_f32(static_cast<double>(pixel.row) - center_row);
  const double across = round_f32(static_cast<double>(pixel.column) - center_column);
  const double down2 = round_f32(down * down), across2 = round_f32(across * across);
  return round_f32(down2 + across2);
}

inline bool disk_keeps(const Pixel& pixel, float center_row, float center_column, float radius) {
  return round_f32(std::sqrt(static_cast<double>(squared_distance(pixel, center_row, center_column)))) <= radius;
}

// numpy's pairwise float32 sum: in blocks of at most 128 values eight running sums, added as a balanced tree, then what
// is left over one by one; longer rows are split in two at a multiple of eight.
inline float pairwise_sum(const std::vector<float>& values) {
  const auto plus = [](float a, float b) { return round_f32(static_cast<double>(a) + static_cast<double>(b)); };
  const size_t count = values.size();
  if (count > 128) {
    const size_t half = count / 2 / 8 * 8;
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(half);
    return plus(pairwise_sum({values.begin(), middle}), pairwise_sum({middle, values.end()}));
  }
  std::vector<float> tree;
  const size_t whole = count / 8 * 8;
  for (size_t lane = 0; whole > 0 && lane < 8; ++lane) {
    float sum = values[lane];
    for (size_t i = lane + 8; i < whole; i += 8) sum = plus(sum, values[i]);
    tree.push_back(sum);
  }
  while (tree.size() > 1) {
    std::vector<float> pairs;
    for (size_t i = 0; i < tree.size(); i += 2) pairs.push_back(plus(tree[i], tree[i + 1]));
    tree = pairs;
  }
  float sum = tree.empty() ? 0.0f : tree[0];
  for (size_t i = whole; i < count; ++i) sum = plus(sum, values[i]);
  return sum;
}

// NaN becomes the mean of the rest. Without a rest that is 0 / 0, which the recorded arrays of the peer hold with its
// sign set.
inline std::vector<float> without_nans(std::vector<float> plane) {
  std::vector<float> zeros = plane;
  double finite = 0;
  for (float& value : zeros) {
    if (value != value) {
      value = 0.0f;
    } else {
      finite += 1;
    }
  }
  if (finite == 0) {
    const uint32_t zero_by_zero = 0xffc00000;
    for (float& value : plane) std::memcpy(&value, &zero_by_zero, sizeof value);
    return plane;
  }
  const float mean = round_f32(static_cast<double>(pairwise_sum(zeros)) / finite);
  for (float& value : plane) {
    if (value != value) value = mean;
  }
  return plane;
}

inline bool outside_scan(const Batch& batch, const Frame& frame) {
  return frame.row < 0 || frame.row >= batch.scan_rows || frame.column < 0 || frame.column >= batch.scan_columns;
}

// Index of the first event that is no pixel of the frame.
inline std::optional<size_t> bad_event(const Batch& batch, const Frame& frame) {
  const double pixels = static_cast<double>(batch.frame_rows * batch.frame_columns);
  for (size_t i = 0; i < frame.events.size(); ++i) {
    const double event = frame.events[i];
    if (!(event >= 0 && event < pixels && event == std::floor(event))) return i;
  }
  return std::nullopt;
}

// The arrays of a batch whose frames are all valid.
inline ComArrays center_of_mass(const Batch& batch, const ComOptions& options) {
  std::map<int64_t, std::vector<Pixel>> positions;
  for (const Frame& frame : batch.frames) {
    std::vector<Pixel>& pixels = positions[static_cast<int64_t>(frame.row * batch.scan_columns + frame.column)];
    for (const double event : frame.events) {
      const int64_t index = static_cast<int64_t>(event), columns = static_cast<int64_t>(batch.frame_columns);
      pixels.push_back({index / columns, index % columns});
    }
  }
  const size_t count = static_cast<size_t>(batch.scan_rows * batch.scan_columns);
  ComArrays arrays{std::vector<float>(2 * count, std::numeric_limits<float>::quiet_NaN()),
                   std::vector<uint32_t>(count, 0)};
  const auto means = [](const std::vector<Pixel>& pixels) {
    int64_t rows = 0, columns = 0;
    for (const Pixel& pixel : pixels) {
      rows += pixel.row;
      columns += pixel.column;
    }
    const double events = static_cast<double>(pixels.size());
    return std::pair{round_f32(static_cast<double>(rows) / events), round_f32(static_cast<double>(columns) / events)};
  };
  for (const auto& [position, all] : positions) {
    if (all.empty()) continue;
    std::vector<Pixel> kept = all;
    if (options.crop_to) {
      const Crop crop = *options.crop_to;
      float center_row, center_column, low_row, high_row, low_column, high_column;
      if (options.init_center) {
        center_row = round_f32(options.init_center->x);
        center_column = round_f32(options.init_center->y);
        low_row = round_f32(options.init_center->x - crop.x);
        high_row = round_f32(options.init_center->x + crop.x);
        low_column = round_f32(options.init_center->y - crop.y);
        high_column = round_f32(options.init_center->y + crop.y);
      } else {
        std::tie(center_row, center_column) = means(all);
        const double crop_x = round_f32(crop.x), crop_y = round_f32(crop.y);
        low_row = round_f32(center_row - crop_x);
        high_row = round_f32(center_row + crop_x);
        low_column = round_f32(center_column - crop_y);
        high_column = round_f32(center_column + crop_y);
      }
      const float radius = round_f32(crop.x > crop.y ? crop.x : crop.y);
      kept.clear();
      for (const Pixel& pixel : all) {
        const bool keep = options.disk ? disk_keeps(pixel, center_row, center_column, radius)
                                       : box_keeps(pixel, low_row, high_row, low_column, high_column);
        if (keep) kept.push_back(pixel);
      }
    }
    if (kept.empty()) continue;
    const auto [row, column] = means(kept);
    const size_t at = static_cast<size_t>(position);
    arrays.com[at] = column;
    arrays.com[count + at] = row;
    arrays.count[at] = static_cast<uint32_t>(kept.size());
  }
  // The peer returns before this step if the batch has no events.
  bool any_event = false;
  for (const Frame& frame : batch.frames) any_event |= !frame.events.empty();
  if (options.replace_nans && any_event) {
    const auto middle = arrays.com.begin() + static_cast<std::ptrdiff_t>(count);
    const std::vector<float> columns = without_nans({arrays.com.begin(), middle});
    const std::vector<float> rows = without_nans({middle, arrays.com.end()});
    arrays.com = columns;
    arrays.com.insert(arrays.com.end(), rows.begin(), rows.end());
  }
  return arrays;
}

}  // namespace reference
