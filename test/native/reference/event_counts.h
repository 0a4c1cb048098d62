// Events of virtual detectors and of pixels, counted one by one.
#pragma once

#include <map>

#include "center_of_mass.h"

namespace reference {

// A detector as a statement about pixels.
struct Detector {
  std::string name;
  bool is_annulus = true;
  double center_row = 0, center_column = 0, inner = 0, outer = 0;
  std::vector<bool> mask;

  bool has(const Batch& batch, Pixel pixel) const {
    if (!is_annulus) return mask[static_cast<size_t>(pixel.row * static_cast<int64_t>(batch.frame_columns) + pixel.column)];
    const double row = static_cast<double>(pixel.row) - center_row, column = static_cast<double>(pixel.column) - center_column;
    const double squared = row * row + column * column;
    return inner * inner <= squared && squared < outer * outer;
  }
};

struct EventCounts {
  std::vector<uint32_t> events;                  // of each scan position
  std::vector<std::vector<uint32_t>> detectors;  // of each detector, of each scan position
  std::vector<uint32_t> pattern;                 // of each pixel
};

// Of a batch whose frames are all valid.
inline EventCounts count_events(const Batch& batch, const std::vector<Detector>& detectors) {
  const size_t positions = static_cast<size_t>(batch.scan_rows * batch.scan_columns);
  EventCounts counts{std::vector<uint32_t>(positions), {}, std::vector<uint32_t>(static_cast<size_t>(batch.frame_rows * batch.frame_columns))};
  counts.detectors.assign(detectors.size(), std::vector<uint32_t>(positions));
  for (const Frame& frame : batch.frames) {
    const size_t position = static_cast<size_t>(frame.row * batch.scan_columns + frame.column);
    for (const double event : frame.events) {
      const int64_t index = static_cast<int64_t>(event), columns = static_cast<int64_t>(batch.frame_columns);
      ++counts.events[position];
      ++counts.pattern[static_cast<size_t>(index)];
      for (size_t d = 0; d < detectors.size(); ++d) {
        if (detectors[d].has(batch, {index / columns, index % columns})) ++counts.detectors[d][position];
      }
    }
  }
  return counts;
}

}  // namespace reference
