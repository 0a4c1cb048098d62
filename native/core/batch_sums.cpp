#include "batch_sums.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "event_counts.h"

namespace stemline {

namespace {

// Frames are summed in blocks whose sums stay in cache, and between which a cancelled call stops.
constexpr size_t block_frames = 512;

// The same where a block's events are read twice and should still be in the cache the second time.
constexpr size_t own_center_block_frames = 128;

// Largest s with sqrt(s) <= radius in float32: with it, a disk test needs no square root a pixel. Square root rounds
// monotonically, so there is one border; radius^2 is within a few steps of it.
float disk_limit(float radius) {
  if (!(radius >= 0.0f)) return -1.0f;
  if (std::isinf(radius)) return radius;
  float limit = radius * radius;
  if (!std::isfinite(limit)) limit = std::numeric_limits<float>::max();
  while (std::sqrt(limit) > radius) limit = std::nextafter(limit, -1.0f);
  for (;;) {
    const float next = std::nextafter(limit, std::numeric_limits<float>::infinity());
    if (!std::isfinite(next) || std::sqrt(next) > radius) return limit;
    limit = next;
  }
}

// Window around a fixed centre. The bounds of a box are formed in float64 and rounded, as the peer's are.
CropWindow fixed_window(const BatchOptions& options, float limit) {
  const BatchOptions::Pair center = *options.init_center;
  const BatchOptions::Pair crop = *options.crop_to;
  return {static_cast<float>(center.x - crop.x), static_cast<float>(center.x + crop.x),
          static_cast<float>(center.y - crop.y), static_cast<float>(center.y + crop.y),
          static_cast<float>(center.x),          static_cast<float>(center.y),
          limit};
}

void add(const CroppedSums& frame, PositionSums& position) {
  position.row_sum += frame.row_sum;
  position.column_sum += frame.column_sum;
  position.count += frame.count;
}

Status cancelled_status() { return Status::error(StatusCode::cancelled, "The operation was aborted"); }

}  // namespace

Status BatchSums::compute(std::span<const uint8_t> meta, EventCounts* counts) {
  if (Status status = check_options(); !status.ok()) return status;
  if (Status status = decode_batch_header(HeaderFormat::msgpack, meta, pool_, header_); !status.ok()) return status;
  if (Status status = check_data_size(header_, data_.size()); !status.ok()) return status;
  frames_in_message_ = header_.frame_count;
  if (options_.drop_invalid_frames) {
    drop_frames([this](const FrameRecord& frame) { return !header_.in_scan(frame); },
                [this](size_t i) { return outside_scan_text(header_, i); });
  } else if (Status status = check_positions(header_); !status.ok()) {
    return status;
  }
  return sum(counts);
}

Status BatchSums::compute(BatchHeader header, EventCounts* counts) {
  if (Status status = check_options(); !status.ok()) return status;
  header_ = std::move(header);
  frames_in_message_ = header_.frame_count;
  return sum(counts);
}

BatchFigures BatchSums::figures() const {
  return {frames_in_message_, header_.batch_size_bytes / header_.event_size(), dropped_frames_, dropped_reason_, computed_by_};
}

Status BatchSums::check_options() const {
  const auto finite = [](const std::optional<BatchOptions::Pair>& pair) {
    return !pair || (std::isfinite(pair->x) && std::isfinite(pair->y));
  };
  if (!finite(options_.crop_to)) return Status::error(StatusCode::invalid_argument, "cropTo: expected two finite numbers");
  if (!finite(options_.init_center)) return Status::error(StatusCode::invalid_argument, "initCenter: expected two finite numbers");
  return {};
}

// Removes the frames for which `invalid` holds from the header. Their events stay in the data, unused.
template <class Invalid, class Reason>
void BatchSums::drop_frames(Invalid invalid, Reason reason) {
  const std::span<FrameRecord> frames = header_.frames();
  size_t kept = 0;
  for (size_t i = 0; i < frames.size(); ++i) {
    if (!invalid(frames[i])) {
      frames[kept++] = frames[i];
      continue;
    }
    if (dropped_frames_++ == 0) dropped_reason_ = reason(i);
    header_.batch_size_bytes -= frames[i].size;
  }
  header_.frame_count = kept;
}

Status BatchSums::sum(EventCounts* counts) {
  events_ = events_as_uint32(header_.dtype, data_, pool_);
  computed_by_ = options_.backend->name;
  const Crop crop = make_crop();
  for (;;) {
    if (header_.frame_count == 0) return counts == nullptr ? Status{} : counts->begin(header_, 0);
    prepare_positions();
    if (counts != nullptr) {
      if (Status status = counts->begin(header_, position_count_); !status.ok()) return status;
    }
    uint32_t largest = 0;
    if (accelerate(counts, crop, largest)) {
      computed_by_ = options_.accelerator->name();
    } else if (Status status = sum_all(counts, crop, largest); !status.ok()) {
      return status;
    }
    if (largest < header_.frame_pixels()) return {};
    if (Status status = refuse_or_drop_events(); !status.ok()) return status;
  }
}

// Which events a frame's header gives it, and where its position's sums are.
void BatchSums::prepare_positions() {
  const std::span<const FrameRecord> frames = header_.frames();
  uint32_t lowest = UINT32_MAX, highest = 0;
  for (const FrameRecord& frame : frames) {
    const uint32_t position = header_.position(frame);
    lowest = std::min(lowest, position);
    highest = std::max(highest, position);
  }
  lowest_position_ = lowest;
  position_count_ = size_t{highest} - lowest + 1;
  sums_ = pool_.take_array<PositionSums>(position_count_);
  std::memset(sums_.data(), 0, position_count_ * sizeof(PositionSums));
  ranges_ = pool_.take_array<EventRange>(frames.size());
  const std::span<EventRange> ranges = ranges_.as<EventRange>(frames.size());
  const size_t event_size = header_.event_size();
  const unsigned shift = event_size == 8 ? 3 : event_size == 4 ? 2 : event_size == 2 ? 1 : 0;
  for (size_t i = 0; i < frames.size(); ++i) ranges[i] = {frames[i].offset >> shift, frames[i].size >> shift};
}

Crop BatchSums::make_crop() const {
  Crop crop;
  if (!options_.crop_to) return crop;
  const BatchOptions::Pair half = *options_.crop_to;
  crop.shape = options_.crop_shape;
  crop.half_rows = static_cast<float>(half.x);
  crop.half_columns = static_cast<float>(half.y);
  crop.limit = disk_limit(static_cast<float>(std::max(half.x, half.y)));
  crop.kind = options_.init_center ? Crop::Kind::fixed : Crop::Kind::own_center;
  if (options_.init_center) crop.window = fixed_window(options_, crop.limit);
  return crop;
}

// Has the sums and counts computed by the accelerator; false if the CPU has to.
bool BatchSums::accelerate(EventCounts* counts, const Crop& crop, uint32_t& largest) {
  const BatchOperation operation = counts != nullptr                        ? BatchOperation::analysis
                                   : crop.kind == Crop::Kind::fixed        ? BatchOperation::fixed_crop
                                   : crop.kind == Crop::Kind::own_center   ? BatchOperation::own_center_crop
                                                                           : BatchOperation::no_crop;
  const uint64_t event_count = data_.size() / header_.event_size();
  if (options_.accelerator == nullptr || event_count > UINT32_MAX) return false;
  if (!options_.accelerate_always && !options_.accelerator->takes(operation, event_count)) return false;

  const std::span<const FrameRecord> records = header_.frames();
  PooledBuffer storage = pool_.take_array<FrameEvents>(records.size());
  const std::span<FrameEvents> frames = storage.as<FrameEvents>(records.size());
  const EventRange* const ranges = event_ranges();
  for (size_t i = 0; i < records.size(); ++i) {
    frames[i] = {static_cast<uint32_t>(ranges[i].begin), ranges[i].count, static_cast<uint32_t>(sums_index(records[i]))};
  }
  BatchWork work{events_.bytes, event_count, frames, static_cast<uint32_t>(position_count_), header_.frame_rows, header_.frame_columns,
                 crop, nullptr, 0};
  BatchWorkResult result{all_sums().data()};
  if (counts != nullptr) counts->have_computed(work, result);
  if (!options_.accelerator->compute(work, result)) {
    // Whatever it has left there.
    std::memset(sums_.data(), 0, position_count_ * sizeof(PositionSums));
    return false;
  }
  largest = result.largest;
  return true;
}

Status BatchSums::sum_all(EventCounts* counts, const Crop& crop, uint32_t& largest) {
  switch (crop.kind) {
    case Crop::Kind::none: return sum_plain(counts, largest);
    case Crop::Kind::fixed: return sum_cropped(crop, counts, largest);
    case Crop::Kind::own_center: return sum_around_own_centers(crop, counts, largest);
  }
  return {};
}

Status BatchSums::sum_plain(EventCounts* counts, uint32_t& largest) {
  const size_t frames = header_.frame_count;
  for (size_t first = 0; first < frames; first += block_frames) {
    if (cancelled()) return cancelled_status();
    add_plain(first, std::min(block_frames, frames - first), counts, largest);
  }
  return {};
}

// Adds frames [first, first + count) to their positions' sums.
void BatchSums::add_plain(size_t first, size_t count, EventCounts* counts, uint32_t& largest) {
  FrameSums block[block_frames];
  const std::span<const FrameRecord> frames = header_.frames();
  const EventRange* ranges = event_ranges() + first;
  largest = std::max(largest, options_.backend->sum_frames(events_.bytes, ranges, count, header_.frame_columns, header_.frame_pixels(), block));
  for (size_t i = 0; i < count; ++i) {
    PositionSums& position = sums_of(frames[first + i]);
    position.row_sum += block[i].row_sum;
    position.column_sum += block[i].index_sum - header_.frame_columns * block[i].row_sum;
    position.count += ranges[i].count;
  }
  count_events(first, count, counts, largest);
}

Status BatchSums::sum_cropped(const Crop& crop, EventCounts* counts, uint32_t& largest) {
  CroppedSums block[block_frames];
  const std::span<const FrameRecord> frames = header_.frames();
  for (size_t first = 0; first < frames.size(); first += block_frames) {
    if (cancelled()) return cancelled_status();
    const size_t count = std::min(block_frames, frames.size() - first);
    largest = std::max(largest, options_.backend->sum_in_window(events_.bytes, event_ranges() + first, count, header_.frame_columns,
                                                       header_.frame_pixels(), crop.shape, crop.window, block));
    for (size_t i = 0; i < count; ++i) add(block[i], sums_of(frames[first + i]));
    count_events(first, count, counts, largest);
  }
  return {};
}

// A position's window is known once all its frames are summed. Frames of the positions that a block completes are
// cropped at once, while their events are in the cache; those whose position goes on in another block, at the end.
Status BatchSums::sum_around_own_centers(const Crop& crop, EventCounts* counts, uint32_t& largest) {
  const std::span<const FrameRecord> frames = header_.frames();
  PooledBuffer cropped_storage = pool_.take_array<PositionSums>(position_count_);
  const std::span<PositionSums> cropped = cropped_storage.as<PositionSums>(position_count_);
  PooledBuffer left_storage = pool_.take_array<uint32_t>(position_count_);
  const std::span<uint32_t> frames_left = left_storage.as<uint32_t>(position_count_);
  PooledBuffer late_storage = pool_.take_array<uint32_t>(frames.size());
  const std::span<uint32_t> late = late_storage.as<uint32_t>(frames.size());
  size_t late_count = 0;
  std::fill(cropped.begin(), cropped.end(), PositionSums{});
  std::fill(frames_left.begin(), frames_left.end(), 0u);
  for (const FrameRecord& frame : frames) ++frames_left[sums_index(frame)];

  // Crops the frames next in line and makes the line empty.
  EventRange ranges[own_center_block_frames];
  CropWindow windows[own_center_block_frames];
  size_t positions[own_center_block_frames];
  CroppedSums block[own_center_block_frames];
  size_t queued = 0;
  const auto crop_queued = [&] {
    if (queued == 0) return;
    options_.backend->sum_in_windows(events_.bytes, ranges, queued, header_.frame_columns, header_.frame_pixels(), crop.shape,
                            windows, block);
    for (size_t i = 0; i < queued; ++i) add(block[i], cropped[positions[i]]);
    queued = 0;
  };
  const auto queue = [&](size_t i) {
    const size_t position = sums_index(frames[i]);
    ranges[queued] = event_ranges()[i];
    windows[queued] = window_around_own(all_sums()[position], crop.half_rows, crop.half_columns, crop.limit);
    positions[queued] = position;
    if (++queued == own_center_block_frames) crop_queued();
  };

  for (size_t first = 0; first < frames.size(); first += own_center_block_frames) {
    if (cancelled()) return cancelled_status();
    const size_t count = std::min(own_center_block_frames, frames.size() - first);
    add_plain(first, count, counts, largest);
    for (size_t i = first; i < first + count; ++i) --frames_left[sums_index(frames[i])];
    for (size_t i = first; i < first + count; ++i) {
      if (frames_left[sums_index(frames[i])] == 0) {
        queue(i);
      } else {
        late[late_count++] = static_cast<uint32_t>(i);
      }
    }
    crop_queued();
  }
  for (size_t i = 0; i < late_count; ++i) {
    if (queued == 0 && cancelled()) return cancelled_status();
    queue(late[i]);
  }
  crop_queued();
  sums_ = std::move(cropped_storage);
  return {};
}

// Counts the events of frames [first, first + count), which have just been summed. If one lies outside the detector, nothing
// that was computed is used.
void BatchSums::count_events(size_t first, size_t count, EventCounts* counts, uint32_t largest) const {
  if (counts == nullptr || largest >= header_.frame_pixels()) return;
  uint32_t positions[block_frames];
  const std::span<const FrameRecord> frames = header_.frames();
  for (size_t i = 0; i < count; ++i) positions[i] = static_cast<uint32_t>(sums_index(frames[first + i]));
  counts->add(events_.bytes, event_ranges() + first, positions, count);
}

// Called when some event lies outside the detector: looks for it frame by frame.
Status BatchSums::refuse_or_drop_events() {
  const uint64_t pixels = header_.frame_pixels();
  const auto first_outside = [&](const FrameRecord& frame) -> std::optional<uint64_t> {
    const uint64_t begin = frame.offset / header_.event_size();
    const uint64_t end = begin + frame.size / header_.event_size();
    for (uint64_t i = begin; i < end; ++i) {
      uint32_t event;
      std::memcpy(&event, events_.bytes + 4 * i, sizeof event);
      if (event >= pixels) return i;
    }
    return std::nullopt;
  };
  const auto text = [&](size_t i) {
    const FrameRecord& frame = header_.frames()[i];
    const uint64_t begin = frame.offset / header_.event_size();
    // A caller who writes to the message meanwhile may have taken the event away again.
    const uint64_t at = first_outside(frame).value_or(begin);
    return "frame " + std::to_string(i) + ": event " + std::to_string(at - begin) + " is " +
           event_text(header_.dtype, data_, at) + ", expected a whole number below " + std::to_string(pixels) + " (" +
           std::to_string(header_.frame_rows) + " x " + std::to_string(header_.frame_columns) + " pixels)";
  };
  if (options_.drop_invalid_frames) {
    const size_t before = header_.frame_count;
    drop_frames([&](const FrameRecord& frame) { return first_outside(frame).has_value(); }, text);
    if (header_.frame_count < before) return {};
  }
  for (size_t i = 0; i < header_.frame_count; ++i) {
    if (first_outside(header_.frames()[i])) return Status::error(StatusCode::event_index, text(i));
  }
  return Status::error(StatusCode::event_index, "an event lies outside the detector");
}

}  // namespace stemline
