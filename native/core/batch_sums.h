// Sums over the events of each scan position of a BatchedFrames message: what all kernels that take a batch begin with.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>

#include "accelerator.h"
#include "backend.h"
#include "batch_header.h"
#include "buffer_pool.h"
#include "events.h"
#include "status.h"

namespace stemline {

class EventCounts;

// Which events count, and what happens to invalid frames.
struct BatchOptions {
  struct Pair {
    double x = 0;  // along rows: the peer's x is the row
    double y = 0;  // along columns
  };
  std::optional<Pair> crop_to;      // half sizes of a box; the larger one is the radius of a disk; pixels
  std::optional<Pair> init_center;  // pixels; without it a crop is centred on each position's own centre of mass
  CropShape crop_shape = CropShape::box;
  // Leave out frames that lie outside the scan or hold events outside the detector, instead of refusing the message.
  bool drop_invalid_frames = false;
  const Backend* backend = &scalar_backend;
  // Asked first for what it takes; may be null.
  Accelerator* accelerator = nullptr;
  bool accelerate_always = false;  // also what it would not take
  // Looked at between blocks of frames; may be null.
  const std::atomic<bool>* cancelled = nullptr;
};

// What went into a result.
struct BatchFigures {
  uint64_t frames = 0;  // in the message
  uint64_t events = 0;  // of the frames that were used
  uint64_t dropped_frames = 0;
  std::string dropped_reason;  // of the first dropped frame
  const char* computed_by = "";  // name of the backend or the accelerator
};

// Sums of one scan position over the whole message.
using PositionSums = CroppedSums;

// Only the positions between the lowest and the highest of the message have sums, since a message holds a small part of a
// large scan. Sums are exact.
class BatchSums {
 public:
  // `data`, `options` and `pool` have to outlive the sums.
  BatchSums(std::span<const uint8_t> data, const BatchOptions& options, BufferPool& pool) : data_(data), options_(options), pool_(pool) {}

  // Reads the message and sums it; every event is counted in `counts` too, unless that is null. Throws std::bad_alloc only.
  Status compute(std::span<const uint8_t> meta, EventCounts* counts);

  // The same for a message whose header was read and checked.
  Status compute(BatchHeader header, EventCounts* counts);

  // Of the frames that were used. If there is none, there is no position either.
  const BatchHeader& header() const { return header_; }
  uint32_t lowest_position() const { return lowest_position_; }
  size_t position_count() const { return header_.frame_count == 0 ? 0 : position_count_; }
  std::span<const PositionSums> sums() const { return sums_.as<PositionSums>(position_count()); }
  BatchFigures figures() const;

 private:
  Status check_options() const;
  bool cancelled() const { return options_.cancelled != nullptr && options_.cancelled->load(std::memory_order_relaxed); }
  template <class Invalid, class Reason>
  void drop_frames(Invalid invalid, Reason reason);
  Status sum(EventCounts* counts);
  void prepare_positions();
  Crop make_crop() const;
  bool accelerate(EventCounts* counts, const Crop& crop, uint32_t& largest);
  Status sum_all(EventCounts* counts, const Crop& crop, uint32_t& largest);
  Status sum_plain(EventCounts* counts, uint32_t& largest);
  void add_plain(size_t first, size_t count, EventCounts* counts, uint32_t& largest);
  Status sum_cropped(const Crop& crop, EventCounts* counts, uint32_t& largest);
  Status sum_around_own_centers(const Crop& crop, EventCounts* counts, uint32_t& largest);
  void count_events(size_t first, size_t count, EventCounts* counts, uint32_t largest) const;
  Status refuse_or_drop_events();

  std::span<PositionSums> all_sums() const { return sums_.as<PositionSums>(position_count_); }
  size_t sums_index(const FrameRecord& frame) const { return header_.position(frame) - lowest_position_; }
  PositionSums& sums_of(const FrameRecord& frame) const { return all_sums()[sums_index(frame)]; }
  const EventRange* event_ranges() const { return ranges_.as<EventRange>(header_.frame_count).data(); }

  std::span<const uint8_t> data_;
  const BatchOptions& options_;
  BufferPool& pool_;
  BatchHeader header_;
  size_t frames_in_message_ = 0;
  uint64_t dropped_frames_ = 0;
  std::string dropped_reason_;
  const char* computed_by_ = "";
  EventBytes events_;
  PooledBuffer ranges_;
  PooledBuffer sums_;
  uint32_t lowest_position_ = 0;
  size_t position_count_ = 0;
};

// The mean of whole numbers as results have it: divided in float64, rounded to float32; NaN without any.
inline float mean_of(uint64_t sum, uint64_t count) {
  return count == 0 ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(static_cast<double>(sum) / static_cast<double>(count));
}

}  // namespace stemline
