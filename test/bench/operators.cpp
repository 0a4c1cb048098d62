// Whole messages: bytes in, bytes out, one thread.
#include <cstring>
#include <stdexcept>

#include "center_of_mass_partial.h"
#include "center_of_mass_reduce.h"
#include "machine.h"
#include "sections.h"

namespace bench {

namespace {

using stemline::Backend;
using stemline::BufferPool;
using stemline::ComPartialOptions;
using stemline::ComPartialResult;

ComPartialOptions partial_options(Mode mode, const Crop& crop, const Backend& backend) {
  ComPartialOptions options;
  if (mode != Mode::none) options.crop_to = {crop.half_rows, crop.half_columns};
  if (mode == Mode::box || mode == Mode::disk) options.init_center = {crop.row, crop.column};
  options.crop_shape = mode == Mode::disk ? stemline::CropShape::disk : stemline::CropShape::box;
  options.backend = &backend;
  return options;
}

bool same_bytes(const std::vector<uint8_t>& got, const void* expected, size_t size) {
  return got.size() == size && std::memcmp(got.data(), expected, size) == 0;
}

std::string check_arrays(std::span<const uint8_t> archive, const NaiveArrays& expected, bool with_count) {
  if (!same_bytes(naive_npz_member(archive.data(), archive.size(), "com"), expected.com.data(),
                  4 * expected.com.size()))
    return "wrong com";
  if (with_count && !same_bytes(naive_npz_member(archive.data(), archive.size(), "count"), expected.count.data(),
                                4 * expected.count.size())) {
    return "wrong count";
  }
  return "";
}

struct PartialRun {
  const Message& message;
  ComPartialOptions options;
  std::shared_ptr<BufferPool> pool;
  ComPartialResult result = {};
  stemline::Status status = {};

  void run() {
    result = ComPartialResult{};  // a message that was sent has given its buffers back
    status = center_of_mass_partial(message.meta, {message.data(), message.data_bytes()}, options, *pool, result);
  }
};

const std::vector<Column> message_columns = {
    {"events/frame"},        {"scan"},   {"crop"},        {"backend"},      {"frames/message"}, {"ms best", 3},
    {"ms median", 3},        {"spread"}, {"ns/frame", 1}, {"Mframes/s", 2}, {"x detector", 0},  {"events GB/s", 2},
    {"bytes in+out GB/s", 2}};

std::string scan_text(const MessagePlan& plan) {
  return std::to_string(plan.scan_rows) + " x " + std::to_string(plan.scan_columns);
}

std::vector<Cell> message_row(Harness& harness, const MessagePlan& plan, const std::string& crop,
                              const std::string& backend, double frames, double events, double bytes,
                              const Timing& timing) {
  return {std::to_string(static_cast<int>(plan.events_per_frame)),
          scan_text(plan),
          crop,
          backend,
          std::to_string(plan.frames),
          timing.best * 1e3,
          timing.median * 1e3,
          harness.spread_cell(timing),
          timing.best * 1e9 / frames,
          frames / timing.best * 1e-6,
          frames / timing.best / detector_frames_per_second,
          4 * events / timing.best * 1e-9,
          bytes / timing.best * 1e-9};
}

}  // namespace

Section bench_partial(Harness& harness) {
  Section section{"partial",
                  "center-of-mass-partial: a whole message, MessagePack and events to JSON and .npz",
                  {"\"x detector\": against the 87,000 frames/s of the 4D Camera. Buffers come from a warm pool."},
                  message_columns,
                  {}};
  const Crop crop;
  for (const uint32_t side : {128u, 512u}) {
    for (const double events : events_per_frame) {
      const Message message = make_message({.scan_rows = side,
                                            .scan_columns = side,
                                            .frames = frames_of_message(events),
                                            .events_per_frame = events,
                                            .first_frame = uint64_t{side} * side / 3,
                                            .seed = 45});
      const std::string json = naive_json(message);
      for (const Mode mode : all_modes) {
        if (side == 128 && mode != Mode::none) continue;
        const NaiveArrays expected = naive_center_of_mass(message, mode, crop);
        std::vector<PartialRun> runs;
        for (const Backend* backend : usable_backends()) {
          runs.push_back({message, partial_options(mode, crop, *backend), BufferPool::create(size_t{256} << 20)});
        }
        std::vector<Candidate> candidates;
        for (PartialRun& run : runs) {
          candidates.push_back({run.options.backend->name, [&run] { run.run(); },
                                [&run, &expected, &json]() -> std::string {
                                  if (!run.status.ok()) return run.status.message;
                                  const std::span<const uint8_t> meta = run.result.meta.bytes();
                                  if (meta.size() != json.size() ||
                                      std::memcmp(meta.data(), json.data(), json.size()) != 0)
                                    return "wrong JSON";
                                  return check_arrays(run.result.data.bytes(), expected, true);
                                }});
        }
        const std::vector<Timing> timings = harness.measure(candidates);
        for (size_t i = 0; i < candidates.size(); ++i) {
          const ComPartialResult& result = runs[i].result;
          const double bytes =
              static_cast<double>(message.meta.size() + message.data_bytes() + result.meta.size() + result.data.size());
          section.rows.push_back(message_row(harness, message.plan, mode_name(mode), candidates[i].name,
                                             message.plan.frames, static_cast<double>(message.events.size()), bytes,
                                             timings[i]));
        }
      }
    }
  }
  return section;
}

Section bench_reduce(Harness& harness) {
  Section section{
      "reduce",
      "center-of-mass-reduce: all partial results of a scan, one after the other, and the scan's own result at the end",
      {"Times are of one message: that of the whole scan, its new state and its emission included, by the number of "
       "messages."},
      message_columns,
      {}};
  const std::shared_ptr<BufferPool> pool = BufferPool::create(size_t{256} << 20);
  for (const uint32_t side : {128u, 512u}) {
    for (const double events : events_per_frame) {
      if (events != 10 && events != 100) continue;
      MessagePlan plan{.scan_rows = side,
                       .scan_columns = side,
                       .frames = std::min(frames_of_message(events), side * side),
                       .events_per_frame = events,
                       .seed = 46};
      const uint32_t messages = side * side / plan.frames;
      std::vector<ComPartialResult> partials(messages);
      const size_t positions = size_t{side} * side;
      NaiveArrays expected{std::vector<float>(2 * positions), {}};
      double bytes = 0, event_count = 0;
      for (uint32_t m = 0; m < messages; ++m) {
        plan.first_frame = uint64_t{m} * plan.frames;
        plan.seed = 46 + m;
        const Message message = make_message(plan);
        const stemline::Status status =
            center_of_mass_partial(message.meta, {message.data(), message.data_bytes()},
                                   partial_options(Mode::none, {}, stemline::scalar_backend), *pool, partials[m]);
        if (!status.ok()) throw std::runtime_error(status.message);
        // Every position has one frame in one message, so the scan's means are those of the messages.
        const NaiveArrays part = naive_center_of_mass(message, Mode::none, {});
        for (const uint32_t position : message.positions) {
          expected.com[position] = part.com[position];
          expected.com[positions + position] = part.com[positions + position];
        }
        bytes += static_cast<double>(partials[m].meta.size() + partials[m].data.size());
        event_count += static_cast<double>(message.events.size());
      }
      const auto options_of = [](const Backend* backend) {
        stemline::ComReduceOptions options;
        options.emit_every = 0;
        options.replace_nans = false;
        options.backend = backend;
        return options;
      };
      std::vector<stemline::ComEmission> emissions;
      stemline::Status status;
      std::vector<Candidate> candidates;
      for (const Backend* backend : usable_backends()) {
        candidates.push_back({backend->name,
                              [&, backend] {
                                emissions.clear();
                                stemline::ComReducer reducer;
                                for (const ComPartialResult& partial : partials) {
                                  status = reducer.add(partial.meta.bytes(), partial.data.bytes(), options_of(backend),
                                                       *pool, emissions);
                                  if (!status.ok()) return;
                                }
                              },
                              [&]() -> std::string {
                                if (!status.ok()) return status.message;
                                if (emissions.size() != 1 || !emissions[0].complete)
                                  return "expected one emission, of the complete scan";
                                return check_arrays(emissions[0].data.bytes(), expected, false);
                              }});
      }
      std::vector<Timing> timings = harness.measure(candidates);
      for (size_t i = 0; i < candidates.size(); ++i) {
        const double count = messages;
        const Timing one{timings[i].best / count, timings[i].median / count};
        section.rows.push_back(message_row(harness, plan, "no crop", candidates[i].name, plan.frames,
                                           event_count / count, bytes / count, one));
      }
    }
  }
  return section;
}

}  // namespace bench
