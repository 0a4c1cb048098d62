#include "center_of_mass_partial.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "batch_header.h"
#include "com_positions.h"
#include "events.h"
#include "nan_mean.h"
#include "npz.h"

namespace stemline {

namespace {

constexpr float nan_f32 = std::numeric_limits<float>::quiet_NaN();

// Frames are summed in blocks whose sums stay in cache, and between which a cancelled call stops.
constexpr size_t block_frames = 512;

// The same where a block's events are read twice and should still be in the cache the second time.
constexpr size_t own_center_block_frames = 128;

// Sums of one scan position over the whole message.
using PositionSums = CroppedSums;

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
CropWindow fixed_window(const ComPartialOptions& options, float limit) {
  const ComPartialOptions::Pair center = *options.init_center;
  const ComPartialOptions::Pair crop = *options.crop_to;
  return {static_cast<float>(center.x - crop.x), static_cast<float>(center.x + crop.x),
          static_cast<float>(center.y - crop.y), static_cast<float>(center.y + crop.y),
          static_cast<float>(center.x),          static_cast<float>(center.y),
          limit};
}

class Partial {
 public:
  Partial(std::span<const uint8_t> data, const ComPartialOptions& options, BufferPool& pool, ComPartialResult& result)
      : data_(data), options_(options), backend_(*options.backend), pool_(pool), result_(result) {}

  Status run(std::span<const uint8_t> meta) {
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
    events_ = events_as_uint32(header_.dtype, data_, pool_);
    if (Status status = sum(); !status.ok()) return status;
    if (options_.form == ComPartialForm::positions) {
      write_positions();
    } else {
      write_scan();
    }
    result_.frames = frames_in_message_;
    result_.events = header_.batch_size_bytes / header_.event_size();
    return {};
  }

 private:
  Status check_options() const {
    if (options_.replace_nans && options_.form == ComPartialForm::positions) {
      return Status::error(StatusCode::invalid_argument, "replaceNaNs: expected false with the positions of the batch alone, got true");
    }
    const auto finite = [](const std::optional<ComPartialOptions::Pair>& pair) {
      return !pair || (std::isfinite(pair->x) && std::isfinite(pair->y));
    };
    if (!finite(options_.crop_to)) return Status::error(StatusCode::invalid_argument, "cropTo: expected two finite numbers");
    if (!finite(options_.init_center)) return Status::error(StatusCode::invalid_argument, "initCenter: expected two finite numbers");
    return {};
  }

  bool cancelled() const { return options_.cancelled != nullptr && options_.cancelled->load(std::memory_order_relaxed); }

  static Status cancelled_status() { return Status::error(StatusCode::cancelled, "The operation was aborted"); }

  // Removes the frames for which `invalid` holds from the header. Their events stay in the data, unused.
  template <class Invalid, class Reason>
  void drop_frames(Invalid invalid, Reason reason) {
    const std::span<FrameRecord> frames = header_.frames();
    size_t kept = 0;
    for (size_t i = 0; i < frames.size(); ++i) {
      if (!invalid(frames[i])) {
        frames[kept++] = frames[i];
        continue;
      }
      if (result_.dropped_frames++ == 0) result_.dropped_reason = reason(i);
      header_.batch_size_bytes -= frames[i].size;
    }
    header_.frame_count = kept;
  }

  Status sum() {
    for (;;) {
      if (header_.frame_count == 0) return {};
      prepare_positions();
      uint32_t largest = 0;
      if (Status status = sum_all(largest); !status.ok()) return status;
      if (largest < header_.frame_pixels()) return {};
      if (Status status = refuse_or_drop_events(); !status.ok()) return status;
    }
  }

  // Which events a frame's header gives it, and where its position's sums are: only the positions between the lowest
  // and the highest of the message have sums, since a message holds a small part of a large scan.
  void prepare_positions() {
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

  std::span<PositionSums> sums() const { return sums_.as<PositionSums>(position_count_); }
  size_t sums_index(const FrameRecord& frame) const { return header_.position(frame) - lowest_position_; }
  PositionSums& sums_of(const FrameRecord& frame) const { return sums()[sums_index(frame)]; }
  const EventRange* event_ranges() const { return ranges_.as<EventRange>(header_.frame_count).data(); }

  Status sum_all(uint32_t& largest) {
    if (!options_.crop_to) return sum_plain(largest);
    const ComPartialOptions::Pair crop = *options_.crop_to;
    const float limit = disk_limit(static_cast<float>(std::max(crop.x, crop.y)));
    if (options_.init_center) return sum_cropped(fixed_window(options_, limit), largest);
    return sum_around_own_centers(limit, largest);
  }

  Status sum_plain(uint32_t& largest) {
    const size_t frames = header_.frame_count;
    for (size_t first = 0; first < frames; first += block_frames) {
      if (cancelled()) return cancelled_status();
      add_plain(first, std::min(block_frames, frames - first), largest);
    }
    return {};
  }

  // Adds frames [first, first + count) to their positions' sums.
  void add_plain(size_t first, size_t count, uint32_t& largest) {
    FrameSums block[block_frames];
    const std::span<const FrameRecord> frames = header_.frames();
    const EventRange* ranges = event_ranges() + first;
    largest = std::max(largest, backend_.sum_frames(events_.bytes, ranges, count, header_.frame_columns, header_.frame_pixels(), block));
    for (size_t i = 0; i < count; ++i) {
      PositionSums& position = sums_of(frames[first + i]);
      position.row_sum += block[i].row_sum;
      position.column_sum += block[i].index_sum - header_.frame_columns * block[i].row_sum;
      position.count += ranges[i].count;
    }
  }

  Status sum_cropped(const CropWindow& window, uint32_t& largest) {
    CroppedSums block[block_frames];
    const std::span<const FrameRecord> frames = header_.frames();
    for (size_t first = 0; first < frames.size(); first += block_frames) {
      if (cancelled()) return cancelled_status();
      const size_t count = std::min(block_frames, frames.size() - first);
      largest = std::max(largest, backend_.sum_in_window(events_.bytes, event_ranges() + first, count, header_.frame_columns,
                                                         header_.frame_pixels(), options_.crop_shape, window, block));
      for (size_t i = 0; i < count; ++i) add(block[i], sums_of(frames[first + i]));
    }
    return {};
  }

  // A position's window is known once all its frames are summed. Frames of the positions that a block completes are
  // cropped at once, while their events are in the cache; those whose position goes on in another block, at the end.
  Status sum_around_own_centers(float limit, uint32_t& largest) {
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
      backend_.sum_in_windows(events_.bytes, ranges, queued, header_.frame_columns, header_.frame_pixels(), options_.crop_shape,
                              windows, block);
      for (size_t i = 0; i < queued; ++i) add(block[i], cropped[positions[i]]);
      queued = 0;
    };
    const float crop_x = static_cast<float>(options_.crop_to->x), crop_y = static_cast<float>(options_.crop_to->y);
    const auto queue = [&](size_t i) {
      const size_t position = sums_index(frames[i]);
      ranges[queued] = event_ranges()[i];
      windows[queued] = window_around_own(sums()[position], crop_x, crop_y, limit);
      positions[queued] = position;
      if (++queued == own_center_block_frames) crop_queued();
    };

    for (size_t first = 0; first < frames.size(); first += own_center_block_frames) {
      if (cancelled()) return cancelled_status();
      const size_t count = std::min(own_center_block_frames, frames.size() - first);
      add_plain(first, count, largest);
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

  static void add(const CroppedSums& frame, PositionSums& position) {
    position.row_sum += frame.row_sum;
    position.column_sum += frame.column_sum;
    position.count += frame.count;
  }

  // Called when some event lies outside the detector: looks for it frame by frame.
  Status refuse_or_drop_events() {
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

  static float mean(uint64_t sum, uint64_t count) {
    return count == 0 ? nan_f32 : static_cast<float>(static_cast<double>(sum) / static_cast<double>(count));
  }

  void write_positions() {
    ComPositionsWriter writer(header_, lowest_position_, position_count_, pool_);
    const std::span<const uint32_t> positions = writer.positions();
    const std::span<uint32_t> counts = writer.counts();
    const std::span<float> mean_columns = writer.mean_columns(), mean_rows = writer.mean_rows();
    for (size_t entry = 0; entry < positions.size(); ++entry) {
      const PositionSums& position = sums()[positions[entry] - lowest_position_];
      counts[entry] = static_cast<uint32_t>(position.count);
      mean_columns[entry] = mean(position.column_sum, position.count);
      mean_rows[entry] = mean(position.row_sum, position.count);
    }
    result_.meta = writer.meta();
    result_.data = writer.data();
  }

  void write_scan() {
    const uint64_t positions = header_.scan_positions();
    const uint64_t rows = header_.scan_rows, columns = header_.scan_columns;
    const NpzWriter::Member members[] = {{"com", "<f4", 4, {2, rows, columns}}, {"count", "<u4", 4, {rows, columns}}};
    NpzWriter npz(members, pool_);
    // Members start at any offset of the archive; whole planes are prepared in aligned memory only to replace NaN.
    uint8_t* const mean_column = npz.data(0);
    uint8_t* const mean_row = mean_column + 4 * positions;
    uint8_t* const count = npz.data(1);
    const auto store = [](uint8_t* plane, uint64_t position, auto value) { std::memcpy(plane + 4 * position, &value, 4); };
    const auto fill_without_events = [&](uint64_t begin, uint64_t end) {
      for (uint64_t i = begin; i < end; ++i) store(mean_column, i, nan_f32);
      for (uint64_t i = begin; i < end; ++i) store(mean_row, i, nan_f32);
      std::memset(count + 4 * begin, 0, 4 * (end - begin));
    };
    if (header_.frame_count == 0) {
      fill_without_events(0, positions);
    } else {
      fill_without_events(0, lowest_position_);
      for (size_t i = 0; i < position_count_; ++i) {
        const PositionSums& position = sums()[i];
        const uint64_t at = lowest_position_ + i;
        store(mean_column, at, mean(position.column_sum, position.count));
        store(mean_row, at, mean(position.row_sum, position.count));
        store(count, at, static_cast<uint32_t>(position.count));
      }
      fill_without_events(lowest_position_ + position_count_, positions);
    }
    // The peer returns before this step if the batch has no event at all.
    if (options_.replace_nans && header_.batch_size_bytes > 0) {
      replace_nans(mean_column, positions);
      replace_nans(mean_row, positions);
    }
    result_.data = npz.finish(backend_);
    result_.meta = encode_batch_header_json(header_, pool_);
  }

  void replace_nans(uint8_t* plane, uint64_t positions) {
    PooledBuffer copy = pool_.take_array<float>(positions);
    std::memcpy(copy.data(), plane, 4 * positions);
    replace_nans_by_mean(copy.as<float>(positions));
    std::memcpy(plane, copy.data(), 4 * positions);
  }

  std::span<const uint8_t> data_;
  const ComPartialOptions& options_;
  const Backend& backend_;
  BufferPool& pool_;
  ComPartialResult& result_;
  BatchHeader header_;
  size_t frames_in_message_ = 0;
  EventBytes events_;
  PooledBuffer ranges_;
  PooledBuffer sums_;
  uint32_t lowest_position_ = 0;
  size_t position_count_ = 0;
};

}  // namespace

Status center_of_mass_partial(std::span<const uint8_t> meta, std::span<const uint8_t> data, const ComPartialOptions& options,
                              BufferPool& pool, ComPartialResult& result) {
  result = ComPartialResult{};
  return Partial(data, options, pool, result).run(meta);
}

}  // namespace stemline
