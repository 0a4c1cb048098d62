// Batch headers: what is read, that MessagePack, JSON and the template path agree, and the JSON that is written.
#include "batch_header.h"

#include "helpers/allocation_meter.h"
#include "helpers/partial.h"
#include "helpers/random_batch.h"
#include "reference/json.h"
#include "reference/msgpack_encoder.h"

using namespace helpers;
using reference::Frame;
using reference::Value;
using stemline::BatchHeader;
using stemline::FrameRecord;
using stemline::HeaderFormat;
using stemline::Status;
using stemline::StatusCode;

namespace {

stemline::BufferPool& pool() {
  static const auto shared = stemline::BufferPool::create(size_t{64} << 20);
  return *shared;
}

Status decode(HeaderFormat format, const Bytes& bytes, BatchHeader& header) {
  GuardedBytes guarded(bytes);
  return decode_batch_header(format, guarded.span(), pool(), header);
}

Bytes encode(HeaderFormat format, const Value& value, const reference::JsonStyle& style = {}) {
  return format == HeaderFormat::msgpack ? reference::msgpack(value) : bytes_of(reference::json_text(value, style));
}

Int int_of(const stemline::WireInt& value) {
  return value.negative ? static_cast<Int>(static_cast<int64_t>(value.bits)) : static_cast<Int>(value.bits);
}

std::string optional_text(const std::optional<Int>& value) { return value ? reference::int_text(*value) : "none"; }
std::string optional_text(const std::optional<stemline::WireInt>& value) {
  return value ? reference::int_text(int_of(*value)) : "none";
}

Int clipped(Int value) { return value < 0 || value > 0xffffffff ? Int{0xffffffff} : value; }

// "" if the decoded header says what the batch does.
std::string compare(const BatchHeader& header, const reference::Batch& batch) {
  std::string got, expected;
  const auto add = [](std::string& text, const char* name, Int value) {
    text += std::string(name) + "=" + reference::int_text(value) + " ";
  };
  add(got, "scan", int_of(header.scan_number));
  add(expected, "scan", batch.scan_number);
  add(got, "frame_scan", int_of(header.frame_scan_number));
  add(expected, "frame_scan", batch.frame_scan_number);
  add(got, "rows", header.scan_rows);
  add(expected, "rows", batch.scan_rows);
  add(got, "columns", header.scan_columns);
  add(expected, "columns", batch.scan_columns);
  add(got, "frame_rows", header.frame_rows);
  add(expected, "frame_rows", batch.frame_rows);
  add(got, "frame_columns", header.frame_columns);
  add(expected, "frame_columns", batch.frame_columns);
  got += stemline::dtype_info(header.dtype).name;
  expected += batch.dtype;
  got += " " + optional_text(header.total_batches) + " " + optional_text(header.total_frames) + " " +
         optional_text(header.current_batch_index);
  expected += " " + optional_text(batch.total_batches) + " " + optional_text(batch.total_frames) + " " +
              optional_text(batch.current_batch_index);
  add(got, " frames", static_cast<Int>(header.frame_count));
  add(expected, " frames", static_cast<Int>(batch.frames.size()));
  size_t offset = 0;
  for (size_t i = 0; i < std::min(header.frame_count, batch.frames.size()); ++i) {
    const FrameRecord& record = header.frames()[i];
    const reference::Frame& frame = batch.frames[i];
    const size_t size = frame.events.size() * reference::event_size(batch.dtype);
    std::string modules = "[";
    for (const Int module : frame.modules) modules += (modules.size() > 1 ? "," : "") + reference::int_text(module);
    got += "\nframe " + std::to_string(i) + ": ";
    expected += "\nframe " + std::to_string(i) + ": ";
    add(got, "offset", static_cast<Int>(record.offset));
    add(expected, "offset", static_cast<Int>(offset));
    add(got, "size", record.size);
    add(expected, "size", static_cast<Int>(size));
    add(got, "row", record.row);
    add(expected, "row", clipped(frame.row));
    add(got, "column", record.column);
    add(expected, "column", clipped(frame.column));
    got += header.modules.at(record.modules) + " ";
    expected += modules + "] ";
    got += record.has_frame_number
               ? reference::int_text(int_of({record.frame_number, record.frame_number_negative != 0}))
               : "none";
    expected += optional_text(frame.frame_number);
    offset += size;
  }
  add(got, " bytes", static_cast<Int>(header.batch_size_bytes));
  add(expected, " bytes", static_cast<Int>(offset));
  return difference(got, expected);
}

reference::Batch small_batch(size_t frames = 4) {
  reference::Batch batch;
  batch.scan_rows = 2;
  batch.scan_columns = 3;
  batch.frame_rows = 5;
  batch.frame_columns = 7;
  for (size_t i = 0; i < frames; ++i) {
    reference::Frame frame;
    frame.row = static_cast<Int>(i % 2);
    frame.column = static_cast<Int>(i % 3);
    frame.events.assign(i, 3);
    batch.frames.push_back(frame);
  }
  return batch;
}

const HeaderFormat formats[] = {HeaderFormat::msgpack, HeaderFormat::json};
std::string format_name(HeaderFormat format) { return format == HeaderFormat::msgpack ? "MessagePack" : "JSON"; }

Status decode_value(HeaderFormat format, const Value& value) {
  BatchHeader header;
  return decode(format, encode(format, value), header);
}

}  // namespace

TEST_CASE("random headers in every spelling are read the same from MessagePack and JSON") {
  for_random_cases("random headers", 1500, [](Random& random) {
    BatchKnobs knobs;
    knobs.max_events = 5;
    knobs.outside_scan = random.chance(0.3) ? 0.2 : 0;
    const reference::Batch batch = random_batch(random, knobs);
    const Value value = respelt(random, batch_value(batch), random_spelling(random));
    for (const HeaderFormat format : formats) {
      const auto style = random_json_style(random, random.pick<double>({0, 0, 0.3}), random.pick<double>({0, 0, 0.2}));
      BatchHeader header;
      INFO("format: ", format_name(format));
      check_ok(decode(format, encode(format, value, style), header));
      CHECK(compare(header, batch) == "");
    }
  });
}

TEST_CASE("a frame is read the same among others as alone") {
  for_random_cases("frames alone", 150, [](Random& random) {
    BatchKnobs knobs;
    knobs.max_events = 5;
    const reference::Batch batch = random_batch(random, knobs);
    SpellingKnobs spelling = random_spelling(random);
    spelling.layouts = random.pick<size_t>({1, 2, 5, 16, 17, 30});
    const Value value = respelt(random, batch_value(batch), spelling);
    for (const HeaderFormat format : formats) {
      INFO("format: ", format_name(format));
      BatchHeader whole;
      check_ok(decode(format, encode(format, value), whole));
      for (size_t i = 0; i < batch.frames.size(); ++i) {
        Value single = value;
        single.remove("headers");
        single.remove("batch_size_bytes");
        single.add("headers", Value::of_array({value.at("headers").items[i]}));
        single.add("batch_size_bytes", Value::of(static_cast<Int>(whole.frames()[i].size)));
        BatchHeader alone;
        check_ok(decode(format, encode(format, single), alone));
        FrameRecord a = whole.frames()[i], b = alone.frames()[0];
        CHECK(whole.modules.at(a.modules) == alone.modules.at(b.modules));
        b.offset = a.offset;
        b.modules = a.modules;
        const auto text = [](const FrameRecord& r) {
          return std::to_string(r.row) + " " + std::to_string(r.column) + " " + std::to_string(r.size) + " " +
                 std::to_string(r.frame_number) + " " + std::to_string(r.has_frame_number) +
                 std::to_string(r.frame_number_negative);
        };
        CAPTURE(i);
        CHECK(text(a) == text(b));
      }
    }
  });
}

TEST_CASE("integers of every width and sign follow each other in one layout") {
  std::vector<Int> numbers;
  for (const Int border :
       {Int{1} << 7, Int{1} << 8, Int{1} << 15, Int{1} << 16, Int{1} << 31, Int{1} << 32, Int{1} << 63}) {
    for (Int beside = -2; beside <= 2; ++beside) {
      if (border + beside < Int{1} << 64) numbers.push_back(border + beside);
      if (border - beside <= Int{1} << 63) numbers.push_back(-border + beside);
    }
  }
  for (const Int more :
       {Int{0}, Int{1}, Int{9}, Int{10}, Int{99}, Int{100}, Int{999}, Int{1000}, Int{9999}, Int{10000}, Int{-1},
        Int{-32}, Int{-33}, (Int{1} << 64) - 1, Int{9999999999}, Int{10000000000}, Int{12345678901}, -(Int{1} << 63)}) {
    numbers.push_back(more);
  }
  for_random_cases("integer widths", 30, [&](Random& random) {
    random.shuffle(numbers);
    reference::Batch batch = small_batch(0);
    for (const Int number : numbers) {
      reference::Frame frame;
      frame.frame_number = number;
      // Positions outside the scan are the caller's to judge: the decoder keeps that they are.
      frame.row = random.chance(0.5) ? number : 1;
      frame.column = random.chance(0.5) ? number : 1;
      batch.frames.push_back(frame);
      if (random.chance(0.1)) batch.frames.back().frame_number.reset();
    }
    for (const unsigned width : {0u, 1u, 2u, 4u, 8u}) {
      for (const bool is_signed : {false, true}) {
        Value value = batch_value(batch);
        for (Value& frame : value.at("headers").items) {
          for (const std::string key :
               {"frame_number", "STEM_x_position_in_row", "STEM_row_in_scan", "data_size_bytes"}) {
            frame.at(key).width = width;
            frame.at(key).as_signed = is_signed;
          }
        }
        for (const HeaderFormat format : formats) {
          BatchHeader header;
          check_ok(decode(format, encode(format, value), header));
          CHECK(compare(header, batch) == "");
        }
      }
    }
  });
}

TEST_CASE("sizes of every width follow each other in one layout") {
  for_random_cases("size widths", 100, [](Random& random) {
    Value value = batch_value(small_batch(60));
    std::vector<uint32_t> sizes;
    Int sum = 0;
    for (Value& frame : value.at("headers").items) {
      const uint32_t highest =
          random.pick<uint32_t>({40, 130, 300, 1100, 70'000, 20'000'000, 120'000'000, 1'100'000'000});
      sizes.push_back(sum < (Int{1} << 33) ? static_cast<uint32_t>(random.below(highest)) / 4 * 4 : 0);
      if (sum < (Int{1} << 33) && random.chance(0.02)) sizes.back() = 4294967292;
      frame.at("data_size_bytes") = Value::of(sizes.back());
      if (random.chance(0.2)) frame.at("data_size_bytes").width = random.pick<unsigned>({1, 2, 4, 8});
      sum += sizes.back();
    }
    value.at("batch_size_bytes") = Value::of(sum);
    for (const HeaderFormat format : formats) {
      INFO("format: ", format_name(format));
      BatchHeader header;
      check_ok(decode(format, encode(format, value), header));
      std::vector<uint32_t> got;
      uint64_t offset = 0;
      bool offsets = true;
      for (const FrameRecord& frame : header.frames()) {
        got.push_back(frame.size);
        offsets &= frame.offset == offset;
        offset += frame.size;
      }
      CHECK(difference(got, sizes) == "");
      CHECK(offsets);
    }
  });
}

TEST_CASE("the last of a repeated key counts, in every frame alike") {
  reference::Batch batch = small_batch(6);
  for (const HeaderFormat format : formats) {
    INFO("format: ", format_name(format));
    for (const bool number_last : {true, false}) {
      // frame_number twice: a number and null, either way round.
      for (size_t i = 0; i < batch.frames.size(); ++i) {
        batch.frames[i].frame_number = number_last ? std::optional<Int>(100 + static_cast<Int>(i)) : std::nullopt;
      }
      Value value = batch_value(batch);
      for (size_t i = 0; i < batch.frames.size(); ++i) {
        Value& frame = value.at("headers").items[i];
        frame.remove("frame_number");
        frame.add("frame_number", number_last ? Value::nil() : Value::of(static_cast<Int>(i)));
        frame.add("frame_number", number_last ? Value::of(100 + static_cast<Int>(i)) : Value::nil());
      }
      CAPTURE(number_last);
      BatchHeader header;
      check_ok(decode(format, encode(format, value), header));
      CHECK(compare(header, batch) == "");
    }
    // A whole list of frames twice: nothing of the first one stays.
    Value value = batch_value(batch);
    Value other = batch_value(small_batch(9));
    Value twice = Value::of_map({});
    twice.add("headers", other.at("headers"));
    for (const Value& item : value.items) twice.items.push_back(item);
    BatchHeader header;
    check_ok(decode(format, encode(format, twice), header));
    CHECK(compare(header, batch) == "");
  }
}

TEST_CASE("wide lengths and long spellings of MessagePack are read") {
  const reference::Batch batch = small_batch();
  for (const unsigned width : {1u, 2u, 4u}) {
    Value value = batch_value(batch);
    const auto widen = [width](auto&& self, Value& item) -> void {
      item.width = item.kind == Value::Kind::integer  ? width
                   : item.kind == Value::Kind::string ? width
                                                      : std::max(width, 2u);
      for (Value& inner : item.items) self(self, inner);
    };
    widen(widen, value);
    BatchHeader header;
    check_ok(decode(HeaderFormat::msgpack, reference::msgpack(value), header));
    CHECK(compare(header, batch) == "");
  }
}

TEST_CASE("unknown keys may hold anything, at either level") {
  const reference::Batch batch = small_batch();
  const std::string raw_values[] = {std::string("\xc0", 1),
                                    std::string("\xc2", 1),
                                    std::string("\xca\x00\x00\x00\x00", 5),
                                    std::string("\xcb\0\0\0\0\0\0\0\0", 9),
                                    std::string("\xc4\x03xyz", 5),
                                    std::string("\xc5\x00\x03xyz", 6),
                                    std::string("\xc6\x00\x00\x00\x03xyz", 8),
                                    std::string("\xd4\x01x", 3),
                                    std::string("\xd5\x01xx", 4),
                                    std::string("\xd6\x01xxxx", 6),
                                    std::string("\xd7\x01xxxxxxxx", 10),
                                    std::string("\xd8\x01xxxxxxxxxxxxxxxx", 18),
                                    std::string("\xc7\x02\x01xx", 5),
                                    std::string("\xc8\x00\x02\x01xx", 6),
                                    std::string("\xc9\x00\x00\x00\x02\x01xx", 8),
                                    std::string("\xcc\xff", 2),
                                    std::string("\xcd\xff\xff", 3),
                                    std::string("\xce\xff\xff\xff\xff", 5),
                                    std::string("\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 9),
                                    std::string("\xd0\xff", 2),
                                    std::string("\xd1\xff\xff", 3),
                                    std::string("\xd2\xff\xff\xff\xff", 5),
                                    std::string("\xd3\xff\xff\xff\xff\xff\xff\xff\xff", 9),
                                    std::string("\xe0", 1),
                                    std::string("\x82\x01\xc0\x92\x01\x02\x80", 7),
                                    std::string("\xdf\x00\x00\x00\x01\x01\x02", 7),
                                    std::string("\xdc\x00\x01\x90", 4)};
  for (const std::string& raw : raw_values) {
    CAPTURE(static_cast<int>(static_cast<uint8_t>(raw[0])));
    Value value = batch_value(batch);
    value.add("unknown", Value::of_raw(raw));
    for (Value& frame : value.at("headers").items) {
      frame.items.insert(frame.items.begin(), {Value::of_text("unknown"), Value::of_raw(raw)});
    }
    BatchHeader header;
    check_ok(decode(HeaderFormat::msgpack, reference::msgpack(value), header));
    CHECK(compare(header, batch) == "");
  }
}

TEST_CASE("deep nesting is refused without recursion") {
  for (const size_t depth : {100, 500, 600, 1'000'000}) {
    CAPTURE(depth);
    for (const bool in_frame : {false, true}) {
      Value value = batch_value(small_batch(1));
      Value json = value;
      Value& place = in_frame ? value.at("headers").items[0] : value;
      place.add("deep", Value::of_raw(std::string(depth, '\x91') + "\x90"));
      Value& json_place = in_frame ? json.at("headers").items[0] : json;
      json_place.add("deep", Value::of_raw(std::string(depth, '[') + std::string(depth, ']')));
      std::string objects;
      for (size_t i = 0; i < depth; ++i) objects += "{\"a\":";
      Value maps = batch_value(small_batch(1));
      (in_frame ? maps.at("headers").items[0] : maps)
          .add("deep", Value::of_raw(objects + "1" + std::string(depth, '}')));
      for (const Status& status : {decode_value(HeaderFormat::msgpack, value), decode_value(HeaderFormat::json, json),
                                   decode_value(HeaderFormat::json, maps)}) {
        if (depth <= 500) {
          CHECK(code_name(status.code) == "ok");
        } else {
          check_refused(status, StatusCode::malformed, {"512"});
        }
      }
    }
  }
}

TEST_CASE("every prefix of a header is refused as too short") {
  for (const size_t frames : {1, 3}) {
    reference::Batch batch = small_batch(frames);
    batch.total_frames = 70000;
    batch.frames[0].frame_number = 300;
    Value value = batch_value(batch);
    value.add("more", Value::of_map({{"a", Value::of_array({Value::of_real(1.5), Value::of_text("text")})}}));
    for (const HeaderFormat format : formats) {
      const Bytes whole = encode(format, value);
      GuardedBytes guarded;
      for (size_t size = 0; size < whole.size(); ++size) {
        BatchHeader header;
        const Status status = decode_batch_header(format, guarded.place({whole.data(), size}), pool(), header);
        CAPTURE(size);
        if (format == HeaderFormat::msgpack) {
          check_refused(status, StatusCode::truncated);
        } else {
          // A cut word such as "nul" is no value at all.
          const bool expected = status.code == StatusCode::truncated || status.code == StatusCode::malformed ||
                                status.code == StatusCode::wrong_type;
          CAPTURE(status.message);
          CHECK(expected);
        }
      }
      BatchHeader header;
      check_ok(decode_batch_header(format, guarded.place(whole), pool(), header));
    }
  }
}

TEST_CASE("bytes after the header are refused") {
  for (const HeaderFormat format : formats) {
    for (const size_t count : {1, 7}) {
      Bytes bytes = encode(format, batch_value(small_batch()));
      const size_t size = bytes.size();
      bytes.insert(bytes.end(), count, format == HeaderFormat::msgpack ? 0xc0 : '}');
      BatchHeader header;
      check_refused(decode(format, bytes, header), StatusCode::trailing_bytes,
                    {std::to_string(count) + " bytes", "byte " + std::to_string(size)});
    }
  }
}

TEST_CASE("changed bytes never crash, and an accepted header is complete") {
  for_random_cases("changed bytes", 6000, [](Random& random) {
    BatchKnobs knobs;
    knobs.max_events = 3;
    knobs.max_scan_side = 3;
    const reference::Batch batch = random_batch(random, knobs);
    const HeaderFormat format = random.chance(0.5) ? HeaderFormat::msgpack : HeaderFormat::json;
    Bytes bytes = encode(format, respelt(random, batch_value(batch), random_spelling(random)));
    for (uint64_t changes = random.between(1, 3); changes > 0 && !bytes.empty(); --changes) {
      const auto at = bytes.begin() + static_cast<std::ptrdiff_t>(random.below(bytes.size()));
      switch (random.below(4)) {
        case 0: *at = static_cast<uint8_t>(random.bits()); break;
        case 1: *at ^= static_cast<uint8_t>(1 << random.below(8)); break;
        case 2: bytes.erase(at, at + std::min<std::ptrdiff_t>(bytes.end() - at, random.between(1, 9))); break;
        default:
          bytes.insert(at, static_cast<size_t>(random.between(1, 9)), static_cast<uint8_t>(random.bits()));
          break;
      }
    }
    BatchHeader header;
    if (const Status status = decode(format, bytes, header); !status.ok()) {
      CHECK(!status.message.empty());
      return;
    }
    uint64_t offset = 0;
    for (const FrameRecord& frame : header.frames()) {
      CHECK(frame.offset == offset);
      CHECK(frame.modules < header.modules.size());
      CHECK(frame.size % header.event_size() == 0);
      offset += frame.size;
    }
    CHECK(offset == header.batch_size_bytes);
  });
}

TEST_CASE("a wrong type in any field is refused with the field's name and the frame's number") {
  struct Wrong {
    std::string name;
    Value value;
    const char* msgpack_type;
    const char* json_type;
  };
  const std::vector<Wrong> wrongs{
      {"nil", Value::nil(), "nil", "null"},
      {"boolean", Value::of_bool(true), "a boolean", "a boolean"},
      {"integer", Value::of(3), "an integer", "a number"},
      {"whole float", Value::of_real(3.0), "a float", "a number"},
      {"fraction", Value::of_real(2.5), "a float", "a number"},
      {"string", Value::of_text("3"), "a string", "a string"},
      {"binary", Value::of_binary("abc"), "binary data", nullptr},
      {"array", Value::of_array({Value::of(1)}), "an array", "an array"},
      {"map", Value::of_map({{"a", Value::of(1)}}), "a map", "an object"},
      {"extension", Value::of_raw(std::string("\xd4\x01x", 3)), "an extension value", nullptr},
  };
  const auto accepts = [](const std::string& field, const std::string& wrong) {
    if (field == "frame_number" || field == "total_batches" || field == "total_frames" ||
        field == "current_batch_index") {
      return wrong == "nil" || wrong == "integer";
    }
    if (field == "modules") return wrong == "array";
    if (field == "headers") return wrong == "array";  // judged element by element
    if (field == "frame_shape") return wrong == "array";
    if (field == "dtype") return wrong == "string";
    return wrong == "integer";
  };
  const reference::Batch batch = small_batch(5);
  const Value good = batch_value(batch);
  for (const HeaderFormat format : formats) {
    INFO("format: ", format_name(format));
    for (const Wrong& wrong : wrongs) {
      const char* const type = format == HeaderFormat::msgpack ? wrong.msgpack_type : wrong.json_type;
      if (type == nullptr) continue;
      // Where JSON expects an integer, a number with a fraction is called a float.
      const bool json_float = format == HeaderFormat::json && wrong.value.kind == Value::Kind::real;
      const auto type_for = [&](const std::string& field) {
        return json_float && accepts(field, "integer") ? "a float" : type;
      };
      CAPTURE(wrong.name);
      for (size_t f = 0; f < good.at("headers").items[0].items.size(); f += 2) {
        const std::string field = good.at("headers").items[0].items[f].text;
        if (accepts(field, wrong.name)) continue;
        CAPTURE(field);
        for (const size_t frame : {0, 1, 4}) {
          Value value = good;
          value.at("headers").items[frame].at(field) = wrong.value;
          check_refused(decode_value(format, value), StatusCode::wrong_type,
                        {"headers[" + std::to_string(frame) + "]." + field, type_for(field), "byte "});
        }
      }
      for (size_t f = 0; f < good.items.size(); f += 2) {
        const std::string field = good.items[f].text;
        if (accepts(field, wrong.name)) continue;
        CAPTURE(field);
        Value value = good;
        value.at(field) = wrong.value;
        check_refused(decode_value(format, value), StatusCode::wrong_type, {field, type_for(field), "byte "});
      }
      // A frame, an item of modules and of frame_shape, and the whole header.
      Value value = good;
      if (wrong.name != "map") {
        value.at("headers").items[2] = wrong.value;
        check_refused(decode_value(format, value), StatusCode::wrong_type, {"headers[2]", type});
        check_refused(decode_value(format, wrong.value), StatusCode::wrong_type, {type});
      }
      if (wrong.name != "integer") {
        value = good;
        value.at("headers").items[3].at("modules").items[1] = wrong.value;
        check_refused(decode_value(format, value), StatusCode::wrong_type,
                      {"headers[3].modules", type_for("scan_number")});
        value = good;
        value.at("headers").items[3].at("frame_shape").items[1] = wrong.value;
        check_refused(decode_value(format, value), StatusCode::wrong_type,
                      {"headers[3].frame_shape", type_for("scan_number")});
      }
    }
    for (const size_t count : {0, 1, 3, 100}) {
      Value value = good;
      value.at("headers").items[1].at("frame_shape") = Value::of_array(std::vector<Value>(count, Value::of(5)));
      check_refused(decode_value(format, value), StatusCode::wrong_type, {"headers[1].frame_shape", "two numbers"});
    }
    for (const std::string dtype : {"uint64", "int8", "UINT32", "", "<u4", "uint32 ", "uint", "float"}) {
      Value value = good;
      value.at("headers").items[1].at("dtype") = Value::of_text(dtype);
      check_refused(decode_value(format, value), StatusCode::unknown_dtype, {"headers[1].dtype", "\"" + dtype + "\""});
    }
  }
}

TEST_CASE("keys of MessagePack maps are strings") {
  for (const std::string& key :
       {std::string("\x05", 1), std::string("\xc4\x01z", 3), std::string("\xc0", 1), std::string("\x90", 1)}) {
    for (const bool in_frame : {false, true}) {
      Value value = batch_value(small_batch(2));
      Value& map = in_frame ? value.at("headers").items[1] : value;
      map.items.push_back(Value::of_raw(key));
      map.items.push_back(Value::of(1));
      check_refused(decode_value(HeaderFormat::msgpack, value), StatusCode::wrong_type, {"a string"});
    }
  }
  Value value = batch_value(small_batch(2));
  value.at("headers").items[1].at("modules") = Value::of_raw("\xc1");
  check_refused(decode_value(HeaderFormat::msgpack, value), StatusCode::malformed, {"0xc1", "headers[1].modules"});
}

TEST_CASE("a missing field is named; optional ones may be missing") {
  const Value good = batch_value(small_batch(3));
  for (const HeaderFormat format : formats) {
    for (const std::string field : {"scan_number", "headers", "batch_size_bytes"}) {
      Value value = good;
      value.remove(field);
      check_refused(decode_value(format, value), StatusCode::missing_field, {field});
    }
    for (const std::string field :
         {"scan_number", "nSTEM_positions_per_row_m1", "nSTEM_rows_m1", "STEM_x_position_in_row", "STEM_row_in_scan",
          "modules", "frame_shape", "data_size_bytes"}) {
      for (const size_t frame : {0, 2}) {
        Value value = good;
        value.at("headers").items[frame].remove(field);
        check_refused(decode_value(format, value), StatusCode::missing_field,
                      {field, "headers[" + std::to_string(frame) + "]"});
      }
    }
    Value value = good;
    for (const std::string field : {"total_batches", "total_frames", "current_batch_index"}) value.remove(field);
    for (Value& frame : value.at("headers").items) {
      frame.remove("frame_number");
      frame.remove("dtype");
    }
    BatchHeader header;
    check_ok(decode(format, encode(format, value), header));
    CHECK(compare(header, small_batch(3)) == "");
    check_refused(decode_value(format, Value::of_map({})), StatusCode::missing_field, {"scan_number"});
  }
}

TEST_CASE("frames that disagree are refused with both values") {
  const Value good = batch_value(small_batch(4));
  for (const HeaderFormat format : formats) {
    const auto refuse = [&](const char* field, Value changed, const std::vector<std::string>& parts) {
      Value value = good;
      value.at("headers").items[3].at(field) = std::move(changed);
      std::vector<std::string> all = parts;
      all.push_back("headers[3]");
      check_refused(decode_value(format, value), StatusCode::mixed_batch, all);
    };
    refuse("scan_number", Value::of(77), {"scan_number", "77", "1"});
    refuse("scan_number", Value::of(-1), {"scan_number", "-1"});
    refuse("nSTEM_positions_per_row_m1", Value::of(8), {"2 x 8", "2 x 3"});
    refuse("nSTEM_rows_m1", Value::of(9), {"9 x 3", "2 x 3"});
    refuse("frame_shape", Value::of_array({Value::of(5), Value::of(8)}), {"frame_shape", "5 x 8", "5 x 7"});
    refuse("frame_shape", Value::of_array({Value::of(7), Value::of(5)}), {"frame_shape", "7 x 5", "5 x 7"});
    refuse("dtype", Value::of_text("int32"), {"dtype", "int32", "uint32"});
  }
}

TEST_CASE("sizes that do not add up are refused with the numbers") {
  const Value good = batch_value(small_batch(4));
  for (const HeaderFormat format : formats) {
    const auto refuse_batch = [&](Int size, const std::vector<std::string>& parts) {
      Value value = good;
      value.at("batch_size_bytes") = Value::of(size);
      check_refused(decode_value(format, value), StatusCode::size_mismatch, parts);
    };
    refuse_batch(25, {"25", "24", "4 frames"});
    refuse_batch(0, {"batch_size_bytes is 0", "24"});
    refuse_batch(-24, {"-24", "24"});
    refuse_batch((Int{1} << 64) - 1, {"18446744073709551615", "24"});
    const auto refuse_frame = [&](Int size, StatusCode code, const std::vector<std::string>& parts) {
      for (const size_t frame : {0, 3}) {
        Value value = good;
        value.at("headers").items[frame].at("data_size_bytes") = Value::of(size);
        Int sum = 0;
        for (Value& item : value.at("headers").items) sum += item.at("data_size_bytes").integer;
        value.at("batch_size_bytes") = Value::of(sum);
        std::vector<std::string> all = parts;
        all.insert(all.end(), {"headers[" + std::to_string(frame) + "]", "data_size_bytes"});
        check_refused(decode_value(format, value), code, all);
      }
    };
    refuse_frame(7, StatusCode::size_mismatch, {"7", "uint32", "4 bytes"});
    refuse_frame(1, StatusCode::size_mismatch, {"1", "uint32"});
    refuse_frame(-4, StatusCode::size_mismatch, {"-4"});
    refuse_frame(Int{1} << 32, StatusCode::too_large, {"4294967296", "4294967295"});
    refuse_frame((Int{1} << 63) - 1, StatusCode::too_large, {"9223372036854775807"});
  }
}

TEST_CASE("shapes that nothing has are refused, and none is allocated for") {
  for (const HeaderFormat format : formats) {
    const auto refuse = [&](bool scan, Int rows, Int columns, StatusCode code) {
      reference::Batch batch = small_batch(2);
      (scan ? batch.scan_rows : batch.frame_rows) = rows;
      (scan ? batch.scan_columns : batch.frame_columns) = columns;
      const Bytes bytes = encode(format, batch_value(batch));
      const AllocationMeter meter;
      BatchHeader header;
      const Status status = decode_batch_header(format, bytes, pool(), header);
      CHECK(meter.bytes() < 100'000);
      check_refused(
          status, code,
          {scan ? "scan shape" : "frame_shape", reference::int_text(rows) + " x " + reference::int_text(columns)});
    };
    for (const bool scan : {true, false}) {
      refuse(scan, 0, 3, StatusCode::size_mismatch);
      refuse(scan, 3, 0, StatusCode::size_mismatch);
      refuse(scan, -1, 3, StatusCode::size_mismatch);
      refuse(scan, 3, -(Int{1} << 63), StatusCode::size_mismatch);
      refuse(scan, (Int{1} << 64) - 1, (Int{1} << 64) - 1, StatusCode::too_large);
      refuse(scan, Int{1} << 32, 1, StatusCode::too_large);
      refuse(scan, 1, Int{1} << 32, StatusCode::too_large);
      refuse(scan, Int{1} << 32, Int{1} << 32, StatusCode::too_large);
    }
    refuse(true, 4097, 4096, StatusCode::too_large);
    refuse(true, (1 << 24) + 1, 1, StatusCode::too_large);
    refuse(false, 65536, 1, StatusCode::too_large);
    refuse(false, 1, 65536, StatusCode::too_large);
    for (const auto& [rows, columns] : std::vector<std::pair<Int, Int>>{{4096, 4096}, {1, 1 << 24}, {1 << 24, 1}}) {
      reference::Batch batch = small_batch(1);
      batch.scan_rows = rows;
      batch.scan_columns = columns;
      CHECK(decode_value(format, batch_value(batch)).ok());
    }
    reference::Batch batch = small_batch(1);
    batch.frame_rows = batch.frame_columns = 65535;
    CHECK(decode_value(format, batch_value(batch)).ok());
  }
}

TEST_CASE("no frames at all is refused") {
  for (const HeaderFormat format : formats) {
    check_refused(decode_value(format, batch_value(small_batch(0))), StatusCode::empty_batch, {"frame"});
  }
}

TEST_CASE("declared lengths of 2^32 - 1 allocate nothing of note") {
  const std::string lots = "\xff\xff\xff\xff";
  const std::string array32 = "\xdd" + lots, map32 = "\xdf" + lots, string32 = "\xdb" + lots, binary32 = "\xc6" + lots,
                    ext32 = "\xc9" + lots + "\x01";
  std::vector<std::pair<std::string, Bytes>> messages;
  const auto add = [&](const std::string& name, const Value& value) {
    messages.emplace_back(name, reference::msgpack(value));
  };
  const Value good = batch_value(small_batch(2));
  add("map", Value::of_raw(map32));
  add("map with a pair", Value::of_raw(map32 + "\xa1"
                                               "a\x01"));
  add("array", Value::of_raw(array32));
  for (const std::string& raw :
       {array32, map32, string32, binary32, ext32, array32 + array32 + array32, map32 + "\x01" + map32}) {
    Value value = good;
    value.at("headers") = Value::of_raw(raw);
    add("headers", value);
    value = good;
    value.items.insert(value.items.begin(), {Value::of_text("unknown"), Value::of_raw(raw)});
    add("unknown", value);
    value = good;
    value.items.insert(value.items.begin(), {Value::of_raw(raw), Value::of(1)});
    add("a key", value);
    value = good;
    value.at("headers").items[1] = Value::of_raw(raw);
    add("a frame", value);
    for (size_t f = 0; f < good.at("headers").items[0].items.size(); f += 2) {
      value = good;
      value.at("headers").items[1].items[f + 1] = Value::of_raw(raw);
      add(good.at("headers").items[0].items[f].text, value);
    }
  }
  for (const auto& [field, bytes] : messages) {
    const std::string name = field;
    CAPTURE(name);
    const AllocationMeter meter;
    BatchHeader header;
    const Status status = decode_batch_header(HeaderFormat::msgpack, bytes, pool(), header);
    CHECK(!status.ok());
    CHECK(meter.bytes() < 100'000);
  }
  Value value = good;
  value.at("headers") = Value::of_raw(array32);
  check_refused(decode_value(HeaderFormat::msgpack, value), StatusCode::truncated, {"headers", "4294967295 frames"});
}

TEST_CASE("the JSON that is written is the canonical one") {
  for_random_cases("json out", 600, [](Random& random) {
    BatchKnobs knobs;
    knobs.max_events = 4;
    const reference::Batch batch = random_batch(random, knobs);
    BatchHeader header;
    check_ok(decode(HeaderFormat::msgpack,
                    reference::msgpack(respelt(random, batch_value(batch), random_spelling(random))), header));
    const stemline::PooledBuffer json = encode_batch_header_json(header, pool());
    CHECK(json.size() <= json.capacity());
    CHECK(difference(text_of(copy_of(json)), reference::json_text(batch_value(batch))) == "");
  });
}

TEST_CASE("check_positions names the first frame outside the scan") {
  reference::Batch batch = small_batch(5);
  const auto decoded = [&] {
    auto header = std::make_unique<BatchHeader>();
    check_ok(decode(HeaderFormat::msgpack, reference::msgpack(batch_value(batch)), *header));
    return header;
  };
  check_ok(check_positions(*decoded()));
  batch.frames[4].row = 2;
  check_refused(check_positions(*decoded()), StatusCode::scan_position, {"frame 4", "row 2", "column 1", "2 x 3"});
  batch.frames[3].column = 3;
  check_refused(check_positions(*decoded()), StatusCode::scan_position, {"frame 3", "row 1", "column 3", "2 x 3"});
  for (const Int outside :
       {Int{-1}, -(Int{1} << 63), Int{1} << 32, (Int{1} << 32) + 1, (Int{1} << 64) - 1, Int{0xffffffff}}) {
    batch.frames[2].row = outside;
    check_refused(check_positions(*decoded()), StatusCode::scan_position, {"frame 2", "below 0 or above", "column 2"});
  }
  CHECK(check_data_size(*decoded(), 40).ok());
  check_refused(check_data_size(*decoded(), 41), StatusCode::size_mismatch, {"41", "40", "5 frames"});
}

// JSON only.

namespace {

std::string good_json() { return reference::json_text(batch_value(small_batch(2))); }

std::string with(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

Status decode_text(const std::string& text) {
  BatchHeader header;
  return decode(HeaderFormat::json, bytes_of(text), header);
}

}  // namespace

TEST_CASE("JSON numbers are whole, without leading zeros, and fit 64 bits") {
  const std::string field = "\"total_frames\":null";
  const auto number = [&](const std::string& text) {
    return decode_text(with(good_json(), field, "\"total_frames\":" + text));
  };
  for (const std::string good : {"0", "-0", "7", "-7", "18446744073709551615", "-9223372036854775808", "null"}) {
    CAPTURE(good);
    CHECK(number(good).ok());
  }
  for (const std::string wrong :
       {"1.0", "1.5", "1e3", "1E3", "0.0", "-1.0", "18446744073709551616", "-9223372036854775809",
        "99999999999999999999", "340282366920938463463374607431768211456", "true", "\"1\"", "[1]", "{}", "-"}) {
    CAPTURE(wrong);
    check_refused(number(wrong), StatusCode::wrong_type, {"total_frames"});
  }
  for (const std::string malformed :
       {"01", "00", "-01", "+1", ".5", "1 2", "0x10", "NaN", "Infinity", "1_000", "nullx", "1a", "'1'"}) {
    CAPTURE(malformed);
    check_refused(number(malformed), StatusCode::malformed);
  }
  CHECK(!number("nul").ok());
  // Within frames too, also from the second frame on.
  for (const std::string wrong : {"1.0", "01", "1e0", "18446744073709551616", "-"}) {
    for (const bool second : {false, true}) {
      std::string text = good_json();
      const size_t at = second ? text.rfind("\"STEM_row_in_scan\":") : text.find("\"STEM_row_in_scan\":");
      text.replace(at + 19, 1, wrong);
      CAPTURE(wrong);
      CAPTURE(second);
      CHECK(!decode_text(text).ok());
    }
  }
}

TEST_CASE("what looks like digits is no number, also in a frame like those before it") {
  reference::Batch batch = small_batch(6);
  batch.scan_rows = batch.scan_columns = 900;
  for (Frame& frame : batch.frames) frame.row = frame.column = 234;
  for (Frame& frame : batch.frames) frame.frame_number = 12345678;
  const std::string good = reference::json_text(batch_value(batch));
  REQUIRE(decode_text(good).ok());
  for (const std::string& number :
       {std::string("\"STEM_row_in_scan\":234"), std::string("\"STEM_x_position_in_row\":234"),
        std::string("\"frame_number\":12345678")}) {
    const size_t digits = number.size() - number.find(':') - 1;
    // In the third of the frames.
    size_t at = 0;
    for (int i = 0; i < 3; ++i) at = good.find(number, at + 1);
    at += number.size() - digits;
    for (size_t digit = 0; digit < digits; ++digit) {
      for (const char wrong : std::string("/:;<=>?0 .-+eEaA,\"\x00\xb1", 20)) {
        if (wrong == '0' && digit > 0) continue;
        std::string text = good;
        text[at + digit] = wrong;
        CAPTURE(number);
        CAPTURE(digit);
        CAPTURE(static_cast<int>(wrong));
        // A sign before the other digits, or white space around them, makes another valid number.
        const bool valid = digit == 0 ? wrong == '-' || wrong == ' ' : digit + 1 == digits && wrong == ' ';
        CHECK(decode_text(text).ok() == valid);
      }
    }
  }
}

TEST_CASE("JSON numbers of skipped values are checked too") {
  const auto skipped = [](const std::string& text) {
    return decode_text(with(good_json(), "{\"scan_number\"", "{\"x\":" + text + ",\"scan_number\""));
  };
  for (const std::string good : {"1",
                                 "-1",
                                 "0",
                                 "1.5",
                                 "1e5",
                                 "1E+5",
                                 "1.5e-5",
                                 "\"\"",
                                 "[]",
                                 "{}",
                                 "[1,[2,{\"a\":[]}],null]",
                                 "true",
                                 "false",
                                 "null",
                                 "\"\\u00e9\\ud83d\\ude00\\n\"",
                                 "123456789012345678901234567890",
                                 "[ ]",
                                 "{ }",
                                 "[ 1 , 2 ]",
                                 "{ \"a\" : 1 }"}) {
    CAPTURE(good);
    CHECK(skipped(good).ok());
  }
  for (const std::string bad :
       {"01",       "1.",       ".5",        "1e",   "1e+",       "-",       "--1",         "+1",
        "tru",      "True",     "[1,]",      "[,1]", "[1 2]",     "{\"a\"}", "{\"a\":}",    "{\"a\":1,}",
        "{,}",      "{1:2}",    "{\"a\" 1}", "[1}",  "{\"a\":1]", "\"\\x\"", "\"\\u12g4\"", "\"\\u12\"",
        "\"a\nb\"", "\"a\tb\"", "''",        "@",    "/**/1",     "nan"}) {
    CAPTURE(bad);
    CHECK(!skipped(bad).ok());
  }
}

TEST_CASE("JSON white space is four characters, anywhere between tokens") {
  Random random(case_seed("json space", 0));
  const Value value = batch_value(small_batch(3));
  for (const std::string space : {" ", "\n", "\r", "\t", " \r\n\t  "}) {
    reference::JsonStyle style;
    style.space = [&] { return std::string(space); };
    const std::string text = space + reference::json_text(value, style) + space;
    BatchHeader header;
    check_ok(decode(HeaderFormat::json, bytes_of(text), header));
    CHECK(compare(header, small_batch(3)) == "");
  }
  for (const std::string space : {"\v", "\f", "\xc2\xa0", "\xef\xbb\xbf"}) {
    CHECK(!decode_text(space + good_json()).ok());
    CHECK(!decode_text(with(good_json(), ":", std::string(":") + space)).ok());
  }
  CHECK(!decode_text(with(good_json(), ":", std::string(":\0", 2))).ok());
}

TEST_CASE("JSON keys and types may be escaped") {
  CHECK(decode_text(with(good_json(), "\"scan_number\"", "\"\\u0073can_number\"")).ok());
  CHECK(decode_text(with(good_json(), "\"uint32\"", "\"u\\u0069nt32\"")).ok());
  CHECK(decode_text(with(good_json(), "\"total_frames\"", "\"total\\u005fframes\"")).ok());
  // What only looks like the key is another key.
  check_refused(decode_text(with(good_json(), "\"scan_number\"", "\"\\u0173can_number\"")), StatusCode::missing_field,
                {"scan_number"});
  check_refused(decode_text(with(good_json(), "\"scan_number\"", "\"scan_number\\u0000\"")), StatusCode::missing_field,
                {"scan_number"});
  check_refused(decode_text(with(good_json(), "\"uint32\"", "\"uint3\\n2\"")), StatusCode::unknown_dtype,
                {"headers[0].dtype"});
}

TEST_CASE("JSON structure is strict") {
  const std::string good = good_json();
  for (const std::string& text : {std::string(""),
                                  std::string(" "),
                                  std::string("null"),
                                  std::string("[]"),
                                  std::string("1"),
                                  std::string("\"a\""),
                                  std::string("{"),
                                  std::string("}"),
                                  std::string("{}}"),
                                  good + ",",
                                  good + good,
                                  good + "x",
                                  "[" + good + "]",
                                  with(good, "\"headers\":[{", "\"headers\":[,{"),
                                  with(good, "},{", "}{"),
                                  with(good, "},{", "},,{"),
                                  with(good, "}]", "},]"),
                                  with(good, "[0,1,2,3]", "[0,1,2,3,]"),
                                  with(good, "[0,1,2,3]", "[0 1]"),
                                  with(good, "[5,7]", "[5,7"),
                                  with(good, "\"scan_number\":", "\"scan_number\""),
                                  with(good, "\"scan_number\":", "scan_number:"),
                                  with(good, "\"scan_number\":", "'scan_number':")}) {
    CAPTURE(text);
    CHECK(!decode_text(text).ok());
  }
  REQUIRE(decode_text(good).ok());
}
