// Events counted one by one: for each scan position all and those of each virtual detector, and for each pixel.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "backend.h"
#include "buffer_pool.h"
#include "status.h"
#include "virtual_detectors.h"

namespace stemline {

struct BatchHeader;
struct BatchWork;
struct BatchWorkResult;

// Counts of one batch, exact: a batch has less than 2^32 bytes of events.
class EventCounts {
 public:
  // `detectors` and `pool` have to outlive the counts.
  EventCounts(VirtualDetectors& detectors, BufferPool& pool) : detectors_(detectors), pool_(pool) {}

  // Begins anew, for a batch of these frames. Throws std::bad_alloc, as the other calls do.
  Status begin(const BatchHeader& header, size_t position_count);

  // Adds frames; `positions` has the index of each one's position. Every event is below the frame's number of pixels.
  void add(const uint8_t* events, const EventRange* frames, const uint32_t* positions, size_t frame_count);

  // Has an accelerator fill in the arrays below, instead of `add`; if that fails, `add` is called all the same.
  void have_computed(BatchWork& work, BatchWorkResult& result);

  // Brings the counts into the arrays below.
  void finish();

  size_t position_count() const { return position_count_; }
  // Events of each position.
  std::span<const uint32_t> events() const { return events_.as<uint32_t>(position_count_); }
  // Events of a detector, of each position.
  std::span<const uint32_t> detector(size_t d) const {
    return {detector_events_.as<uint32_t>(detectors_.size() * position_count_).data() + d * position_count_, position_count_};
  }
  // Events of each pixel, row-major.
  std::span<const uint32_t> pattern() const { return pattern_.as<uint32_t>(masks_->bits.size()); }

 private:
  template <class Cell, uint32_t groups>
  void add_frames(const uint8_t* events, const EventRange* frames, const uint32_t* positions, size_t frame_count);

  void begin_adding();

  // Detectors are counted in groups of eight, a byte for each in one word.
  size_t groups() const { return (detectors_.size() + 7) / 8; }

  VirtualDetectors& detectors_;
  BufferPool& pool_;
  std::shared_ptr<const DetectorMasks> masks_;
  size_t position_count_ = 0;
  uint64_t event_count_ = 0;
  bool computed_elsewhere_ = false;
  bool adding_ = false;
  bool narrow_cells_ = false;
  // For each pixel its events and its detectors' bits in one number, so that an event touches one cache line.
  PooledBuffer cells_;
  // For each position 8 * groups() numbers.
  PooledBuffer position_counts_;
  PooledBuffer events_;
  PooledBuffer detector_events_;
  PooledBuffer pattern_;
};

}  // namespace stemline
