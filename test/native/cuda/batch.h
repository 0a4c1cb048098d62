// Batches of all kinds, what they come to by / and %, and results with guards around them.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "helpers/random.h"
#include "library.h"
#include "reference/center_of_mass.h"

namespace cuda_test {

using helpers::Random;

struct Results {
  std::vector<StemlineCudaSums> sums;
  uint32_t largest = 0;
  std::vector<uint32_t> event_counts, detector_counts, pattern;
};

// A batch with its arrays.
struct Batch {
  uint32_t rows = 1, columns = 1;
  uint32_t positions = 1;
  std::vector<uint32_t> events;
  std::vector<StemlineCudaFrame> frames;
  StemlineCudaCrop crop = STEMLINE_CUDA_CROP_NONE;
  StemlineCudaShape shape = STEMLINE_CUDA_BOX;
  StemlineCudaWindow window{};
  float half_rows = 0, half_columns = 0, limit = 0;
  bool analysis = false;
  std::vector<uint32_t> detectors;
  uint64_t detectors_key = 0;
  uint32_t detector_count = 0;

  uint64_t pixels() const { return uint64_t{rows} * columns; }

  void add(uint32_t position, const std::vector<uint32_t>& frame) {
    frames.push_back({static_cast<uint32_t>(events.size()), static_cast<uint32_t>(frame.size()), position});
    events.insert(events.end(), frame.begin(), frame.end());
  }

  std::span<const uint32_t> events_of(const StemlineCudaFrame& frame) const {
    return std::span(events).subspan(frame.begin, frame.count);
  }
};

inline bool keeps(const Batch& batch, const StemlineCudaWindow& w, uint32_t event) {
  const reference::Pixel pixel{event / batch.columns, event % batch.columns};
  return batch.shape == STEMLINE_CUDA_DISK ? reference::squared_distance(pixel, w.center_row, w.center_column) <= w.limit
                                           : reference::box_keeps(pixel, w.low_row, w.high_row, w.low_column, w.high_column);
}

inline Results expected(const Batch& batch) {
  using reference::round_f32;
  Results results;
  results.sums.resize(batch.positions);
  const auto add = [&](std::vector<StemlineCudaSums>& sums, const auto& keep) {
    for (const StemlineCudaFrame& frame : batch.frames) {
      StemlineCudaSums& position = sums[frame.position];
      for (const uint32_t event : batch.events_of(frame)) {
        if (!keep(frame.position, event)) continue;
        position.row_sum += event / batch.columns;
        position.column_sum += event % batch.columns;
        position.count += 1;
      }
    }
  };
  std::vector<StemlineCudaWindow> windows(batch.positions, batch.window);
  if (batch.crop == STEMLINE_CUDA_CROP_OWN_CENTER) {
    std::vector<StemlineCudaSums> all(batch.positions);
    add(all, [](uint32_t, uint32_t) { return true; });
    for (uint32_t p = 0; p < batch.positions; ++p) {
      if (all[p].count == 0) continue;
      const float row = round_f32(static_cast<double>(all[p].row_sum) / static_cast<double>(all[p].count));
      const float column = round_f32(static_cast<double>(all[p].column_sum) / static_cast<double>(all[p].count));
      const double half_rows = batch.half_rows, half_columns = batch.half_columns;
      windows[p] = {round_f32(row - half_rows), round_f32(row + half_rows), round_f32(column - half_columns),
                    round_f32(column + half_columns), row, column, batch.limit};
    }
  }
  add(results.sums, [&](uint32_t p, uint32_t event) { return batch.crop == STEMLINE_CUDA_CROP_NONE || keeps(batch, windows[p], event); });
  for (const StemlineCudaFrame& frame : batch.frames) {
    for (const uint32_t event : batch.events_of(frame)) results.largest = std::max(results.largest, event);
  }
  if (!batch.analysis) return results;

  results.event_counts.resize(batch.positions);
  results.detector_counts.resize(size_t{batch.detector_count} * batch.positions);
  results.pattern.resize(batch.pixels());
  for (const StemlineCudaFrame& frame : batch.frames) {
    results.event_counts[frame.position] += frame.count;
    for (const uint32_t event : batch.events_of(frame)) {
      if (event >= batch.pixels()) continue;
      results.pattern[event] += 1;
      for (uint32_t d = 0; d < batch.detector_count; ++d) {
        if (batch.detectors[event] >> d & 1) ++results.detector_counts[size_t{d} * batch.positions + frame.position];
      }
    }
  }
  return results;
}

// An array between guards.
template <class T>
class Guarded {
 public:
  explicit Guarded(size_t count) : bytes_(count * sizeof(T) + 2 * guard, filling) {}
  T* data() { return reinterpret_cast<T*>(bytes_.data() + guard); }
  size_t size() const { return (bytes_.size() - 2 * guard) / sizeof(T); }
  std::vector<T> values() { return {data(), data() + size()}; }

  bool guards_hold() const {
    return std::all_of(bytes_.begin(), bytes_.begin() + guard, is_filling) && std::all_of(bytes_.end() - guard, bytes_.end(), is_filling);
  }
  bool is_untouched() const { return std::all_of(bytes_.begin(), bytes_.end(), is_filling); }

 private:
  static constexpr size_t guard = 64;
  static constexpr uint8_t filling = 0xa5;
  static bool is_filling(uint8_t byte) { return byte == filling; }

  std::vector<uint8_t> bytes_;
};

// Where events lie, in the way that the library is to read them.
enum class Place { pageable, pinned, device };

class Events {
 public:
  // `shift`: bytes by which the events are off a good alignment.
  Events(const std::vector<uint32_t>& events, Place place, size_t shift);
  ~Events();
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;
  const void* data() const { return static_cast<const uint8_t*>(block_) + shift_; }

 private:
  Place place_;
  size_t shift_;
  void* block_ = nullptr;
};

// How many blocks of memory the stand-in has given out.
size_t host_blocks();

// While it lives, the stand-in's streams are slow: what does not wait for them is found out.
class SlowStreams {
 public:
  SlowStreams() { set(2000); }
  ~SlowStreams() { set(0); }

 private:
  static void set(unsigned microseconds);
};

// One run of a batch.
class Run {
 public:
  explicit Run(const Batch& batch, Place place = Place::pageable, size_t shift = 0)
      : batch_(batch), events_(batch.events, place, shift), sums_(batch.positions), largest_(1),
        event_counts_(batch.analysis ? batch.positions : 0),
        detector_counts_(batch.analysis ? size_t{batch.detector_count} * batch.positions : 0),
        pattern_(batch.analysis ? batch.pixels() : 0) {
    call.events = events_.data();
    call.event_count = batch.events.size();
    call.frames = batch.frames.data();
    call.frame_count = static_cast<uint32_t>(batch.frames.size());
    call.position_count = batch.positions;
    call.frame_columns = batch.columns;
    call.frame_rows = batch.rows;
    call.crop = batch.crop;
    call.shape = batch.shape;
    call.window = batch.window;
    call.half_rows = batch.half_rows;
    call.half_columns = batch.half_columns;
    call.limit = batch.limit;
    call.analysis = batch.analysis ? 1 : 0;
    call.sums = sums_.data();
    call.largest = largest_.data();
    if (!batch.analysis) return;
    call.detectors = batch.detector_count > 0 ? batch.detectors.data() : nullptr;
    call.detectors_key = batch.detectors_key;
    call.detector_count = batch.detector_count;
    call.event_counts = event_counts_.data();
    call.detector_counts = batch.detector_count > 0 ? detector_counts_.data() : nullptr;
    call.pattern = pattern_.data();
  }

  // "" or what is wrong.
  std::string compare() { return compare(expected(batch_)); }
  std::string compare(const Results& wanted) {
    if (!sums_.guards_hold() || !largest_.guards_hold() || !event_counts_.guards_hold() || !detector_counts_.guards_hold() ||
        !pattern_.guards_hold()) {
      return "wrote past a result";
    }
    if (*largest_.data() != wanted.largest) {
      return "largest: got " + std::to_string(*largest_.data()) + ", expected " + std::to_string(wanted.largest);
    }
    // With an event outside of the frame, the rest is anything.
    if (wanted.largest >= batch_.pixels()) return "";
    const auto text = [](const StemlineCudaSums& sums) {
      return std::to_string(sums.row_sum) + " " + std::to_string(sums.column_sum) + " " + std::to_string(sums.count);
    };
    for (uint32_t p = 0; p < batch_.positions; ++p) {
      const std::string got = text(sums_.data()[p]), sums = text(wanted.sums[p]);
      if (got != sums) return "position " + std::to_string(p) + ": got " + got + ", expected " + sums;
    }
    if (event_counts_.values() != wanted.event_counts) return "event_counts differ";
    if (detector_counts_.values() != wanted.detector_counts) return "detector_counts differ";
    if (pattern_.values() != wanted.pattern) return "pattern differs";
    return "";
  }

  bool is_untouched() const {
    return sums_.is_untouched() && largest_.is_untouched() && event_counts_.is_untouched() && detector_counts_.is_untouched() &&
           pattern_.is_untouched();
  }

  StemlineCudaBatch call{};

 private:
  const Batch& batch_;
  Events events_;
  Guarded<StemlineCudaSums> sums_;
  Guarded<uint32_t> largest_, event_counts_, detector_counts_, pattern_;
};

// Runs a batch from start to end. "" or what is wrong.
inline std::string compute(Context& context, const Batch& batch, Place place = Place::pageable, size_t shift = 0) {
  Run run(batch, place, shift);
  uint64_t ticket = 0;
  if (const Answer answer = context.submit(run.call, ticket); answer.result != STEMLINE_CUDA_OK) return "submit: " + answer.reason;
  if (const Answer answer = context.wait(ticket); answer.result != STEMLINE_CUDA_OK) return "wait: " + answer.reason;
  return run.compare();
}

// An event beside the borders of rows, at an end of the frame, or anywhere.
inline uint32_t random_event(Random& random, const Batch& batch) {
  const uint64_t pixels = batch.pixels(), columns = batch.columns;
  switch (random.below(8)) {
    case 0: return static_cast<uint32_t>(std::min(random.below(batch.rows) * columns + random.below(2), pixels - 1));
    case 1: return static_cast<uint32_t>((random.below(batch.rows) + 1) * columns - 1);
    case 2: return random.chance(0.5) ? static_cast<uint32_t>(pixels - 1) : 0;
    default: return static_cast<uint32_t>(random.below(pixels));
  }
}

inline std::vector<uint32_t> random_frame(Random& random, const Batch& batch, size_t length) {
  std::vector<uint32_t> frame(length);
  for (uint32_t& event : frame) event = random_event(random, batch);
  return frame;
}

// Crops whose borders often lie exactly on rows and columns.
inline void set_crop(Random& random, Batch& batch, StemlineCudaCrop crop) {
  const auto number = [&](uint64_t side) {
    const double value = random.unit() * static_cast<double>(side);
    return static_cast<float>(random.pick<double>({std::floor(value), std::floor(value) + 0.5, value}));
  };
  batch.crop = crop;
  batch.shape = random.chance(0.5) ? STEMLINE_CUDA_DISK : STEMLINE_CUDA_BOX;
  StemlineCudaWindow& window = batch.window;
  window.center_row = number(batch.rows);
  window.center_column = number(batch.columns);
  batch.half_rows = number(random.pick<uint64_t>({2, 30, batch.rows}));
  batch.half_columns = number(random.pick<uint64_t>({2, 30, batch.columns}));
  window.low_row = window.center_row - batch.half_rows;
  window.high_row = window.center_row + batch.half_rows;
  window.low_column = window.center_column - batch.half_columns;
  window.high_column = window.center_column + batch.half_columns;
  // Often exactly the squared distance of some pixel, or one step beside it.
  const reference::Pixel pixel{static_cast<int64_t>(random.below(batch.rows)), static_cast<int64_t>(random.below(batch.columns))};
  const float distance = reference::squared_distance(pixel, window.center_row, window.center_column);
  const float limit = random.chance(0.5) ? distance : batch.half_rows * batch.half_columns;
  batch.limit = window.limit = random.pick<float>({limit, std::nextafter(limit, 0.0f), std::nextafter(limit, HUGE_VALF)});
  if (random.chance(0.03)) batch.limit = window.limit = -1.0f;
  if (random.chance(0.03)) window.low_row = window.center_row = batch.half_columns = NAN;
}

inline void set_analysis(Random& random, Batch& batch, uint32_t detector_count) {
  static std::atomic<uint64_t> keys{0};
  batch.analysis = true;
  batch.detector_count = detector_count;
  batch.detectors_key = ++keys;
  batch.detectors.resize(batch.pixels());
  const uint64_t density = random.below(3);
  for (uint32_t& bits : batch.detectors) {
    bits = static_cast<uint32_t>(random.bits());
    if (density == 0) bits &= static_cast<uint32_t>(random.bits()) & static_cast<uint32_t>(random.bits());
    if (density == 1) bits = 0xffffffff;
  }
}

inline Batch random_batch(Random& random, bool with_analysis) {
  static const std::vector<uint32_t> sides{1,   2,   3,   4,   5,   7,   8,    16,   31,   64,   127,  128,  129,
                                           255, 256, 257, 288, 511, 512, 575,  576,  577,  1023, 1024, 1025, 2048,
                                           2895, 4093, 4095, 4096, 8191, 32768, 65521, 65534, 65535};
  Batch batch;
  do {
    batch.columns = random.chance(0.3) ? static_cast<uint32_t>(random.between(1, 4096)) : random.pick(sides);
    batch.rows = random.pick(sides);
  } while (with_analysis && batch.pixels() > uint64_t{1} << 16);
  batch.positions = static_cast<uint32_t>(random.pick<int64_t>({1, 2, 7, 60, 1000}));
  const size_t frame_count = random.pick<size_t>({1, 2, 3, 8, 33, 100});
  const size_t common = random.pick<size_t>({0, 1, 7, 8, 9, 20, 24, 25, 31, 32, 33, 100, 128, 129});
  for (size_t f = 0; f < frame_count; ++f) {
    size_t length = random.chance(0.7) ? common : random.below(40);
    if (random.chance(0.03)) length = random.pick<size_t>({0, 1000, 1023, 1024, 1025, 2048, 2049, 5000});
    batch.add(random.chance(0.7) ? static_cast<uint32_t>(f % batch.positions) : static_cast<uint32_t>(random.below(batch.positions)),
              random_frame(random, batch, length));
    // Events of no frame, which may be anything.
    if (random.chance(0.02)) batch.events.push_back(0xffffffff);
  }
  if (random.chance(0.3)) random.shuffle(batch.frames);
  if (random.chance(0.2)) {
    // Overlapping frames. No event here is outside of the detector.
    for (uint32_t& event : batch.events) event = event < batch.pixels() ? event : 0;
    for (StemlineCudaFrame& frame : batch.frames) {
      frame.begin = static_cast<uint32_t>(random.below(batch.events.size() + 1));
      frame.count = static_cast<uint32_t>(random.below(std::min<uint64_t>(300, batch.events.size() - frame.begin) + 1));
    }
  }
  set_crop(random, batch, random.pick<StemlineCudaCrop>({STEMLINE_CUDA_CROP_NONE, STEMLINE_CUDA_CROP_FIXED, STEMLINE_CUDA_CROP_OWN_CENTER}));
  if (with_analysis) set_analysis(random, batch, random.pick<uint32_t>({0, 1, 2, 3, 7, 8, 9, 31, 32}));
  return batch;
}

// Like those of the instrument, without an event outside.
inline Batch plain_batch(Random& random, size_t frames, size_t events_in_frame, uint32_t side = 64) {
  Batch batch;
  batch.rows = batch.columns = side;
  batch.positions = static_cast<uint32_t>(std::max<size_t>(1, frames / 2));
  for (size_t f = 0; f < frames; ++f) batch.add(static_cast<uint32_t>(f % batch.positions), random_frame(random, batch, events_in_frame));
  return batch;
}

}  // namespace cuda_test
