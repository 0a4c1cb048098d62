// Kernels of each backend on the events of one message, beside a naive loop and the stream read of the same bytes.
#include "backend.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "machine.h"
#include "sections.h"

namespace bench {

namespace {

using stemline::Backend;
using stemline::CroppedSums;
using stemline::CropShape;
using stemline::CropWindow;
using stemline::EventRange;
using stemline::FrameSums;

// As center_of_mass_partial calls the kernels.
constexpr size_t block_frames = 512;

std::vector<EventRange> event_ranges(const Message& message) {
  std::vector<EventRange> ranges;
  uint64_t begin = 0;
  for (const uint32_t count : message.counts) {
    ranges.push_back({begin, count});
    begin += count;
  }
  return ranges;
}

CropWindow crop_window(const Crop& crop) {
  const float radius = static_cast<float>(crop.half_rows);
  // sqrt(s) <= radius in float32 holds up to the largest s whose root rounds to the radius; a whole radius is its own
  // root.
  float limit = radius * radius;
  for (float next = limit; std::sqrt(next) <= radius;
       next = std::nextafter(next, std::numeric_limits<float>::infinity()))
    limit = next;
  return {static_cast<float>(crop.row - crop.half_rows),
          static_cast<float>(crop.row + crop.half_rows),
          static_cast<float>(crop.column - crop.half_columns),
          static_cast<float>(crop.column + crop.half_columns),
          static_cast<float>(crop.row),
          static_cast<float>(crop.column),
          limit};
}

struct KernelRun {
  const Backend& backend;
  const Message& message;
  const std::vector<EventRange>& ranges;
  Mode mode;
  Crop crop;

  // Sums go to a block that stays in cache, as in the runtime; `store` sees each block.
  template <class Store>
  uint32_t blocks(Store store) const {
    uint32_t largest = 0;
    const CropWindow window = crop_window(crop);
    FrameSums plain[block_frames];
    CroppedSums cropped[block_frames];
    for (size_t first = 0; first < ranges.size(); first += block_frames) {
      const size_t count = std::min(block_frames, ranges.size() - first);
      const EventRange* const frames = ranges.data() + first;
      uint32_t top = 0;
      if (mode == Mode::none) {
        top = backend.sum_frames(message.data(), frames, count, message.plan.frame_side, message.pixels(), plain);
        keep(plain);
      } else {
        const CropShape shape = mode == Mode::box ? CropShape::box : CropShape::disk;
        top = backend.sum_cropped_frames(message.data(), frames, count, message.plan.frame_side, message.pixels(),
                                         shape, &window, 0, cropped);
        keep(cropped);
      }
      largest = std::max(largest, top);
      store(first, count, plain, cropped);
    }
    return largest;
  }

  void run() const {
    const uint32_t largest = blocks([](size_t, size_t, const FrameSums*, const CroppedSums*) {});
    keep(&largest);
  }

  std::string check() const {
    std::vector<NaiveSums> expected, got(ranges.size());
    naive_frame_sums(message, mode, crop, expected);
    const uint64_t side = message.plan.frame_side;
    const uint32_t largest = blocks([&](size_t first, size_t count, const FrameSums* plain,
                                        const CroppedSums* cropped) {
      for (size_t i = 0; i < count; ++i) {
        if (mode == Mode::none) {
          got[first + i] = {plain[i].row_sum, plain[i].index_sum - side * plain[i].row_sum, ranges[first + i].count};
        } else {
          got[first + i] = {cropped[i].row_sum, cropped[i].column_sum, cropped[i].count};
        }
      }
    });
    if (largest != *std::max_element(message.events.begin(), message.events.end())) return "wrong largest event";
    for (size_t i = 0; i < got.size(); ++i) {
      if (got[i].rows != expected[i].rows || got[i].columns != expected[i].columns ||
          got[i].count != expected[i].count) {
        return "wrong sums of frame " + std::to_string(i);
      }
    }
    return "";
  }
};

// Bytes of a message that stream_read takes: whole strides.
size_t stream_bytes(const Message& message) { return message.data_bytes() / 512 * 512; }

uint64_t naive_word_sum(const uint8_t* bytes, size_t size) {
  uint64_t sum = 0;
  for (size_t i = 0; i < size; i += 8) {
    uint64_t word;
    std::memcpy(&word, bytes + i, 8);
    sum += word;
  }
  return sum;
}

}  // namespace

std::vector<const Backend*> usable_backends() {
  std::vector<const Backend*> backends;
  for (const Backend* backend : stemline::all_backends()) {
    if (backend->supported()) backends.push_back(backend);
  }
  return backends;
}

Section bench_stream_read(Harness& harness) {
  Section section{"stream",
                  "Stream read: sum over a buffer, one thread, " + stream_read_unit(),
                  {"The limit of anything that reads its input once."},
                  {{"level"}, {"buffer MiB", 2}, {"GB/s best", 1}, {"GB/s median", 1}, {"spread"}},
                  {}};
  const CacheSizes caches = cache_sizes();
  const std::pair<const char*, size_t> levels[] = {
      {"L2", caches.l2 / 2}, {"L3", caches.l3 / 4}, {"DRAM", std::max(caches.l3 * 8, size_t{256} << 20)}};
  for (const auto& [level, asked] : levels) {
    const size_t size = asked / 4096 * 4096;
    std::vector<uint64_t> buffer(size / 8);
    Random random(7);
    for (uint64_t& word : buffer) word = random.next();
    const uint8_t* const bytes = reinterpret_cast<const uint8_t*>(buffer.data());
    uint64_t sum = 0;
    const Candidate candidate{std::string("stream read, ") + level,
                              [&] {
                                sum = stream_read(bytes, size);
                                keep(&sum);
                              },
                              [&] { return sum == naive_word_sum(bytes, size) ? "" : "wrong sum"; }};
    const Timing timing = harness.measure({&candidate, 1})[0];
    const double gigabytes = static_cast<double>(size) * 1e-9;
    section.rows.push_back({level, static_cast<double>(size) / (1 << 20), gigabytes / timing.best,
                            gigabytes / timing.median, harness.spread_cell(timing)});
  }
  return section;
}

Section bench_center_of_mass(Harness& harness) {
  Section section{
      "kernels",
      "Centre-of-mass kernels: events of one message, 576 x 576 pixels, Poisson events a frame",
      {"\"of stream\": against the stream read of the same bytes in the same run, which stands in the first line of "
       "each block;",
       "\"x naive\": against the loop of / and % in the same run. Read from the level where the message's events lie."},
      {{"events/frame"},
       {"crop"},
       {"backend"},
       {"MB", 1},
       {"level"},
       {"ns/frame", 1},
       {"Mevents/s", 0},
       {"GB/s best", 2},
       {"GB/s median", 2},
       {"spread"},
       {"of stream %", 0},
       {"x naive", 1}},
      {}};
  const Crop crop;
  for (const double events : events_per_frame) {
    const Message message = make_message({.frames = frames_of_message(events), .events_per_frame = events, .seed = 42});
    const std::vector<EventRange> ranges = event_ranges(message);
    for (const Mode mode : {Mode::none, Mode::box, Mode::disk}) {
      std::vector<KernelRun> runs;
      for (const Backend* backend : usable_backends()) runs.push_back({*backend, message, ranges, mode, crop});
      uint64_t word_sum = 0;
      std::vector<NaiveSums> naive;
      std::vector<Candidate> candidates;
      candidates.push_back(
          {"stream read",
           [&] {
             word_sum = stream_read(message.data(), stream_bytes(message));
             keep(&word_sum);
           },
           [&] { return word_sum == naive_word_sum(message.data(), stream_bytes(message)) ? "" : "wrong sum"; }});
      candidates.push_back({"naive",
                            [&] {
                              naive_frame_sums(message, mode, crop, naive);
                              keep(naive.data());
                            },
                            nullptr});
      for (const KernelRun& run : runs) {
        candidates.push_back({run.backend.name, [&run] { run.run(); }, [&run] { return run.check(); }});
      }
      const std::vector<Timing> timings = harness.measure(candidates);
      for (size_t i = 0; i < candidates.size(); ++i) {
        const Timing& timing = timings[i];
        const double bytes = static_cast<double>(i == 0 ? stream_bytes(message) : message.data_bytes());
        const double per_byte = timing.best / bytes,
                     stream_per_byte = timings[0].best / static_cast<double>(stream_bytes(message));
        section.rows.push_back({std::to_string(static_cast<int>(events)), mode_name(mode), candidates[i].name,
                                bytes * 1e-6, memory_level(message.data_bytes()),
                                timing.best * 1e9 / static_cast<double>(ranges.size()), bytes / 4 / timing.best * 1e-6,
                                bytes / timing.best * 1e-9, bytes / timing.median * 1e-9, harness.spread_cell(timing),
                                100 * stream_per_byte / per_byte,
                                i == 0 ? Cell{} : Cell{timings[1].best / timing.best}});
      }
    }
  }
  return section;
}

}  // namespace bench
