// The kernel of scan-analysis, message bytes to message bytes, against the definition.
#include "scan_analysis.h"

#include <set>
#include <thread>

#include "helpers/partial.h"
#include "helpers/random_batch.h"
#include "reference/event_counts.h"
#include "reference/json.h"

using namespace helpers;
using reference::Batch;
using reference::ComOptions;
using reference::Detector;
using reference::Frame;
using reference::small_batch;
using stemline::Annulus;
using stemline::Backend;
using stemline::PixelMask;
using stemline::StatusCode;
using stemline::VirtualDetector;
using stemline::VirtualDetectors;

namespace {

struct AnalysisRun {
  stemline::Status status;
  Bytes meta;
  Bytes data;
  stemline::BatchFigures figures;
};

std::shared_ptr<VirtualDetectors> make_detectors(std::vector<VirtualDetector> detectors) {
  std::shared_ptr<VirtualDetectors> created;
  check_ok(VirtualDetectors::create(std::move(detectors), stemline::analysis_array_names, created));
  return created;
}

AnalysisRun run_analysis(std::span<const uint8_t> meta, std::span<const uint8_t> data, VirtualDetectors& detectors,
                         const stemline::BatchOptions& options) {
  static const std::shared_ptr<stemline::BufferPool> pool = stemline::BufferPool::create(size_t{64} << 20);
  static GuardedBytes guarded_meta, guarded_data;
  stemline::ScanAnalysisResult result;
  AnalysisRun run;
  run.status = scan_analysis(guarded_meta.place(meta), guarded_data.place(data), options, detectors, *pool, result);
  run.meta = copy_of(result.meta);
  run.data = copy_of(result.data);
  run.figures = result;
  return run;
}

AnalysisRun run_analysis(const Batch& batch, VirtualDetectors& detectors, const stemline::BatchOptions& options = {}) {
  return run_analysis(reference::msgpack(batch_value(batch)), batch_data(batch), detectors, options);
}

VirtualDetector detector_of(const Detector& detector, const Batch& batch) {
  if (detector.is_annulus) {
    return {detector.name, Annulus{Annulus::Center{detector.center_row, detector.center_column}, detector.inner, detector.outer}};
  }
  PixelMask mask{static_cast<uint32_t>(batch.frame_rows), static_cast<uint32_t>(batch.frame_columns), {}};
  for (const bool has : detector.mask) mask.pixels.push_back(has ? 3 : 0);
  return {detector.name, std::move(mask)};
}

std::vector<Detector> random_detectors(Random& random, const Batch& batch) {
  std::vector<Detector> detectors(random.pick<size_t>({0, 1, 2, 7, 8, 9, 16, 17, 31, 32}));
  const double rows = static_cast<double>(batch.frame_rows), columns = static_cast<double>(batch.frame_columns);
  for (size_t d = 0; d < detectors.size(); ++d) {
    Detector& detector = detectors[d];
    detector.name = "detector_" + std::to_string(d);
    detector.is_annulus = random.chance(0.7);
    // Halves and whole numbers, so that pixels lie on borders.
    detector.center_row = std::floor(random.unit() * 2 * rows) / 2;
    detector.center_column = std::floor(random.unit() * 2 * columns) / 2;
    detector.inner = random.chance(0.5) ? 0 : std::floor(random.unit() * 20) / 2;
    detector.outer = detector.inner + random.pick<double>({0.5, 1, 5, 1e9});
    if (!detector.is_annulus) {
      for (double i = 0; i < rows * columns; ++i) detector.mask.push_back(random.chance(0.3));
    }
  }
  return detectors;
}

// "" if the run gave what the definition says for `batch`, whose frames are all valid.
std::string compare(const AnalysisRun& run, const Batch& batch, const ComOptions& options, const std::vector<Detector>& detectors) {
  if (!run.status.ok()) return code_name(run.status.code) + ": " + run.status.message;
  if (const std::string d = difference(text_of(run.meta), reference::json_text(batch_value(batch))); !d.empty()) return "header " + d;
  const reference::ComArrays com = center_of_mass(batch, options);
  const reference::EventCounts counts = count_events(batch, detectors);
  const auto arrays = reference::read_npz(run.data);
  if (arrays.size() != 4 + detectors.size()) return std::to_string(arrays.size()) + " arrays";
  const uint64_t rows = static_cast<uint64_t>(batch.scan_rows), columns = static_cast<uint64_t>(batch.scan_columns);
  const auto compare_array = [&]<class T>(const std::string& name, const char* descr, const std::vector<uint64_t>& shape,
                                          const std::vector<T>& expected) -> std::string {
    const auto found = arrays.find(name + ".npy");
    if (found == arrays.end()) return "no array " + name + "; ";
    if (found->second.descr != descr || found->second.shape != shape) return name + " has another type or shape; ";
    const std::string d = difference(found->second.template as<T>(), expected);
    return d.empty() ? "" : name + " " + d + "; ";
  };
  std::string text = compare_array("com", "<f4", {2, rows, columns}, com.com) + compare_array("count", "<u4", {rows, columns}, com.count) +
                     compare_array("events", "<u4", {rows, columns}, counts.events) +
                     compare_array("pattern", "<u4", {static_cast<uint64_t>(batch.frame_rows), static_cast<uint64_t>(batch.frame_columns)},
                                   counts.pattern);
  for (size_t d = 0; d < detectors.size(); ++d) text += compare_array(detectors[d].name, "<u4", {rows, columns}, counts.detectors[d]);
  return text;
}

}  // namespace

TEST_CASE("random batches give the arrays that the definition gives, on every backend") {
  for_random_cases("analysis", 400, [](Random& random) {
    BatchKnobs knobs;
    knobs.small_frames_only = !random.chance(0.02);
    if (random.chance(0.2)) {
      knobs.max_scan_side = 40;
      knobs.max_events = 20;
    }
    const Batch batch = random_batch(random, knobs);
    // Larger ones are refused, and masks of millions of pixels take long to make.
    if (batch.frame_rows * batch.frame_columns > 400'000) return;
    ComOptions options = random_com_options(random, batch);
    options.replace_nans = false;
    const std::vector<Detector> detectors = random_detectors(random, batch);
    std::vector<VirtualDetector> converted;
    for (const Detector& detector : detectors) converted.push_back(detector_of(detector, batch));
    const std::shared_ptr<VirtualDetectors> native = make_detectors(std::move(converted));
    INFO(batch.dtype, ", ", batch.frames.size(), " frames of ", reference::int_text(batch.frame_rows), " x ",
         reference::int_text(batch.frame_columns), ", ", detectors.size(), " detectors");
    std::optional<AnalysisRun> first;
    for_each_backend([&](const Backend& backend) {
      AnalysisRun run = run_analysis(batch, *native, partial_options(options, backend));
      if (!first) {
        CHECK(compare(run, batch, options, detectors) == "");
        first = std::move(run);
        return;
      }
      CHECK(same_bits(run.meta, first->meta));
      CHECK(same_bits(run.data, first->data));
    });
  });
}

TEST_CASE("a pixel and a detector count far beyond a byte, in frames of any length") {
  for (const size_t events : {254, 255, 256, 509, 510, 511, 70'000}) {
    Batch batch = small_batch();
    batch.frames[2].events.assign(events, 13);
    batch.frames[2].events.push_back(59);
    for (const size_t count : {0, 1, 9}) {
      std::vector<Detector> detectors;
      for (size_t d = 0; d < count; ++d) {
        detectors.push_back({"d" + std::to_string(d), true, 2, 1, 0, d % 2 == 0 ? 3.0 : 100.0, {}});
      }
      std::vector<VirtualDetector> converted;
      for (const Detector& detector : detectors) converted.push_back(detector_of(detector, batch));
      CHECK(compare(run_analysis(batch, *make_detectors(std::move(converted))), batch, {}, detectors) == "");
    }
  }
}

TEST_CASE("batches whose events do not fit a narrow cell's count") {
  // All of 2^24 + 2 events in one pixel of one frame, with one other.
  Batch batch = small_batch();
  batch.dtype = "uint8";
  const size_t events = (size_t{1} << 24) + 2;
  batch.frames.resize(1);
  batch.frames[0].events.assign(events, 13);
  batch.frames[0].events.push_back(14);
  const std::shared_ptr<VirtualDetectors> detectors =
      make_detectors({{"all", Annulus{Annulus::Center{0, 0}, 0, 100}}, {"none", Annulus{Annulus::Center{500, 0}, 0, 1}}});
  const AnalysisRun run = run_analysis(batch, *detectors);
  check_ok(run.status);
  const auto arrays = reference::read_npz(run.data);
  const size_t position = static_cast<size_t>(batch.frames[0].row * 3 + batch.frames[0].column);
  CHECK(arrays.at("pattern.npy").as<uint32_t>()[13] == events);
  CHECK(arrays.at("pattern.npy").as<uint32_t>()[14] == 1);
  CHECK(arrays.at("events.npy").as<uint32_t>()[position] == events + 1);
  CHECK(arrays.at("all.npy").as<uint32_t>()[position] == events + 1);
  CHECK(arrays.at("none.npy").as<uint32_t>()[position] == 0);
}

TEST_CASE("an annulus without a centre lies around the middle of the frame") {
  const Batch batch = small_batch();
  const std::shared_ptr<VirtualDetectors> detectors = make_detectors({{"disk", Annulus{std::nullopt, 0, 2.6}}});
  CHECK(compare(run_analysis(batch, *detectors), batch, {}, {{"disk", true, 4.5, 2.5, 0, 2.6, {}}}) == "");
}

TEST_CASE("masks follow the frames' shape from message to message") {
  const std::shared_ptr<VirtualDetectors> detectors = make_detectors({{"disk", Annulus{std::nullopt, 1, 3}}});
  Batch other = small_batch();
  other.frame_rows = 6;
  other.frame_columns = 10;
  for (int i = 0; i < 3; ++i) {
    CHECK(compare(run_analysis(small_batch(), *detectors), small_batch(), {}, {{"disk", true, 4.5, 2.5, 1, 3, {}}}) == "");
    CHECK(compare(run_analysis(other, *detectors), other, {}, {{"disk", true, 2.5, 4.5, 1, 3, {}}}) == "");
  }
  std::set<uint64_t> keys;
  for (const auto& [rows, columns] : std::vector<std::pair<uint32_t, uint32_t>>{{4, 5}, {4, 5}, {5, 4}, {4, 5}}) {
    std::shared_ptr<const stemline::DetectorMasks> masks;
    check_ok(detectors->masks(rows, columns, masks));
    CHECK(masks->bits.size() == 20);
    keys.insert(masks->key);
  }
  CHECK(keys.size() == 3);
}

TEST_CASE("several threads share detectors") {
  const std::shared_ptr<VirtualDetectors> detectors = make_detectors({{"disk", Annulus{std::nullopt, 1, 3}}});
  Batch other = small_batch();
  other.frame_rows = 6;
  other.frame_columns = 10;
  std::vector<std::string> differences(4);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < differences.size(); ++t) {
    threads.emplace_back([&, t] {
      const Batch& batch = t % 2 == 0 ? other : small_batch();
      const Bytes meta = reference::msgpack(batch_value(batch)), data = batch_data(batch);
      const std::vector<Detector> expected{{"disk", true, t % 2 == 0 ? 2.5 : 4.5, t % 2 == 0 ? 4.5 : 2.5, 1, 3, {}}};
      const auto pool = stemline::BufferPool::create(0);
      for (int i = 0; i < 50; ++i) {
        stemline::ScanAnalysisResult result;
        AnalysisRun run;
        run.status = scan_analysis(meta, data, {}, *detectors, *pool, result);
        run.meta = copy_of(result.meta);
        run.data = copy_of(result.data);
        differences[t] += compare(run, batch, {}, expected);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& text : differences) CHECK(text == "");
}

TEST_CASE("invalid frames are refused, or dropped and counted nowhere") {
  for_random_cases("analysis of invalid frames", 150, [](Random& random) {
    BatchKnobs knobs;
    knobs.small_frames_only = true;
    knobs.outside_scan = 0.1;
    knobs.bad_event = 0.1;
    const Batch batch = random_batch(random, knobs);
    Batch valid = batch;
    std::erase_if(valid.frames, [&](const Frame& frame) { return outside_scan(batch, frame) || bad_event(batch, frame).has_value(); });
    const std::vector<Detector> detectors{{"disk", true, 3, 3, 0, 4, {}}};
    const std::shared_ptr<VirtualDetectors> native = make_detectors({detector_of(detectors[0], batch)});
    ComOptions options = random_com_options(random, batch);
    options.replace_nans = false;
    for_each_backend([&](const Backend& backend) {
      const AnalysisRun refused = run_analysis(batch, *native, partial_options(options, backend));
      CHECK(refused.status.ok() == (valid.frames.size() == batch.frames.size()));
      const AnalysisRun dropped = run_analysis(batch, *native, partial_options(options, backend, true));
      CHECK(compare(dropped, valid, options, detectors) == "");
      CHECK(dropped.figures.dropped_frames == batch.frames.size() - valid.frames.size());
    });
  });
}

TEST_CASE("frames too large to count pixels of, and masks of another shape") {
  Batch batch = small_batch();
  batch.frame_rows = 4097;
  batch.frame_columns = 4096;
  check_refused(run_analysis(batch, *make_detectors({})).status, StatusCode::too_large, {"4097 x 4096", "16777216"});
  batch.frame_rows = 65535;
  batch.frame_columns = 65535;
  check_refused(run_analysis(batch, *make_detectors({})).status, StatusCode::too_large, {"65535 x 65535"});
  const std::shared_ptr<VirtualDetectors> masked = make_detectors({{"m", PixelMask{6, 10, std::vector<uint8_t>(60)}}});
  check_refused(run_analysis(small_batch(), *masked).status, StatusCode::detector_shape, {"\"m\"", "6 x 10", "10 x 6"});
}

TEST_CASE("detectors that cannot be") {
  const auto check = [](std::vector<VirtualDetector> detectors, const std::vector<std::string>& parts) {
    std::shared_ptr<VirtualDetectors> created;
    check_refused(VirtualDetectors::create(std::move(detectors), stemline::analysis_array_names, created), StatusCode::invalid_argument, parts);
    CHECK(created == nullptr);
  };
  const Annulus disk{std::nullopt, 0, 5};
  for (const char* name : {"", "1st", "a-b", "a.npy", "com", "count", "events", "pattern", "\xc3\xa4"}) check({{name, disk}}, {std::string("\"") + name + "\""});
  check({{std::string(65, 'a'), disk}}, {"64"});
  check({{"a", disk}, {"b", disk}, {"a", disk}}, {"\"a\"", "different"});
  check(std::vector<VirtualDetector>(33, {"a", disk}), {"at most 32", "33"});
  for (const double number : {static_cast<double>(NAN), HUGE_VAL, -HUGE_VAL}) {
    check({{"a", Annulus{Annulus::Center{number, 1}, 0, 5}}}, {"center"});
    check({{"a", Annulus{Annulus::Center{1, number}, 0, 5}}}, {"center"});
    check({{"a", Annulus{std::nullopt, number, 5}}}, {"innerRadius"});
    check({{"a", Annulus{std::nullopt, 0, number}}}, {"outerRadius"});
  }
  check({{"a", Annulus{std::nullopt, -1, 5}}}, {"innerRadius", "-1"});
  check({{"a", Annulus{std::nullopt, 5, 5}}}, {"outerRadius", "more than", "5"});
  check({{"a", PixelMask{2, 3, std::vector<uint8_t>(5)}}}, {"mask", "2 x 3", "got 5"});
  check({{"a", PixelMask{0, 3, {}}}}, {"mask", "0 x 3"});
  check({{"a", PixelMask{4097, 4096, {}}}}, {"mask", "4097 x 4096"});
}
