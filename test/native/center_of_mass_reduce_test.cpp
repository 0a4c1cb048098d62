// The reduce kernel: partial messages in any split and order against the centre of mass of everything at once.
#include "center_of_mass_reduce.h"

#include "helpers/allocation_meter.h"
#include "helpers/partial.h"
#include "helpers/random_batch.h"
#include "helpers/reduce.h"
#include "reference/event_counts.h"
#include "reference/json.h"
#include "scan_analysis.h"

using namespace helpers;
using reference::Batch;
using reference::Frame;
using stemline::Backend;
using stemline::ComEmission;
using stemline::ComReduceOptions;
using stemline::ComReducer;
using stemline::Status;
using stemline::StatusCode;

namespace {

constexpr float nan_f32 = std::numeric_limits<float>::quiet_NaN();

ComReduceOptions reduce_options(const Backend& backend, int64_t emit_every = 0) {
  ComReduceOptions options;
  options.emit_every = emit_every;
  options.replace_nans = false;
  options.backend = &backend;
  return options;
}

// What our partial operator sends for a batch.
Message partial_message(const Batch& batch, const Backend& backend = stemline::scalar_backend) {
  PartialRun run = run_partial(batch, partial_options({}, backend));
  check_ok(run.status);
  return {run.meta, run.data};
}

// What another partial operator may send: chosen arrays, with or without count.
Message message_of(const Batch& batch, const std::vector<float>& com,
                   const std::optional<std::vector<uint32_t>>& count) {
  const uint64_t rows = static_cast<uint64_t>(batch.scan_rows), columns = static_cast<uint64_t>(batch.scan_columns);
  std::vector<std::pair<std::string, Bytes>> members{
      {"com.npy", write_npy(reference::npy_array("<f4", {2, rows, columns}, com))}};
  if (count) members.emplace_back("count.npy", write_npy(reference::npy_array("<u4", {rows, columns}, *count)));
  return {bytes_of(reference::json_text(batch_value(batch))), reference::write_zip(members)};
}

std::vector<float> com_of(const ComEmission& emission) {
  const auto arrays = reference::read_npz(copy_of(emission.data));
  CHECK(arrays.size() == 1);
  const reference::NpyArray& com = arrays.at("com.npy");
  CHECK(com.descr == "<f4");
  CHECK(com.shape.size() == 3);
  CHECK(com.shape[0] == 2);
  return com.as<float>();
}

// NaN to the mean of each plane; 0 where there is no value at all.
std::vector<float> filled(const std::vector<float>& com) {
  const auto middle = com.begin() + static_cast<std::ptrdiff_t>(com.size() / 2);
  std::vector<float> all;
  for (const std::vector<float>& plane :
       {std::vector<float>(com.begin(), middle), std::vector<float>(middle, com.end())}) {
    for (const float value : reference::without_nans(plane)) all.push_back(value != value ? 0.0f : value);
  }
  return all;
}

std::string meta_text(const Batch& scan, const std::string& headers) {
  const auto shape = [](Int rows, Int columns) {
    return "[" + reference::int_text(rows) + "," + reference::int_text(columns) + "]";
  };
  return "{\"scan_number\":" + reference::int_text(scan.scan_number) +
         ",\"scan_shape\":" + shape(scan.scan_rows, scan.scan_columns) +
         ",\"frame_shape\":" + shape(scan.frame_rows, scan.frame_columns) + ",\"headers\":" + headers + "}";
}

// The headers of all frames by position, in order of arrival.
std::string headers_text(const Batch& scan, const std::vector<Batch>& messages) {
  std::string text = "{";
  for (Int position = 0; position < scan.scan_rows * scan.scan_columns; ++position) {
    text += (position == 0 ? "\"" : ",\"") + reference::int_text(position) + "\":[";
    bool first = true;
    for (const Batch& message : messages) {
      for (const Frame& frame : message.frames) {
        if (frame.row * scan.scan_columns + frame.column != position) continue;
        text += (first ? "" : ",") + reference::json_text(frame_value(message, frame));
        first = false;
      }
    }
    text += "]";
  }
  return text + "}";
}

BatchKnobs scan_knobs(Random& random) {
  BatchKnobs knobs;
  knobs.small_frames_only = true;
  knobs.max_events = random.pick<int64_t>({1, 20, 60});
  knobs.max_frames_per_position = random.between(1, 7);
  knobs.missing = random.pick<double>({0, 0, 0.2});
  knobs.empty = random.pick<double>({0, 0.3, 0.9});
  knobs.long_frame = 0;
  return knobs;
}

// Cuts a scan into messages. All frames of one position are in the last one, so that the scan is not complete earlier.
std::vector<Batch> split(Random& random, const Batch& scan) {
  const size_t count = std::min<size_t>(scan.frames.size(), random.between(1, 9));
  std::vector<Batch> messages(count, scan);
  for (Batch& message : messages) message.frames.clear();
  const Frame last = random.pick(scan.frames);
  for (const Frame& frame : scan.frames) {
    const bool held_back = frame.row == last.row && frame.column == last.column;
    messages[held_back ? count - 1 : random.below(count)].frames.push_back(frame);
  }
  std::erase_if(messages, [](const Batch& message) { return message.frames.empty(); });
  return messages;
}

size_t positions_in(const std::vector<Batch>& messages, size_t count) {
  std::map<std::pair<int64_t, int64_t>, int> seen;
  for (size_t i = 0; i < count; ++i) {
    for (const Frame& frame : messages[i].frames)
      seen[{static_cast<int64_t>(frame.row), static_cast<int64_t>(frame.column)}] = 1;
  }
  return seen.size();
}

// A scan of `positions` in a row, one frame of one event in each of those listed.
Batch row_scan(Int scan_number, Int positions, const std::vector<Int>& listed, double event = 8) {
  Batch batch;
  batch.scan_number = batch.frame_scan_number = scan_number;
  batch.scan_columns = positions;
  batch.frame_rows = 3;
  batch.frame_columns = 7;
  for (const Int column : listed) {
    Frame frame;
    frame.column = column;
    frame.events = {event};
    batch.frames.push_back(frame);
  }
  return batch;
}

// The detectors of analyses in these tests.
const std::vector<reference::Detector>& detectors() {
  static const std::vector<reference::Detector> list{{"inner", true, 1, 2, 0, 4, {}}, {"outer", true, 1, 2, 4, 50, {}}};
  return list;
}

// What scan-analysis sends for a batch.
Message analysis_message(const Batch& batch, const std::vector<reference::Detector>& of = detectors()) {
  std::vector<stemline::VirtualDetector> list;
  for (const reference::Detector& detector : of) {
    list.push_back({detector.name, stemline::Annulus{stemline::Annulus::Center{detector.center_row, detector.center_column},
                                                     detector.inner, detector.outer}});
  }
  std::shared_ptr<stemline::VirtualDetectors> made;
  check_ok(stemline::VirtualDetectors::create(std::move(list), stemline::analysis_array_names, made));
  stemline::ScanAnalysisResult result;
  check_ok(scan_analysis(reference::msgpack(batch_value(batch)), batch_data(batch), {}, *made, pool(), result));
  return {copy_of(result.meta), copy_of(result.data)};
}

// The sums of counts as text: name, shape, values.
std::string sums_text(const Batch& scan, const std::vector<std::pair<std::string, std::vector<uint64_t>>>& sums) {
  std::string text;
  for (const auto& [name, values] : sums) {
    const bool pattern = name == "pattern";
    text += name + " (" + reference::int_text(pattern ? scan.frame_rows : scan.scan_rows) + "," +
            reference::int_text(pattern ? scan.frame_columns : scan.scan_columns) + ")";
    for (const uint64_t value : values) text += " " + std::to_string(value);
    text += "; ";
  }
  return text;
}

std::string expected_sums(const Batch& scan, const std::vector<reference::Detector>& of = detectors()) {
  const reference::EventCounts counts = count_events(scan, of);
  const auto wide = [](const std::vector<uint32_t>& values) { return std::vector<uint64_t>(values.begin(), values.end()); };
  std::vector<std::pair<std::string, std::vector<uint64_t>>> sums{{"events", wide(counts.events)}, {"pattern", wide(counts.pattern)}};
  for (size_t d = 0; d < of.size(); ++d) sums.emplace_back(of[d].name, wide(counts.detectors[d]));
  return sums_text(scan, sums);
}

// The sums that an emission has, in the order of `names`, which are all.
std::string sums_of(const ComEmission& emission, const std::vector<std::string>& names) {
  const auto arrays = reference::read_npz(copy_of(emission.data));
  CHECK(arrays.size() == 1 + names.size());
  std::string text;
  for (const std::string& name : names) {
    const auto found = arrays.find(name + ".npy");
    if (found == arrays.end()) return "no " + name;
    CHECK(found->second.descr == "<u8");
    REQUIRE(found->second.shape.size() == 2);
    text += name + " (" + std::to_string(found->second.shape[0]) + "," + std::to_string(found->second.shape[1]) + ")";
    for (const uint64_t value : found->second.as<uint64_t>()) text += " " + std::to_string(value);
    text += "; ";
  }
  return text;
}

const std::vector<std::string> all_names{"events", "pattern", "inner", "outer"};

}  // namespace

TEST_CASE("any split of a scan gives the centre of mass of the whole, bit for bit") {
  size_t complete_scans = 0, flushed_scans = 0;
  for_random_cases("reduce splits", 500, [&](Random& random) {
    const Batch scan = random_batch(random, scan_knobs(random));
    const std::vector<Batch> messages = split(random, scan);
    const bool replace_nans = random.chance(0.3), include_headers = random.chance(0.3);
    const std::vector<float> means = center_of_mass(scan, {}).com;
    const std::vector<float> expected = replace_nans ? filled(means) : means;
    for_each_backend([&](const Backend& backend) {
      ComReducer reducer;
      ComReduceOptions options = reduce_options(backend);
      options.replace_nans = replace_nans;
      options.include_headers = include_headers;
      std::vector<ComEmission> emissions;
      for (size_t i = 0; i < messages.size(); ++i) {
        CHECK(emissions.empty());
        check_ok(add(reducer, partial_message(messages[i], backend), options, emissions));
      }
      const size_t seen = positions_in(messages, messages.size());
      const size_t positions = static_cast<size_t>(scan.scan_rows * scan.scan_columns);
      if (seen == positions) {
        ++complete_scans;
        CHECK(reducer.scans_under_way() == 0);
      } else {
        ++flushed_scans;
        CHECK(emissions.empty());
        CHECK(reducer.scans_under_way() == 1);
        reducer.flush(options, pool(), emissions);
      }
      REQUIRE(emissions.size() == 1);
      const ComEmission& emission = emissions[0];
      CHECK(difference(com_of(emission), expected) == "");
      CHECK(emission.messages == messages.size());
      CHECK(emission.frames == scan.frames.size());
      CHECK(emission.positions_seen == seen);
      CHECK(emission.positions == positions);
      CHECK(emission.complete == (seen == positions));
      CHECK(!emission.evicted);
      CHECK(emission.scan_number.text() == reference::int_text(scan.scan_number));
      const std::string headers = include_headers ? headers_text(scan, messages) : "{}";
      CHECK(difference(text_of(copy_of(emission.meta)), meta_text(scan, headers)) == "");

      // And the same bytes as one message with everything.
      ComReducer single;
      std::vector<ComEmission> whole;
      check_ok(add(single, partial_message(scan, backend), options, whole));
      single.flush(options, pool(), whole);
      REQUIRE(whole.size() == 1);
      CHECK(same_bits(copy_of(whole[0].data), copy_of(emission.data)));
    });
  });
  // Both kinds must occur, unless STEMLINE_TEST_SCALE leaves too few cases for that.
  if (scaled(500) >= 50) {
    CHECK(complete_scans > 0);
    CHECK(flushed_scans > 0);
  }
}

TEST_CASE("sums up to 2^23 come back exactly from float32 means") {
  // One position, two messages; the second holds a single event, so that an error of one in the first sum shows.
  for_random_cases("exact sums", 400, [](Random& random) {
    Batch first = row_scan(1, 2, {0});
    first.frame_rows = 1;
    first.frame_columns = 65535;
    const int64_t events = random.between(1, 400);
    std::vector<double>& list = first.frames[0].events;
    list.clear();
    double sum = 0;
    for (int64_t i = 0; i < events; ++i) {
      const double most = std::min(65534.0, 8388607.0 - sum);
      list.push_back(std::floor(random.chance(0.7) ? most : random.unit() * most));
      sum += list.back();
    }
    Batch second = first;
    second.frames[0].events = {static_cast<double>(random.below(65535))};
    Batch both = first;
    both.frames.push_back(second.frames[0]);
    ComReducer reducer;
    std::vector<ComEmission> emissions;
    const ComReduceOptions options = reduce_options(stemline::scalar_backend);
    check_ok(add(reducer, partial_message(first), options, emissions));
    check_ok(add(reducer, partial_message(second), options, emissions));
    reducer.flush(options, pool(), emissions);
    CHECK(difference(com_of(emissions.at(0)), center_of_mass(both, {}).com) == "");
  });
}

TEST_CASE("sums beyond 2^23 keep the precision of the means") {
  INFO("STEMLINE_TEST_SEED=", base_seed());
  Random random(case_seed("large sums", 0));
  for (int repeat = 0; repeat < 20; ++repeat) {
    Batch first = row_scan(1, 2, {0});
    first.frame_rows = first.frame_columns = 4000;
    first.frames[0].events.clear();
    for (int i = 0; i < 5000; ++i) first.frames[0].events.push_back(static_cast<double>(random.below(16'000'000)));
    Batch second = first;
    second.frames[0].events.assign(3000, 15'999'999);
    Batch both = first;
    both.frames.push_back(second.frames[0]);
    ComReducer reducer;
    std::vector<ComEmission> emissions;
    const ComReduceOptions options = reduce_options(stemline::scalar_backend);
    check_ok(add(reducer, partial_message(first), options, emissions));
    check_ok(add(reducer, partial_message(second), options, emissions));
    reducer.flush(options, pool(), emissions);
    const std::vector<float> got = com_of(emissions.at(0)), expected = center_of_mass(both, {}).com;
    // Two roundings of the inputs and one of the result: within 2^-23 of the value.
    for (const size_t at : {0, 2}) CHECK(std::fabs(got[at] - expected[at]) <= std::ldexp(expected[at], -23));
  }
}

TEST_CASE("emit_every counts messages of the scan") {
  for_each_backend([](const Backend& backend) {
    for (const int64_t every : {-1, 0, 1, 2, 3, 7}) {
      ComReducer reducer;
      std::vector<ComEmission> emissions;
      for (int64_t message = 1; message <= 8; ++message) {
        const size_t before = emissions.size();
        // The second scan between must not count.
        check_ok(add(reducer, partial_message(row_scan(2, 20, {0})), reduce_options(backend, 0), emissions));
        check_ok(
            add(reducer, partial_message(row_scan(1, 20, {message % 5})), reduce_options(backend, every), emissions));
        CAPTURE(every);
        CAPTURE(message);
        const bool due = every > 0 && message % every == 0;
        REQUIRE(emissions.size() == before + (due ? 1 : 0));
        if (due) {
          CHECK(emissions.back().messages == static_cast<uint64_t>(message));
          CHECK(!emissions.back().complete);
          CHECK(emissions.back().positions_seen == static_cast<uint64_t>(std::min<int64_t>(message, 5)));
        }
      }
    }
  });
}

TEST_CASE("a scan is complete when every position had a frame, empty or not, and starts anew after that") {
  for_each_backend([](const Backend& backend) {
    ComReducer reducer;
    std::vector<ComEmission> emissions;
    Batch empty = row_scan(7, 3, {2});
    empty.frames[0].events.clear();
    const ComReduceOptions options = reduce_options(backend, 50);
    check_ok(add(reducer, partial_message(row_scan(7, 3, {0, 1})), options, emissions));
    check_ok(add(reducer, partial_message(row_scan(7, 3, {1}, 9)), options, emissions));
    CHECK(emissions.empty());
    check_ok(add(reducer, partial_message(empty), options, emissions));
    REQUIRE(emissions.size() == 1);
    CHECK(emissions[0].complete);
    CHECK(difference(com_of(emissions[0]), {1, 1.5f, nan_f32, 1, 1, nan_f32}) == "");
    CHECK(reducer.scans_under_way() == 0);
    check_ok(add(reducer, partial_message(row_scan(7, 3, {1}, 20)), options, emissions));
    CHECK(reducer.scans_under_way() == 1);
    reducer.flush(options, pool(), emissions);
    REQUIRE(emissions.size() == 2);
    CHECK(emissions[1].messages == 1);
    CHECK(difference(com_of(emissions[1]), {nan_f32, 6, nan_f32, nan_f32, 2, nan_f32}) == "");
  });
}

TEST_CASE("a scan that is complete and due is emitted once") {
  ComReducer reducer;
  std::vector<ComEmission> emissions;
  check_ok(
      add(reducer, partial_message(row_scan(1, 2, {0, 1})), reduce_options(stemline::scalar_backend, 1), emissions));
  CHECK(emissions.size() == 1);
}

TEST_CASE("the oldest scan makes room, and is emitted before the one that pushed it out") {
  for_each_backend([](const Backend& backend) {
    ComReducer reducer;
    ComReduceOptions options = reduce_options(backend);
    options.max_concurrent_scans = 2;
    std::vector<ComEmission> emissions;
    const auto numbers = [&] {
      std::string text;
      for (const ComEmission& emission : emissions) {
        text += emission.scan_number.text() + (emission.evicted ? "e" : "") + (emission.complete ? "c" : "") + " ";
      }
      emissions.clear();
      return text;
    };
    const auto send = [&](Int scan, const std::vector<Int>& positions) {
      check_ok(add(reducer, partial_message(row_scan(scan, 3, positions)), options, emissions));
      return numbers();
    };
    CHECK(send(10, {0}) == "");
    CHECK(send(20, {0}) == "");
    // Oldest by its first message, not by its last.
    CHECK(send(10, {1}) == "");
    CHECK(send(30, {0}) == "10e ");
    CHECK(reducer.scans_under_way() == 2);
    CHECK(send(40, {0, 1, 2}) == "20e 40c ");
    CHECK(reducer.scans_under_way() == 1);
    CHECK(send(50, {0}) == "");
    options.max_concurrent_scans = 5;
    CHECK(send(-60, {0}) == "");
    CHECK(send(70, {0}) == "");
    CHECK(reducer.scans_under_way() == 4);
    options.max_concurrent_scans = 1;
    CHECK(send(-60, {1}) == "");
    CHECK(send(80, {0}) == "30e 50e -60e 70e ");
    CHECK(reducer.scans_under_way() == 1);
    options.max_concurrent_scans = 3;
    send(90, {0});
    reducer.flush(options, pool(), emissions);
    CHECK(numbers() == "80 90 ");
    CHECK(reducer.scans_under_way() == 0);
    reducer.flush(options, pool(), emissions);
    CHECK(emissions.empty());
  });
}

TEST_CASE("an evicted scan holds what was known of it") {
  ComReducer reducer;
  ComReduceOptions options = reduce_options(stemline::scalar_backend);
  options.max_concurrent_scans = 1;
  std::vector<ComEmission> emissions;
  check_ok(add(reducer, partial_message(row_scan(1, 3, {0, 2}, 8)), options, emissions));
  check_ok(add(reducer, partial_message(row_scan(2, 3, {0}, 9)), options, emissions));
  REQUIRE(emissions.size() == 1);
  CHECK(emissions[0].frames == 2);
  CHECK(difference(com_of(emissions[0]), {1, nan_f32, 1, 1, nan_f32, 1}) == "");
}

TEST_CASE("no value anywhere: NaN as it is, or 0 when filled") {
  Batch scan = row_scan(1, 3, {0, 1});
  for (Frame& frame : scan.frames) frame.events.clear();
  for (const bool replace : {false, true}) {
    ComReducer reducer;
    ComReduceOptions options = reduce_options(stemline::scalar_backend);
    options.replace_nans = replace;
    std::vector<ComEmission> emissions;
    check_ok(add(reducer, partial_message(scan), options, emissions));
    reducer.flush(options, pool(), emissions);
    CHECK(difference(com_of(emissions.at(0)), std::vector<float>(6, replace ? 0.0f : nan_f32)) == "");
  }
}

TEST_CASE("partials without count are weighted by their frames that held events") {
  for_random_cases("without count", 200, [](Random& random) {
    const Batch scan = random_batch(random, scan_knobs(random));
    const std::vector<Batch> messages = split(random, scan);
    const size_t positions = static_cast<size_t>(scan.scan_rows * scan.scan_columns);
    std::vector<double> sums(2 * positions, 0);
    std::vector<double> weights(positions, 0);
    ComReducer reducer;
    const ComReduceOptions options = reduce_options(stemline::scalar_backend);
    std::vector<ComEmission> emissions;
    for (const Batch& message : messages) {
      const std::vector<float> com = center_of_mass(message, {}).com;
      for (const Frame& frame : message.frames) {
        const size_t position = static_cast<size_t>(frame.row * scan.scan_columns + frame.column);
        if (frame.events.empty()) continue;
        weights[position] += 1;
        sums[position] += com[position];
        sums[positions + position] += com[positions + position];
      }
      check_ok(add(reducer, message_of(message, com, std::nullopt), options, emissions));
    }
    reducer.flush(options, pool(), emissions);
    std::vector<float> expected;
    for (size_t i = 0; i < 2 * positions; ++i) {
      const double weight = weights[i % positions];
      expected.push_back(weight == 0 ? nan_f32 : static_cast<float>(sums[i] / weight));
    }
    REQUIRE(emissions.size() == 1);
    CHECK(difference(com_of(emissions[0]), expected) == "");
  });
}

TEST_CASE(
    "what counts in a partial with count: count times mean, once a position, where there is a frame and a value") {
  ComReducer reducer;
  const ComReduceOptions options = reduce_options(stemline::scalar_backend);
  std::vector<ComEmission> emissions;
  // Position 0: two frames, counted once. 1: a value but count 0, as replace_nans leaves it. 2: count without value.
  // 3: no frame in this message. 4: only one of the two means.
  Batch first = row_scan(1, 6, {0, 0, 1, 2, 4});
  check_ok(add(reducer,
               message_of(first, {2, 5, nan_f32, 3, 4, 1, 1, 5, nan_f32, 3, nan_f32, 1},
                          std::vector<uint32_t>{3, 0, 7, 9, 2, 0}),
               options, emissions));
  Batch second = row_scan(1, 6, {0});
  check_ok(
      add(reducer, message_of(second, std::vector<float>(12, 6), std::vector<uint32_t>(6, 1)), options, emissions));
  reducer.flush(options, pool(), emissions);
  const std::vector<float> expected{3,     nan_f32, nan_f32, nan_f32, nan_f32, nan_f32,
                                    2.25f, nan_f32, nan_f32, nan_f32, nan_f32, nan_f32};
  CHECK(difference(com_of(emissions.at(0)), expected) == "");
}

TEST_CASE("the latest frame shape is told") {
  ComReducer reducer;
  const ComReduceOptions options = reduce_options(stemline::scalar_backend);
  std::vector<ComEmission> emissions;
  check_ok(add(reducer, partial_message(row_scan(1, 3, {0})), options, emissions));
  Batch other = row_scan(1, 3, {1});
  other.frame_rows = 5;
  other.frame_columns = 4;
  check_ok(add(reducer, partial_message(other), options, emissions));
  reducer.flush(options, pool(), emissions);
  CHECK(text_of(copy_of(emissions.at(0).meta)) == meta_text(other, "{}"));
}

TEST_CASE("headers are kept only while they are asked for") {
  ComReducer reducer;
  ComReduceOptions options = reduce_options(stemline::scalar_backend);
  std::vector<ComEmission> emissions;
  const Batch a = row_scan(1, 3, {0}), b = row_scan(1, 3, {1, 0}), c = row_scan(1, 3, {0});
  check_ok(add(reducer, partial_message(a), options, emissions));
  options.include_headers = true;
  check_ok(add(reducer, partial_message(b), options, emissions));
  check_ok(add(reducer, partial_message(c), options, emissions));
  reducer.flush(options, pool(), emissions);
  CHECK(difference(text_of(copy_of(emissions.at(0).meta)), meta_text(a, headers_text(a, {b, c}))) == "");
}

TEST_CASE("a refused message says why and leaves the state as it was") {
  struct Refused {
    std::string name;
    Message message;
    StatusCode code;
    std::vector<std::string> parts;
  };
  const Batch good = row_scan(1, 3, {0, 1});
  const Message message = partial_message(good);
  std::vector<Refused> refusals;
  const auto with_meta = [&](const std::string& name, const reference::Value& value, StatusCode code,
                             std::vector<std::string> parts) {
    refusals.push_back({name, {bytes_of(reference::json_text(value)), message.data}, code, std::move(parts)});
  };
  refusals.push_back({"no JSON", {bytes_of("hello"), message.data}, StatusCode::malformed, {"JSON"}});
  refusals.push_back(
      {"truncated JSON", {{message.meta.begin(), message.meta.end() - 1}, message.data}, StatusCode::truncated, {}});
  refusals.push_back({"no meta", {{}, message.data}, StatusCode::truncated, {}});
  reference::Value value = batch_value(good);
  value.at("headers").items[1].at("STEM_x_position_in_row") = reference::Value::of(3);
  with_meta("position", value, StatusCode::scan_position, {"frame 1", "column 3", "1 x 3"});
  value = batch_value(good);
  value.at("headers").items.clear();
  with_meta("no frames", value, StatusCode::empty_batch, {});
  value = batch_value(good);
  value.at("batch_size_bytes").integer += 4;
  with_meta("size", value, StatusCode::size_mismatch, {"12", "8"});
  value = batch_value(row_scan(1, 4, {0, 1}));
  with_meta("arrays of another scan", value, StatusCode::npz_invalid, {"com", "(2, 1, 3)", "(2, 1, 4)"});
  refusals.push_back({"another scan shape",
                      partial_message(row_scan(1, 4, {0})),
                      StatusCode::scan_changed,
                      {"scan 1", "1 x 3", "1 x 4"}});
  const auto com = reference::write_npy(reference::npy_array("<f4", {2, 1, 3}, std::vector<float>(6, 1)));
  const auto with_data = [&](const std::string& name, Bytes data, StatusCode code, std::vector<std::string> parts) {
    refusals.push_back({name, {message.meta, std::move(data)}, code, std::move(parts)});
  };
  with_data("no data", {}, StatusCode::npz_invalid, {"0 bytes"});
  with_data("cut data", {message.data.begin(), message.data.end() - 1}, StatusCode::npz_layout, {});
  with_data("no com", reference::write_zip({{"count.npy", com}}), StatusCode::npz_invalid, {"\"com\""});
  with_data("flat com",
            reference::write_zip({{"com.npy", write_npy(reference::npy_array("<f4", {6}, std::vector<float>(6, 1)))}}),
            StatusCode::npz_invalid, {"(6)", "(2, 1, 3)"});
  with_data(
      "float64 com",
      reference::write_zip({{"com.npy", write_npy(reference::npy_array("<f8", {2, 1, 3}, std::vector<double>(6, 1)))}}),
      StatusCode::npz_layout, {});
  with_data("count shape",
            reference::write_zip(
                {{"com.npy", com},
                 {"count.npy", write_npy(reference::npy_array("<u4", {3, 1}, std::vector<uint32_t>(3, 1)))}}),
            StatusCode::npz_invalid, {"count", "(3, 1)", "(1, 3)"});
  with_data(
      "count type",
      reference::write_zip({{"com.npy", com},
                            {"count.npy", write_npy(reference::npy_array("<i8", {1, 3}, std::vector<int64_t>(3, 1)))}}),
      StatusCode::npz_layout, {});
  Bytes damaged = message.data;
  damaged[200] ^= 1;
  with_data("checksum", damaged, StatusCode::npz_invalid, {"com", "checksum"});

  for_each_backend([&](const Backend& backend) {
    ComReduceOptions options = reduce_options(backend, 3);
    options.include_headers = true;
    options.max_concurrent_scans = 1;
    ComReducer control, reducer;
    std::vector<ComEmission> expected, emissions;
    check_ok(add(control, message, options, expected));
    check_ok(add(reducer, message, options, emissions));
    for (const Refused& refused : refusals) {
      INFO("refused: ", refused.name);
      check_refused(add(reducer, refused.message, options, emissions), refused.code, refused.parts);
      CHECK(emissions.empty());
      CHECK(reducer.scans_under_way() == 1);
      // A new scan that is refused pushes nothing out.
      Message other = refused.message;
      std::string text = text_of(other.meta);
      if (const size_t at = text.find("\"scan_number\":1");
          at != std::string::npos && refused.code != StatusCode::scan_changed) {
        other.meta = bytes_of(text.replace(at, 15, "\"scan_number\":9"));
        check_refused(add(reducer, other, options, emissions), refused.code, refused.parts);
        CHECK(emissions.empty());
        CHECK(reducer.scans_under_way() == 1);
      }
    }
    ComReduceOptions none = options;
    none.max_concurrent_scans = 0;
    check_refused(add(reducer, message, none, emissions), StatusCode::invalid_argument, {"maxConcurrentScans", "0"});
    // Two more messages are the third of the scan: the refused ones were not counted.
    for (int i = 0; i < 2; ++i) {
      check_ok(add(control, message, options, expected));
      check_ok(add(reducer, message, options, emissions));
      CHECK(emissions.size() == expected.size());
    }
    REQUIRE(emissions.size() == 1);
    CHECK(same_bits(copy_of(emissions[0].meta), copy_of(expected[0].meta)));
    CHECK(same_bits(copy_of(emissions[0].data), copy_of(expected[0].data)));
  });
}

TEST_CASE("a header that claims a large scan allocates nothing without the arrays") {
  const Message message = partial_message(row_scan(1, 3, {0}));
  Batch large = row_scan(1, 1 << 24, {0});
  const Bytes meta = bytes_of(reference::json_text(batch_value(large)));
  ComReducer reducer;
  std::vector<ComEmission> emissions;
  const AllocationMeter meter;
  const Status status = reducer.add(meta, message.data, reduce_options(stemline::scalar_backend), pool(), emissions);
  CHECK(meter.bytes() < 100'000);
  check_refused(status, StatusCode::npz_invalid);
}

TEST_CASE("changed partial messages never crash and are all or nothing") {
  for_random_cases("changed partials", 1500, [](Random& random) {
    BatchKnobs knobs = scan_knobs(random);
    knobs.max_scan_side = 3;
    knobs.max_frames_per_position = 2;
    const Batch scan = random_batch(random, knobs);
    Message message = partial_message(scan);
    for (int64_t changes = random.between(1, 3); changes > 0; --changes) {
      Bytes& target = random.chance(0.7) ? message.meta : message.data;
      target[random.below(target.size())] = static_cast<uint8_t>(
          random.chance(0.5) ? random.bits()
                             : static_cast<uint64_t>(random.pick<char>({'0', '9', '"', '{', ']', ',', ' '})));
    }
    std::string outcome;
    for_each_backend([&](const Backend& backend) {
      ComReducer reducer;
      ComReduceOptions options = reduce_options(backend, 1);
      options.include_headers = true;
      std::vector<ComEmission> emissions;
      const Status status = add(reducer, message, options, emissions);
      CHECK(emissions.size() == (status.ok() ? 1u : 0u));
      if (!status.ok()) CHECK(reducer.scans_under_way() == 0);
      std::string got = code_name(status.code) + status.message;
      if (!emissions.empty()) {
        got += text_of(copy_of(emissions[0].meta)) + text_of(copy_of(emissions[0].data));
        reference::JsonParser(text_of(copy_of(emissions[0].meta))).parse();
      }
      if (outcome.empty()) outcome = got;
      CHECK((got == outcome));
    });
  });
}

TEST_CASE("counts of analyses are added up, whatever the split and the order") {
  for_random_cases("counts", 150, [](Random& random) {
    const Batch scan = random_batch(random, scan_knobs(random));
    std::vector<Batch> messages = split(random, scan);
    const std::string expected = expected_sums(scan);
    const std::vector<float> means = center_of_mass(scan, {}).com;
    for_each_backend([&](const Backend& backend) {
      ComReducer reducer;
      const ComReduceOptions options = reduce_options(backend);
      std::vector<ComEmission> emissions;
      for (const Batch& message : messages) check_ok(add(reducer, analysis_message(message), options, emissions));
      reducer.flush(options, pool(), emissions);
      REQUIRE(emissions.size() == 1);
      CHECK(difference(sums_of(emissions[0], all_names), expected) == "");
      const auto arrays = reference::read_npz(copy_of(emissions[0].data));
      CHECK(difference(arrays.at("com.npy").as<float>(), means) == "");
    });
  });
}

TEST_CASE("counts of a scan are emitted on the way, kept apart from another's, and begin anew with the scan") {
  ComReducer reducer;
  const ComReduceOptions options = reduce_options(stemline::scalar_backend, 1);
  std::vector<ComEmission> emissions;
  const Batch a = row_scan(1, 2, {0}), b = row_scan(1, 2, {1}, 9), other = row_scan(2, 3, {2}, 10);
  Batch both = a;
  both.frames.push_back(b.frames[0]);
  for (int round = 0; round < 2; ++round) {
    emissions.clear();
    check_ok(add(reducer, analysis_message(a), options, emissions));
    check_ok(add(reducer, analysis_message(other), options, emissions));
    check_ok(add(reducer, analysis_message(b), options, emissions));
    REQUIRE(emissions.size() == 3);
    CHECK(sums_of(emissions[0], all_names) == expected_sums(a));
    CHECK(sums_of(emissions[2], all_names) == expected_sums(both));
    CHECK(emissions[2].complete);
  }
}

TEST_CASE("what is counted: uint32 of the scan's or the frames' shape, also of a sender that we do not know") {
  const Batch scan = row_scan(1, 2, {0});
  const auto array = [](const std::string& descr, std::vector<uint64_t> shape, const auto& values) {
    return write_npy(reference::npy_array(descr, std::move(shape), values));
  };
  const std::vector<uint32_t> two{4294967295, 7}, pixels(21, 4294967295);
  const Bytes com = array("<f4", {2, 1, 2}, std::vector<float>(4, 1));
  const Bytes meta = bytes_of(reference::json_text(batch_value(scan)));
  std::vector<std::pair<std::string, Bytes>> members{{"mine.npy", array("<u4", {1, 2}, two)},
                                                     {"com.npy", com},
                                                     {"flat.npy", array("<u4", {2}, two)},
                                                     {"turned.npy", array("<u4", {2, 1}, two)},
                                                     {"frame.npy", array("<u4", {3, 7}, pixels)}};
  const Message message{meta, reference::write_zip(members)};
  // Of another type, or no array at all: for the general reader, which leaves it out.
  std::vector<Message> others;
  for (const auto& [name, bytes] : std::vector<std::pair<std::string, Bytes>>{{"signed.npy", array("<i4", {1, 2}, two)},
                                                                             {"wide.npy", array("<u8", {1, 2}, std::vector<uint64_t>{1, 2})},
                                                                             {"notes.txt", bytes_of("no array")}}) {
    members.emplace_back(name, bytes);
    others.push_back({meta, reference::write_zip(members)});
    members.pop_back();
  }
  for_each_backend([&](const Backend& backend) {
    ComReducer reducer;
    ComReduceOptions options = reduce_options(backend, 3);
    std::vector<ComEmission> emissions;
    for (int i = 0; i < 3; ++i) {
      for (const Message& other : others) check_refused(add(reducer, other, options, emissions), StatusCode::npz_layout);
      check_ok(add(reducer, message, options, emissions));
    }
    REQUIRE(emissions.size() == 1);
    std::string expected = "mine (1,2) 12884901885 21; frame (3,7)";
    for (int i = 0; i < 21; ++i) expected += " 12884901885";
    CHECK(sums_of(emissions[0], {"mine", "frame"}) == expected + "; ");
  });
}

TEST_CASE("a message with other counts than its scan's is refused, names both and changes nothing") {
  const auto renamed = [](const std::string& name) {
    std::vector<reference::Detector> list = detectors();
    list[1].name = name;
    return list;
  };
  const Batch first = row_scan(1, 3, {0}), second = row_scan(1, 3, {1});
  Batch turned = second;
  std::swap(turned.frame_rows, turned.frame_columns);
  std::vector<reference::Detector> swapped{detectors()[1], detectors()[0]}, more = detectors();
  more.push_back({"third", true, 0, 0, 0, 1, {}});
  PartialRun positions;
  {
    stemline::ComPartialOptions form;
    form.form = stemline::ComPartialForm::positions;
    positions = run_partial(second, form);
    check_ok(positions.status);
  }
  const std::vector<std::pair<Message, std::string>> others{
      {partial_message(second), "this message has: none"},
      {{positions.meta, positions.data}, "this message has: none"},
      {analysis_message(second, {}), "this message has: events (1, 3), pattern (3, 7)"},
      {analysis_message(second, renamed("else")), "this message has: events (1, 3), pattern (3, 7), inner (1, 3), else (1, 3)"},
      {analysis_message(second, swapped), "outer (1, 3), inner (1, 3)"},
      {analysis_message(second, more), "outer (1, 3), third (1, 3)"},
      {analysis_message(turned), "pattern (7, 3)"},
  };
  ComReducer reducer, plain;
  const ComReduceOptions options = reduce_options(stemline::scalar_backend);
  std::vector<ComEmission> emissions;
  check_ok(add(reducer, analysis_message(first), options, emissions));
  check_ok(add(plain, partial_message(first), options, emissions));
  for (const auto& [message, text] : others) {
    check_refused(add(reducer, message, options, emissions), StatusCode::scan_changed,
                  {"scan 1 has these counts so far: events (1, 3), pattern (3, 7), inner (1, 3), outer (1, 3)", text});
    CHECK(emissions.empty());
  }
  check_refused(add(plain, analysis_message(second), options, emissions), StatusCode::scan_changed,
                {"has these counts so far: none", "inner (1, 3)"});
  check_ok(add(reducer, analysis_message(second), options, emissions));
  reducer.flush(options, pool(), emissions);
  plain.flush(options, pool(), emissions);
  REQUIRE(emissions.size() == 2);
  Batch both = first;
  both.frames.push_back(second.frames[0]);
  CHECK(sums_of(emissions[0], all_names) == expected_sums(both));
  CHECK(emissions[0].messages == 2);
  CHECK(emissions[1].messages == 1);
  CHECK(reference::read_npz(copy_of(emissions[1].data)).size() == 1);
}

TEST_CASE("damaged counts are refused, and begin no scan") {
  Message message = analysis_message(row_scan(1, 3, {0, 1}));
  const std::string name = "outer.npy";
  const auto found = std::search(message.data.begin(), message.data.end(), name.begin(), name.end());
  REQUIRE(found != message.data.end());
  *(found + 100) ^= 1;
  ComReducer reducer;
  std::vector<ComEmission> emissions;
  check_refused(add(reducer, message, reduce_options(stemline::scalar_backend), emissions), StatusCode::npz_invalid, {"outer", "checksum"});
  CHECK(reducer.scans_under_way() == 0);
}
