// The partial kernel and the analysis on hostile messages, and on well-formed ones against their definition. The first byte of the input
// chooses: bit 0 clear: options, then a header's length, the header's bytes and the data; bit 0 set: the bytes steer a
// generator of batches. seed_corpus.cpp writes the first form.
#include "center_of_mass_partial.h"

#include <cmath>

#include "batch_header.h"
#include "center_of_mass_reduce.h"
#include "com_positions.h"
#include "input.h"
#include "npz.h"
#include "reference/event_counts.h"
#include "reference/json.h"
#include "reference/msgpack_encoder.h"
#include "reference/npz.h"
#include "scan_analysis.h"

using fuzz::require;
using namespace stemline;

namespace {

struct Outcome {
  Status status;
  reference::Bytes meta, data;
  uint64_t frames = 0, events = 0, dropped_frames = 0;
  std::string dropped_reason;

  bool operator==(const Outcome& other) const {
    return status.code == other.status.code && status.message == other.status.message && meta == other.meta &&
           data == other.data && frames == other.frames && events == other.events &&
           dropped_frames == other.dropped_frames && dropped_reason == other.dropped_reason;
  }
};

Outcome run(std::span<const uint8_t> meta, std::span<const uint8_t> data, ComPartialOptions options,
            const Backend& backend) {
  options.backend = &backend;
  ComPartialResult result;
  Outcome outcome;
  outcome.status = center_of_mass_partial(meta, data, options, fuzz::pool(), result);
  outcome.meta.assign(result.meta.data(), result.meta.data() + result.meta.size());
  outcome.data.assign(result.data.data(), result.data.data() + result.data.size());
  outcome.frames = result.frames;
  outcome.events = result.events;
  outcome.dropped_frames = result.dropped_frames;
  outcome.dropped_reason = result.dropped_reason;
  return outcome;
}

// What holds for every message that was accepted.
void check_result(const Outcome& outcome, const ComPartialOptions& options) {
  const auto arrays = reference::read_npz(outcome.data);
  require(arrays.size() == 2, "two arrays");
  const auto com = arrays.at("com.npy").as<float>();
  const auto count = arrays.at("count.npy").as<uint32_t>();
  require(com.size() == 2 * count.size(), "shapes fit");
  uint64_t counted = 0;
  for (size_t i = 0; i < count.size(); ++i) {
    counted += count[i];
    const bool no_value = std::isnan(com[i]);
    require(no_value == std::isnan(com[count.size() + i]), "both means or none");
    if (!options.replace_nans) require(no_value == (count[i] == 0), "NaN where nothing counts");
    require(
        no_value || (com[i] >= 0 && com[i] <= 65534 && com[count.size() + i] >= 0 && com[count.size() + i] <= 65534),
        "means inside the frame");
  }
  require(options.crop_to ? counted <= outcome.events : counted == outcome.events, "all events counted");
  reference::JsonParser(std::string(outcome.meta.begin(), outcome.meta.end())).parse();
  if (outcome.dropped_frames == outcome.frames) return;

  // The result is a message that the next operator takes.
  BatchHeader header;
  require(decode_batch_header(HeaderFormat::json, outcome.meta, fuzz::pool(), header).ok(), "own header decodes");
  require(header.frame_count == outcome.frames - outcome.dropped_frames, "all frames are in the header");
  require(check_positions(header).ok(), "own positions are inside");
  const PooledBuffer again = encode_batch_header_json(header, fuzz::pool());
  require(std::equal(outcome.meta.begin(), outcome.meta.end(), again.bytes().begin(), again.bytes().end()),
          "own header is written the same again");
  ComReducer reducer;
  std::vector<ComEmission> emissions;
  ComReduceOptions reduce;
  reduce.replace_nans = options.replace_nans;
  require(reducer.add(outcome.meta, outcome.data, reduce, fuzz::pool(), emissions).ok(), "reduce takes the result");
  reducer.flush(reduce, fuzz::pool(), emissions);
  require(emissions.size() == 1, "one emission");
}

// The result in the other form says the same.
void check_positions_form(std::span<const uint8_t> meta, std::span<const uint8_t> data, ComPartialOptions options,
                          const Outcome& scan_form) {
  options.form = ComPartialForm::positions;
  const Outcome outcome = run(meta, data, options, *fuzz::backends().front());
  require(outcome.status.code == scan_form.status.code, "both forms are refused or none");
  if (!outcome.status.ok() || outcome.dropped_frames == outcome.frames) return;
  ComPositions message;
  const Status status = read_com_positions(outcome.meta, outcome.data, true, fuzz::pool(), message);
  require(status.ok(), "own positions are read: " + status.message);
  const PooledBuffer header = encode_batch_header_json(message.header, fuzz::pool());
  require(std::equal(scan_form.meta.begin(), scan_form.meta.end(), header.bytes().begin(), header.bytes().end()), "same headers");
  const auto arrays = reference::read_npz(scan_form.data);
  const auto com = arrays.at("com.npy").as<float>();
  const auto count = arrays.at("count.npy").as<uint32_t>();
  uint64_t counted = 0, expected = 0;
  for (const uint32_t events : count) expected += events;
  for (size_t entry = 0; entry < message.columns.entries; ++entry) {
    const uint32_t position = message.positions()[entry];
    counted += message.counts()[entry];
    require(message.counts()[entry] == count[position], "same count");
    const float column = message.mean_columns()[entry], row = message.mean_rows()[entry];
    require(std::memcmp(&column, &com[position], 4) == 0 && std::memcmp(&row, &com[count.size() + position], 4) == 0, "same means");
  }
  require(counted == expected, "no position is left out");
}

// Where the two detectors of analyses meet: a disk in the middle of the frame, and all around it.
constexpr double border = 5.5;

// Larger frames only cost time.
constexpr uint64_t max_analysed_pixels = 1 << 14;

VirtualDetectors& detectors() {
  static const std::shared_ptr<VirtualDetectors> made = [] {
    std::shared_ptr<VirtualDetectors> created;
    const Status status = VirtualDetectors::create(
        {{"inner", Annulus{std::nullopt, 0, border}}, {"outer", Annulus{std::nullopt, border, 1e9}}}, analysis_array_names, created);
    require(status.ok(), "detectors are made");
    return created;
  }();
  return *made;
}

// An analysis has the arrays of the partial result, and further ones that fit them.
void check_analysis(std::span<const uint8_t> meta, std::span<const uint8_t> data, const ComPartialOptions& options, const Outcome& partial) {
  BatchHeader header;
  const bool decoded = decode_batch_header(HeaderFormat::msgpack, meta, fuzz::pool(), header).ok();
  if (decoded && header.frame_pixels() > max_analysed_pixels) return;
  reference::Bytes first;
  for (const Backend* backend : fuzz::backends()) {
    BatchOptions chosen = options;
    chosen.backend = backend;
    ScanAnalysisResult result;
    const Status status = scan_analysis(meta, data, chosen, detectors(), fuzz::pool(), result);
    require(status.code == partial.status.code && status.message == partial.status.message, "refused for the same reason, or not");
    if (!status.ok()) {
      require(result.data.size() == 0 && result.meta.size() == 0, "a refusal has no result");
      continue;
    }
    require(std::equal(partial.meta.begin(), partial.meta.end(), result.meta.bytes().begin(), result.meta.bytes().end()), "same header");
    require(result.events == partial.events && result.frames == partial.frames && result.dropped_frames == partial.dropped_frames,
            "same figures");
    const reference::Bytes bytes(result.data.data(), result.data.data() + result.data.size());
    if (backend == fuzz::backends().front()) first = bytes;
    require(bytes == first, std::string("backends analyse alike: ") + backend->name);
  }
  if (!partial.status.ok()) return;
  const auto arrays = reference::read_npz(first), expected = reference::read_npz(partial.data);
  require(arrays.size() == 6, "six arrays");
  require(arrays.at("count.npy").data == expected.at("count.npy").data, "same count");
  if (!options.replace_nans) require(arrays.at("com.npy").data == expected.at("com.npy").data, "same means");
  const auto counts = [&](const char* name) { return arrays.at(name).as<uint32_t>(); };
  const auto events = counts("events.npy"), pattern = counts("pattern.npy"), inner = counts("inner.npy"), outer = counts("outer.npy");
  uint64_t of_positions = 0, of_pixels = 0;
  for (size_t i = 0; i < events.size(); ++i) {
    of_positions += events[i];
    require(inner[i] + outer[i] == events[i], "each event is in one of two detectors that cover the frame");
  }
  for (const uint32_t count : pattern) of_pixels += count;
  require(of_positions == partial.events && of_pixels == partial.events, "every event is counted");
}

void check_message(std::span<const uint8_t> meta, std::span<const uint8_t> data, const ComPartialOptions& options) {
  const Outcome first = run(meta, data, options, *fuzz::backends().front());
  for (const Backend* backend : fuzz::backends()) {
    require(run(meta, data, options, *backend) == first, std::string("backends agree: ") + backend->name);
  }
  if (!options.replace_nans) check_positions_form(meta, data, options, first);
  check_analysis(meta, data, options, first);
  if (first.status.ok()) {
    check_result(first, options);
  } else {
    require(!first.status.message.empty(), "a refusal has a message");
    require(first.data.empty() && first.meta.empty(), "a refusal has no result");
  }
}

ComPartialOptions take_options(fuzz::Input& input, double rows, double columns) {
  ComPartialOptions options;
  const uint8_t flags = input.take<uint8_t>();
  // In quarters of a pixel, or any float.
  const auto coordinate = [&](double side) {
    if (flags & 64) return static_cast<double>(input.take<float>());
    return std::fmod(input.take<uint16_t>() / 4.0, side + 2);
  };
  if (flags & 1) options.crop_to = ComPartialOptions::Pair{coordinate(rows), coordinate(columns)};
  if (flags & 2) options.init_center = ComPartialOptions::Pair{coordinate(rows), coordinate(columns)};
  options.crop_shape = flags & 4 ? CropShape::disk : CropShape::box;
  options.replace_nans = flags & 8;
  options.drop_invalid_frames = flags & 16;
  return options;
}

void fuzz_bytes(fuzz::Input& input) {
  const ComPartialOptions options = take_options(input, 576, 576);
  const uint8_t repair = input.take<uint8_t>();
  const uint32_t meta_size = input.take<uint32_t>();
  const std::vector<uint8_t> meta = input.take_bytes(meta_size % 65536);
  std::vector<uint8_t> data = input.rest();
  BatchHeader header;
  if (decode_batch_header(HeaderFormat::msgpack, meta, fuzz::pool(), header).ok()) {
    if (header.scan_positions() > fuzz::max_scan_positions) return;
    // Sizes that add up are too rare to wait for: the data is cut or repeated to fit.
    if ((repair & 1) && header.batch_size_bytes < (1 << 18)) {
      const size_t given = data.size();
      data.resize(header.batch_size_bytes);
      for (size_t i = given; given > 0 && i < data.size(); ++i) data[i] = data[i % given];
      data.shrink_to_fit();
    }
    // Events inside the frame, likewise.
    if ((repair & 2) && header.event_size() == 4) {
      for (size_t i = 0; i + 4 <= data.size(); i += 4) {
        uint32_t event;
        std::memcpy(&event, data.data() + i, 4);
        event = static_cast<uint32_t>(event % header.frame_pixels());
        if (header.dtype == EventDtype::float32) {
          const float value = static_cast<float>(event & 0xffffff);
          std::memcpy(&event, &value, 4);
        }
        std::memcpy(data.data() + i, &event, 4);
      }
    }
  }
  check_message(meta, data, options);
}

void fuzz_generated(fuzz::Input& input) {
  static const std::vector<std::string> dtypes{"uint32", "int32", "uint16", "uint8", "float32", "float64"};
  static const std::vector<uint32_t> sides{1, 2, 3, 5, 7, 16, 31, 64, 127, 255, 256, 576, 577, 2047, 2896, 4096, 65535};
  reference::Batch batch;
  batch.dtype = dtypes[input.below(6)];
  batch.scan_rows = 1 + input.below(4);
  batch.scan_columns = 1 + input.below(4);
  batch.frame_rows = sides[input.below(static_cast<uint32_t>(sides.size()))];
  batch.frame_columns = sides[input.below(static_cast<uint32_t>(sides.size()))];
  const ComPartialOptions options =
      take_options(input, static_cast<double>(batch.frame_rows), static_cast<double>(batch.frame_columns));
  const uint64_t pixels = static_cast<uint64_t>(batch.frame_rows * batch.frame_columns);
  const uint64_t highest = std::min<uint64_t>(pixels - 1, batch.dtype == "uint8"     ? 255
                                                          : batch.dtype == "uint16"  ? 65535
                                                          : batch.dtype == "int32"   ? 2147483647
                                                          : batch.dtype == "float32" ? 16777216
                                                                                     : UINT32_MAX);
  const uint32_t frames = 1 + input.below(40);
  for (uint32_t f = 0; f < frames; ++f) {
    reference::Frame frame;
    const uint8_t kind = input.take<uint8_t>();
    frame.row = kind % static_cast<uint8_t>(batch.scan_rows);
    frame.column = (kind >> 2) % static_cast<uint8_t>(batch.scan_columns);
    if (kind & 128) frame.frame_number = input.take<uint32_t>();
    const uint32_t events = input.below(100);
    for (uint32_t e = 0; e < events; ++e)
      frame.events.push_back(static_cast<double>(input.take<uint32_t>() % (highest + 1)));
    batch.frames.push_back(std::move(frame));
  }
  const reference::Bytes meta = msgpack(batch_value(batch)), data = batch_data(batch);
  check_message(meta, data, options);

  reference::ComOptions expected_options;
  if (options.crop_to) {
    if (!std::isfinite(options.crop_to->x) || !std::isfinite(options.crop_to->y)) return;
    expected_options.crop_to = reference::Crop{options.crop_to->x, options.crop_to->y};
  }
  if (options.init_center) {
    if (!std::isfinite(options.init_center->x) || !std::isfinite(options.init_center->y)) return;
    expected_options.init_center = reference::Crop{options.init_center->x, options.init_center->y};
  }
  expected_options.disk = options.crop_shape == CropShape::disk;
  expected_options.replace_nans = options.replace_nans;
  const Outcome outcome = run(meta, data, options, *fuzz::backends().front());
  require(outcome.status.ok(), "a well-formed batch is accepted: " + outcome.status.message);
  require(std::string(outcome.meta.begin(), outcome.meta.end()) == reference::json_text(batch_value(batch)),
          "header text");
  const reference::ComArrays expected = center_of_mass(batch, expected_options);
  const auto arrays = reference::read_npz(outcome.data);
  require(arrays.at("count.npy").as<uint32_t>() == expected.count, "count");
  const auto com = arrays.at("com.npy").as<float>();
  require(com.size() == expected.com.size() && std::memcmp(com.data(), expected.com.data(), 4 * com.size()) == 0,
          "com");

  if (pixels > max_analysed_pixels) return;
  ScanAnalysisResult result;
  require(scan_analysis(meta, data, options, detectors(), fuzz::pool(), result).ok(), "a well-formed batch is analysed");
  const double middle_row = static_cast<double>(batch.frame_rows - 1) / 2, middle_column = static_cast<double>(batch.frame_columns - 1) / 2;
  const reference::EventCounts counts = count_events(batch, {{"inner", true, middle_row, middle_column, 0, border, {}}});
  const auto analysed = reference::read_npz({result.data.data(), result.data.data() + result.data.size()});
  require(analysed.at("events.npy").as<uint32_t>() == counts.events, "events of positions");
  require(analysed.at("pattern.npy").as<uint32_t>() == counts.pattern, "events of pixels");
  require(analysed.at("inner.npy").as<uint32_t>() == counts.detectors[0], "events of a detector");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  fuzz::Input input(bytes, size);
  if (input.flag()) {
    fuzz_generated(input);
  } else {
    fuzz_bytes(input);
  }
  return 0;
}
