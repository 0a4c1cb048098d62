#include "event_counts.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "accelerator.h"
#include "batch_header.h"

namespace stemline {

namespace {

// A cell has the detectors' bits above the count. The narrow one serves up to eight detectors and batches whose events fit its
// count, which nearly all do; it needs half of the cache.
template <class Cell>
constexpr unsigned count_width = sizeof(Cell) == 4 ? 24 : 32;

// For each eight bits a word with a byte of 0 or 1 for each of them.
constexpr std::array<uint64_t, 256> spread_bits = [] {
  std::array<uint64_t, 256> words{};
  for (unsigned bits = 0; bits < 256; ++bits) {
    for (unsigned d = 0; d < 8; ++d) words[bits] |= uint64_t{bits >> d & 1} << 8 * d;
  }
  return words;
}();

}  // namespace

Status EventCounts::begin(const BatchHeader& header, size_t position_count) {
  if (Status status = detectors_.masks(header.frame_rows, header.frame_columns, masks_); !status.ok()) return status;
  position_count_ = position_count;
  event_count_ = header.batch_size_bytes / header.event_size();
  adding_ = false;
  computed_elsewhere_ = false;
  pattern_ = pool_.take_array<uint32_t>(masks_->bits.size());
  events_ = pool_.take_array<uint32_t>(position_count);
  detector_events_ = pool_.take_array<uint32_t>(detectors_.size() * position_count);
  return {};
}

void EventCounts::have_computed(BatchWork& work, BatchWorkResult& result) {
  work.masks = masks_.get();
  work.detector_count = static_cast<uint32_t>(detectors_.size());
  result.pattern = pattern_.as<uint32_t>(masks_->bits.size()).data();
  result.events = events_.as<uint32_t>(position_count_).data();
  result.detectors = detector_events_.as<uint32_t>(detectors_.size() * position_count_).data();
  computed_elsewhere_ = true;
}

void EventCounts::begin_adding() {
  adding_ = true;
  const std::vector<uint32_t>& bits = masks_->bits;
  narrow_cells_ = detectors_.size() <= 8 && event_count_ < uint64_t{1} << count_width<uint32_t>;
  const auto fill = [&]<class Cell>(Cell) {
    cells_ = pool_.take_array<Cell>(bits.size());
    Cell* const cells = cells_.as<Cell>(bits.size()).data();
    for (size_t pixel = 0; pixel < bits.size(); ++pixel) cells[pixel] = Cell{bits[pixel]} << count_width<Cell>;
  };
  if (narrow_cells_) {
    fill(uint32_t{});
  } else {
    fill(uint64_t{});
  }
  position_counts_ = pool_.take_array<uint32_t>(position_count_ * 8 * groups());
  std::memset(position_counts_.data(), 0, position_counts_.size());
  std::memset(events_.data(), 0, events_.size());
}

template <class Cell, uint32_t groups>
void EventCounts::add_frames(const uint8_t* events, const EventRange* frames, const uint32_t* positions, size_t frame_count) {
  Cell* const cells = cells_.as<Cell>(masks_->bits.size()).data();
  uint32_t* const all_counts = position_counts_.as<uint32_t>(position_count_ * 8 * groups).data();
  uint32_t* const all_events = events_.as<uint32_t>(position_count_).data();
  for (size_t f = 0; f < frame_count; ++f) {
    const uint8_t* at = events + 4 * frames[f].begin;
    all_events[positions[f]] += frames[f].count;
    // A byte counts to 255.
    for (uint32_t left = frames[f].count; left > 0;) {
      const uint32_t part = std::min(left, uint32_t{255});
      left -= part;
      uint64_t packed[groups == 0 ? 1 : groups] = {};
      for (uint32_t i = 0; i < part; ++i, at += 4) {
        uint32_t event;
        std::memcpy(&event, at, sizeof event);
        const Cell cell = cells[event];
        cells[event] = cell + 1;
        for (uint32_t g = 0; g < groups; ++g) packed[g] += spread_bits[static_cast<uint8_t>(cell >> (count_width<Cell> + 8 * g))];
      }
      uint32_t* const counts = all_counts + size_t{positions[f]} * 8 * groups;
      for (uint32_t g = 0; g < groups; ++g) {
        for (unsigned d = 0; d < 8; ++d) counts[8 * g + d] += static_cast<uint8_t>(packed[g] >> 8 * d);
      }
    }
  }
}

void EventCounts::add(const uint8_t* events, const EventRange* frames, const uint32_t* positions, size_t frame_count) {
  constexpr auto by_groups = [](auto cell) {
    using Cell = decltype(cell);
    return std::array{&EventCounts::add_frames<Cell, 0>, &EventCounts::add_frames<Cell, 1>, &EventCounts::add_frames<Cell, 2>,
                      &EventCounts::add_frames<Cell, 3>, &EventCounts::add_frames<Cell, 4>};
  };
  static constexpr std::array wide = by_groups(uint64_t{});
  static constexpr std::array narrow{&EventCounts::add_frames<uint32_t, 0>, &EventCounts::add_frames<uint32_t, 1>};
  if (!adding_) begin_adding();
  const auto member = narrow_cells_ ? narrow[groups()] : wide[groups()];
  (this->*member)(events, frames, positions, frame_count);
}

void EventCounts::finish() {
  if (computed_elsewhere_ && !adding_) return;
  if (!adding_) begin_adding();
  const size_t pixels = masks_->bits.size();
  uint32_t* const pattern = pattern_.as<uint32_t>(pixels).data();
  const auto take_counts = [&](auto cell) {
    using Cell = decltype(cell);
    const Cell* const cells = cells_.as<Cell>(pixels).data();
    constexpr Cell mask = (Cell{1} << count_width<Cell>)-1;
    for (size_t pixel = 0; pixel < pixels; ++pixel) pattern[pixel] = static_cast<uint32_t>(cells[pixel] & mask);
  };
  if (narrow_cells_) {
    take_counts(uint32_t{});
  } else {
    take_counts(uint64_t{});
  }
  uint32_t* out = detector_events_.as<uint32_t>(detectors_.size() * position_count_).data();
  const size_t stride = 8 * groups();
  for (size_t d = 0; d < detectors_.size(); ++d) {
    const uint32_t* const counts = position_counts_.as<uint32_t>(position_count_ * stride).data() + d;
    for (size_t position = 0; position < position_count_; ++position) *out++ = counts[position * stride];
  }
}

}  // namespace stemline
