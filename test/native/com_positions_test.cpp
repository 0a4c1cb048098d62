// The form of a COMPartial message that has the positions of its batch alone: its bytes against their description, and
// what it makes of a scan against the form that has the whole scan.
#include "com_positions.h"

#include "center_of_mass_reduce.h"
#include "helpers/allocation_meter.h"
#include "helpers/partial.h"
#include "helpers/random_batch.h"
#include "helpers/reduce.h"
#include "reference/com_positions.h"

using namespace helpers;
using reference::Batch;
using reference::ComOptions;
using reference::Frame;
using reference::Value;
using stemline::Backend;
using stemline::ComEmission;
using stemline::ComPartialForm;
using stemline::ComReduceOptions;
using stemline::ComReducer;
using stemline::Status;
using stemline::StatusCode;

namespace {

constexpr float nan_f32 = std::numeric_limits<float>::quiet_NaN();

Message partial_message(const Batch& batch, ComPartialForm form, const Backend& backend = stemline::scalar_backend,
                        const ComOptions& options = {}, bool drop = false) {
  stemline::ComPartialOptions converted = partial_options(options, backend, drop);
  converted.form = form;
  PartialRun run = run_partial(batch, converted);
  check_ok(run.status);
  return {run.meta, run.data};
}

// Everything that emissions say.
std::string said(const std::vector<ComEmission>& emissions) {
  std::string text;
  for (const ComEmission& emission : emissions) {
    text += emission.scan_number.text() + " " + std::to_string(emission.messages) + " " + std::to_string(emission.frames) + " " +
            std::to_string(emission.positions_seen) + (emission.complete ? " complete" : "") + (emission.evicted ? " evicted " : " ") +
            text_of(copy_of(emission.meta)) + text_of(copy_of(emission.data)) + "\n";
  }
  return text;
}

// 2 x 3 positions, 10 x 6 pixels; five frames at positions 1, 4, 1, 0, 4, the last but one without events.
Batch small_batch() {
  Batch batch;
  batch.scan_rows = 2;
  batch.scan_columns = 3;
  batch.frame_rows = 10;
  batch.frame_columns = 6;
  for (const Int position : {1, 4, 1, 0, 4}) {
    Frame frame;
    frame.row = position / 3;
    frame.column = position % 3;
    frame.events = {7, 13, static_cast<double>(59 - batch.frames.size())};
    frame.frame_number = static_cast<Int>(100 + batch.frames.size());
    batch.frames.push_back(frame);
  }
  batch.frames[3].events.clear();
  return batch;
}

}  // namespace

TEST_CASE("the message of a small batch, byte for byte") {
  const Message message = partial_message(small_batch(), ComPartialForm::positions);
  CHECK(text_of(message.meta) ==
        "{\"format\":\"stemline-com-partial-1\",\"scan_number\":1,\"frame_scan_number\":1,\"scan_shape\":[2,3],"
        "\"frame_shape\":[10,6],\"dtype\":\"uint32\",\"batch_size_bytes\":48,\"total_batches\":null,"
        "\"total_frames\":null,\"current_batch_index\":null,\"modules\":[[0,1,2,3]],\"columns\":["
        "[\"position\",\"<u4\",3],[\"count\",\"<u4\",3],[\"mean_column\",\"<f4\",3],[\"mean_row\",\"<f4\",3],"
        "[\"entry\",\"<u4\",5],[\"size\",\"<u4\",5],[\"frame_number\",\"<u8\",5]]}");
  Bytes expected;
  const auto put = [&]<class T>(const std::vector<T>& values) {
    for (const T value : values) {
      const uint8_t* const bytes = reinterpret_cast<const uint8_t*>(&value);
      expected.insert(expected.end(), bytes, bytes + sizeof value);
    }
  };
  // Each column of odd length ends with four zero bytes. Columns of events: 1, 1 and 5; 1, 1 and 3; 1, 1, 4; 1, 1, 1.
  put(std::vector<uint32_t>{0, 1, 4, 0});
  put(std::vector<uint32_t>{0, 6, 6, 0});
  put(std::vector<float>{nan_f32, 12 / 6.0f, 9 / 6.0f, 0});
  put(std::vector<float>{nan_f32, 24 / 6.0f, 24 / 6.0f, 0});
  put(std::vector<uint32_t>{1, 2, 1, 0, 2, 0});
  put(std::vector<uint32_t>{12, 12, 12, 0, 12, 0});
  put(std::vector<uint64_t>{100, 101, 102, 103, 104});
  CHECK(difference(message.data, expected) == "");
}

TEST_CASE("numbers below zero, beyond 2^63 and absent, and lists of modules, have columns of their own") {
  Batch batch = small_batch();
  batch.frames[0].frame_number.reset();
  batch.frames[1].frame_number = -3;
  batch.frames[2].frame_number = (Int{1} << 64) - 3;
  batch.frames[3].modules = {};
  const Message message = partial_message(batch, ComPartialForm::positions);
  const reference::ComPositionsMessage expected = com_positions(batch, center_of_mass(batch, {}));
  CHECK(difference(text_of(message.meta), reference::json_text(expected.meta)) == "");
  CHECK(difference(message.data, expected.data) == "");
  stemline::ComPositions read;
  check_ok(read_com_positions(message.meta, message.data, true, pool(), read));
  CHECK(difference(text_of(copy_of(encode_batch_header_json(read.header, pool()))), reference::json_text(batch_value(batch))) == "");
}

TEST_CASE("messages are as described, on every backend, whatever is cropped or dropped") {
  for_random_cases("positions form", 300, [](Random& random) {
    BatchKnobs knobs;
    knobs.outside_scan = random.pick<double>({0, 0, 0.1});
    knobs.max_events = random.pick<int64_t>({1, 40, 90});
    knobs.empty = random.pick<double>({0, 0.1, 0.9});
    const Batch batch = random_batch(random, knobs);
    ComOptions options = random_com_options(random, batch);
    options.replace_nans = false;
    Batch valid = batch;
    std::erase_if(valid.frames, [&](const Frame& frame) {
      return frame.row < 0 || frame.row >= batch.scan_rows || frame.column < 0 || frame.column >= batch.scan_columns;
    });
    if (valid.frames.empty()) return;
    const reference::ComPositionsMessage expected = com_positions(valid, center_of_mass(valid, options));
    for_each_backend([&](const Backend& backend) {
      const Message message = partial_message(batch, ComPartialForm::positions, backend, options, true);
      Value meta = reference::JsonParser(text_of(message.meta)).parse();
      // Lists of modules that only dropped frames have are there as well.
      if (valid.frames.size() == batch.frames.size()) {
        CHECK(difference(text_of(message.meta), reference::json_text(expected.meta)) == "");
        CHECK(difference(message.data, expected.data) == "");
      }
      stemline::ComPositions read;
      GuardedBytes guarded_meta(message.meta), guarded_data(message.data);
      check_ok(read_com_positions(guarded_meta.span(), guarded_data.span(), true, pool(), read));
      CHECK(difference(text_of(copy_of(encode_batch_header_json(read.header, pool()))),
                       reference::json_text(batch_value(valid))) == "");
    });
  });
}

TEST_CASE("either form, in any mix, split and order, gives the same maps, byte for byte") {
  for_random_cases("both forms", 400, [](Random& random) {
    BatchKnobs knobs;
    knobs.small_frames_only = random.chance(0.7);
    knobs.max_events = random.pick<int64_t>({1, 20, 60});
    knobs.max_frames_per_position = random.between(1, 6);
    knobs.missing = random.pick<double>({0, 0, 0.2});
    knobs.empty = random.pick<double>({0, 0.3, 0.9});
    knobs.outside_scan = random.pick<double>({0, 0, 0.1});
    // Sums at a position beyond 2^23, which a float32 mean no longer gives back exactly.
    knobs.long_frame = knobs.small_frames_only ? 0 : 0.1;
    std::vector<Batch> messages;
    for (Int scan_number = 1, scans = random.between(1, 3); scan_number <= scans; ++scan_number) {
      Batch scan = random_batch(random, knobs);
      scan.scan_number = scan_number;
      const size_t first = messages.size(), count = static_cast<size_t>(random.between(1, 8));
      for (size_t i = 0; i < count; ++i) {
        messages.push_back(scan);
        messages.back().frames.clear();
      }
      for (const Frame& frame : scan.frames) messages[first + random.below(count)].frames.push_back(frame);
    }
    std::erase_if(messages, [](const Batch& message) {
      return std::none_of(message.frames.begin(), message.frames.end(), [&](const Frame& frame) {
        return frame.row >= 0 && frame.row < message.scan_rows && frame.column >= 0 && frame.column < message.scan_columns;
      });
    });
    random.shuffle(messages);
    ComOptions crop = messages.empty() ? ComOptions{} : random_com_options(random, messages[0]);
    crop.replace_nans = false;
    const double headers = random.pick<double>({0, 0.5, 1});
    ComReduceOptions options;
    options.emit_every = random.between(0, 4);
    options.max_concurrent_scans = static_cast<uint64_t>(random.between(1, 3));
    options.replace_nans = random.chance(0.5);

    for_each_backend([&](const Backend& backend) {
      options.backend = &backend;
      ComReducer classic, lane, mixed;
      std::vector<ComEmission> of_classic, of_lane, of_mixed;
      for (const Batch& message : messages) {
        // Changed while the scan is under way.
        options.include_headers = random.chance(headers);
        const Message scan = partial_message(message, ComPartialForm::scan, backend, crop, true);
        const Message positions = partial_message(message, ComPartialForm::positions, backend, crop, true);
        check_ok(add(classic, scan, options, of_classic));
        check_ok(add(lane, positions, options, of_lane));
        check_ok(add(mixed, random.chance(0.5) ? scan : positions, options, of_mixed));
      }
      for (ComReducer* reducer : {&classic, &lane, &mixed}) {
        reducer->flush(options, pool(), reducer == &classic ? of_classic : reducer == &lane ? of_lane : of_mixed);
      }
      CHECK(difference(said(of_lane), said(of_classic)) == "");
      CHECK(difference(said(of_mixed), said(of_classic)) == "");
    });
  });
}

TEST_CASE("a batch all of whose frames are dropped has no position, which the reader refuses as it does in the other form") {
  Batch batch = small_batch();
  for (Frame& frame : batch.frames) frame.row = 7;
  for (const ComPartialForm form : {ComPartialForm::scan, ComPartialForm::positions}) {
    ComReducer reducer;
    std::vector<ComEmission> emissions;
    const Message message = partial_message(batch, form, stemline::scalar_backend, {}, true);
    check_refused(add(reducer, message, {}, emissions), StatusCode::empty_batch, {"at least one frame"});
  }
}

TEST_CASE("missing values cannot be filled where only the positions of the batch are") {
  stemline::ComPartialOptions options;
  options.form = ComPartialForm::positions;
  options.replace_nans = true;
  check_refused(run_partial(small_batch(), options).status, StatusCode::invalid_argument, {"replaceNaNs"});
}

TEST_CASE("neither writer nor reader allocates by the size of the scan") {
  Batch batch = small_batch();
  batch.scan_rows = batch.scan_columns = 4096;
  stemline::ComPartialOptions options;
  options.form = ComPartialForm::positions;
  const Bytes meta = reference::msgpack(batch_value(batch)), data = batch_data(batch);
  const AllocationMeter meter;
  stemline::ComPartialResult result;
  const auto fresh = stemline::BufferPool::create(0);
  // Between its lowest and its highest position a batch takes 28 bytes each.
  check_ok(center_of_mass_partial(meta, data, options, *fresh, result));
  stemline::ComPositions read;
  check_ok(read_com_positions(result.meta.bytes(), result.data.bytes(), true, *fresh, read));
  CHECK(meter.bytes() < 500'000);
}

TEST_CASE("a length that the data cannot hold allocates nothing") {
  const Message message = partial_message(small_batch(), ComPartialForm::positions);
  for (const std::string claimed : {"4000000000", "18446744073709551615"}) {
    for (const std::string column : {"\"position\",\"<u4\",3", "\"entry\",\"<u4\",5"}) {
      std::string text = text_of(message.meta);
      const size_t at = text.find(column) + column.size() - 1;
      text.replace(at, 1, claimed);
      stemline::ComPositions read;
      const AllocationMeter meter;
      const Status status = read_com_positions(bytes_of(text), message.data, true, pool(), read);
      CHECK(meter.bytes() < 10'000);
      check_refused(status, StatusCode::size_mismatch, {claimed});
    }
  }
}

TEST_CASE("a message that contradicts itself is refused by name and number, and leaves the state as it was") {
  const Batch batch = small_batch();
  const Message good = partial_message(batch, ComPartialForm::positions);
  const Value meta = reference::JsonParser(text_of(good.meta)).parse();
  const reference::ComArrays arrays = center_of_mass(batch, {});
  struct Refused {
    Message message;
    StatusCode code;
    std::vector<std::string> parts;
  };
  std::vector<Refused> refusals;
  const auto with_meta = [&](const Value& value, StatusCode code, std::vector<std::string> parts) {
    refusals.push_back({{bytes_of(reference::json_text(value)), good.data}, code, std::move(parts)});
  };
  const auto with_member = [&](const std::string& member, const Value& value, StatusCode code, std::vector<std::string> parts) {
    Value changed = meta;
    changed.at(member) = value;
    with_meta(changed, code, std::move(parts));
  };
  // A word of the data, counted in four bytes; columns of three entries have four, of five frames six.
  const auto with_word = [&](size_t word, auto value, StatusCode code, std::vector<std::string> parts) {
    static_assert(sizeof value == 4);
    Bytes data = good.data;
    std::memcpy(data.data() + 4 * word, &value, 4);
    refusals.push_back({{good.meta, std::move(data)}, code, std::move(parts)});
  };
  constexpr size_t position = 0, count = 4, mean_column = 8, mean_row = 12, entry = 16, size = 22;

  with_member("format", Value::of_text("stemline-com-partial-2"), StatusCode::unknown_format,
              {"format", "stemline-com-partial-1", "stemline-com-partial-2"});
  with_member("format", Value::of(1), StatusCode::wrong_type, {"format", "a string"});
  with_member("scan_shape", Value::of_array({Value::of(2)}), StatusCode::wrong_type, {"scan_shape", "two numbers"});
  with_member("scan_shape", Value::of_array({Value::of(2), Value::of(3), Value::of(1)}), StatusCode::wrong_type, {"scan_shape"});
  with_member("scan_shape", Value::of_array({Value::of(0), Value::of(3)}), StatusCode::size_mismatch, {"scan_shape is 0 x 3"});
  with_member("scan_shape", Value::of_array({Value::of(5000), Value::of(5000)}), StatusCode::too_large, {"5000 x 5000"});
  with_member("scan_shape", Value::of_array({Value::of(1), Value::of(3)}), StatusCode::scan_position,
              {"entry 2", "position 4", "1 x 3"});
  with_member("frame_shape", Value::of_array({Value::of(10), Value::of(70000)}), StatusCode::too_large, {"frame_shape", "70000"});
  with_member("dtype", Value::of_text("complex64"), StatusCode::unknown_dtype, {"dtype", "complex64"});
  with_member("dtype", Value::of_text("float64"), StatusCode::size_mismatch, {"frame 0", "size is 12", "float64"});
  with_member("batch_size_bytes", Value::of(52), StatusCode::size_mismatch, {"52", "48", "5 frames"});
  with_member("total_frames", Value::of_text("x"), StatusCode::wrong_type, {"total_frames"});
  with_member("modules", Value::of_array({}), StatusCode::missing_field, {"modules"});
  with_member("modules", Value::of_array({Value::of_array({}), Value::of_array({})}), StatusCode::missing_field, {"modules", "2"});
  for (const char* const member : {"scan_number", "scan_shape", "frame_shape", "dtype", "batch_size_bytes", "columns"}) {
    Value changed = meta;
    for (size_t i = 0; i < changed.items.size(); i += 2) {
      if (changed.items[i].text == member) changed.items[i].text = "other";
    }
    with_meta(changed, StatusCode::missing_field, {member});
  }
  const auto with_columns = [&](auto change, StatusCode code, std::vector<std::string> parts) {
    Value columns = meta.at("columns");
    change(columns.items);
    with_member("columns", columns, code, std::move(parts));
  };
  with_columns([](auto& columns) { columns.pop_back(); }, StatusCode::size_mismatch, {"152 bytes", "112"});
  with_columns([](auto& columns) { columns.resize(5); }, StatusCode::unknown_format, {"size", "missing"});
  with_columns([](auto& columns) { std::swap(columns[0], columns[1]); }, StatusCode::unknown_format, {"unexpected column", "count"});
  with_columns([](auto& columns) { columns.push_back(columns.back()); }, StatusCode::unknown_format, {"frame_number"});
  with_columns([](auto& columns) { columns[6].items[0].text = "mood"; }, StatusCode::unknown_format, {"mood"});
  with_columns([](auto& columns) { columns[2].items[1].text = "<f8"; }, StatusCode::unknown_format, {"mean_column", "<f8", "<f4"});
  with_columns([](auto& columns) { columns[1].items[2] = Value::of(4); }, StatusCode::size_mismatch, {"count", "4", "3"});
  with_columns([](auto& columns) { columns[5].items[2] = Value::of(-5); }, StatusCode::size_mismatch, {"size", "-5", "5"});
  with_columns([](auto& columns) { columns[5].items.pop_back(); }, StatusCode::wrong_type, {"columns", "length of a column"});
  with_columns([](auto& columns) { for (auto& column : columns) column.items[2] = Value::of(0); }, StatusCode::empty_batch, {});
  refusals.push_back({{good.meta, {good.data.begin(), good.data.end() - 8}}, StatusCode::size_mismatch, {"144", "152"}});
  refusals.push_back({{{good.meta.begin(), good.meta.end() - 1}, good.data}, StatusCode::truncated, {}});
  refusals.push_back({{bytes_of(text_of(good.meta) + "x"), good.data}, StatusCode::trailing_bytes, {}});

  with_word(position + 1, uint32_t{6}, StatusCode::scan_position, {"entry 1", "position 6", "2 x 3"});
  with_word(position + 1, uint32_t{0}, StatusCode::wrong_value, {"entry 1", "more than 0"});
  with_word(count + 1, uint32_t{7}, StatusCode::wrong_value, {"entry 1, scan position 1", "count is 7", "6 events"});
  with_word(mean_column + 1, nan_f32, StatusCode::wrong_value, {"entry 1", "6 events", "nan"});
  with_word(mean_column + 1, 5.5f, StatusCode::wrong_value, {"column 5.5", "10 x 6"});
  with_word(mean_row + 2, -1.0f, StatusCode::wrong_value, {"entry 2, scan position 4", "row -1"});
  with_word(mean_row + 2, std::numeric_limits<float>::infinity(), StatusCode::wrong_value, {"entry 2"});
  with_word(entry + 4, uint32_t{3}, StatusCode::wrong_value, {"frame 4", "entry is 3", "less than 3"});
  with_word(entry + 3, uint32_t{1}, StatusCode::wrong_value, {"entry 0", "no frame"});
  with_word(size + 2, uint32_t{13}, StatusCode::size_mismatch, {"frame 2", "size is 13", "uint32"});

  Batch mixed = batch;
  mixed.frames[0].frame_number.reset();
  mixed.frames[1].frame_number = -3;
  mixed.frames[2].modules = {};
  const reference::ComPositionsMessage odd = com_positions(mixed, arrays);
  const auto with_odd_byte = [&](size_t from_end, uint8_t value, std::vector<std::string> parts) {
    Bytes data = odd.data;
    data[data.size() - from_end] = value;
    refusals.push_back({{bytes_of(reference::json_text(odd.meta)), std::move(data)}, StatusCode::wrong_value, std::move(parts)});
  };
  with_odd_byte(8, 1, {});
  refusals.pop_back();  // a number 0 in place of none is sound
  with_odd_byte(7, 0, {"frame 1", "sign is 0", "18446744073709551613"});
  with_odd_byte(7, 2, {"frame 1", "sign is 2"});
  with_odd_byte(6, 255, {"frame 2", "sign is -1", "102"});
  with_odd_byte(8 + 40 + 24, 2, {"frame 0", "modules is 2", "less than 2"});
  Value signs_alone = odd.meta;
  Value& columns = signs_alone.at("columns");
  columns.items.erase(columns.items.end() - 2);
  refusals.push_back({{bytes_of(reference::json_text(signs_alone)), odd.data}, StatusCode::unknown_format, {"frame_number_sign"}});

  ComReduceOptions options;
  options.emit_every = 3;
  options.max_concurrent_scans = 1;
  options.include_headers = true;
  ComReducer reducer;
  std::vector<ComEmission> emissions;
  check_ok(add(reducer, good, options, emissions));
  check_ok(add(reducer, {bytes_of(reference::json_text(odd.meta)), odd.data}, options, emissions));
  for (const Refused& refused : refusals) {
    INFO("meta: ", text_of(refused.message.meta));
    check_refused(add(reducer, refused.message, options, emissions), refused.code, refused.parts);
    CHECK(emissions.empty());
    CHECK(reducer.scans_under_way() == 1);
  }
  // The third one: those between did not count.
  check_ok(add(reducer, good, options, emissions));
  REQUIRE(emissions.size() == 1);
  CHECK(emissions[0].frames == 15);
}

TEST_CASE("which form a message has is said by the first member of its meta") {
  const auto is_positions = [](const std::string& meta) {
    const GuardedBytes guarded(bytes_of(meta));
    return stemline::is_com_positions(guarded.span());
  };
  CHECK(is_positions(" {\"format\" :\"other\"}"));
  CHECK(is_positions("{\"format\":"));
  CHECK(!is_positions("{\"scan_number\":1,\"format\":\"stemline-com-partial-1\"}"));
  CHECK(!is_positions("{\"forma\":1}"));
  for (const char* broken : {"", " ", "{", "{\"", "{\"format", "{\"format\"", "[\"format\"]", "{}", "\"format\""}) CHECK(!is_positions(broken));
}

TEST_CASE("changed messages of this form never crash and are all or nothing") {
  for_random_cases("changed positions", 3000, [](Random& random) {
    BatchKnobs knobs;
    knobs.small_frames_only = true;
    knobs.max_scan_side = 3;
    Message message = partial_message(random_batch(random, knobs), ComPartialForm::positions);
    for (int64_t changes = random.between(1, 3); changes > 0; --changes) {
      Bytes& target = random.chance(0.5) ? message.meta : message.data;
      if (target.empty()) continue;
      target[random.below(target.size())] = static_cast<uint8_t>(
          random.chance(0.5) ? random.bits() : static_cast<uint64_t>(random.pick<char>({'0', '9', '"', '{', ']', ',', ' '})));
    }
    // A scan shape of one more digit is sound, but large.
    if (random.chance(0.1)) message.data.resize(random.below(message.data.size() + 20));
    ComReducer reducer;
    ComReduceOptions options;
    options.emit_every = 1;
    options.include_headers = true;
    std::vector<ComEmission> emissions;
    const Status status = add(reducer, message, options, emissions);
    CHECK(emissions.size() == (status.ok() ? 1u : 0u));
    if (!status.ok()) CHECK(reducer.scans_under_way() == 0);
    if (!emissions.empty()) reference::JsonParser(text_of(copy_of(emissions[0].meta))).parse();
  });
}
