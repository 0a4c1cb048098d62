#include "batch_header.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <unordered_map>

#include "frame_template.h"
#include "json_reader.h"
#include "msgpack_reader.h"

namespace stemline {

namespace {

// Least bytes of one frame's header: its nine field names alone take more. Bounds the number of frames that a message
// can hold before anything is allocated for them.
constexpr size_t min_frame_bytes = 100;

std::string shape_text(uint64_t rows, uint64_t columns) {
  return std::to_string(rows) + " x " + std::to_string(columns);
}

// What frames of a batch must have in common.
struct SharedFields {
  WireInt scan_number;
  WireInt scan_rows, scan_columns;
  WireInt frame_rows, frame_columns;
  EventDtype dtype = EventDtype::uint32;

  bool operator==(const SharedFields&) const = default;
};

struct ParsedFrame {
  SharedFields shared;
  WireInt row, column, size;
  std::optional<WireInt> frame_number;
  std::string modules;
};

template <class Reader>
class BatchDecoder {
 public:
  BatchDecoder(std::span<const uint8_t> bytes, BufferPool& pool, BatchHeader& header)
      : reader_(bytes.data(), bytes.size()), pool_(pool), header_(header) {}

  Status run() {
    if (!decode_batch() || !reader_.finish()) return located(reader_.status());
    return check();
  }

 private:
  using Cursor = typename Reader::Cursor;

  bool decode_batch() {
    bool have_scan_number = false, have_headers = false, have_size = false;
    WireInt size;
    Cursor cursor;
    std::string_view key;
    reader_.skip_space();
    if (!reader_.begin_map(cursor)) return false;
    while (enter(cursor, key)) {
      if (key == "scan_number") {
        have_scan_number = true;
        if (!field("scan_number", reader_.read_int(header_.scan_number))) return false;
      } else if (key == "headers") {
        have_headers = true;
        if (!decode_frames()) return frame_ ? false : field("headers", false);
      } else if (key == "batch_size_bytes") {
        have_size = true;
        if (!field("batch_size_bytes", reader_.read_int(size))) return false;
      } else if (key == "total_batches") {
        if (!field("total_batches", read_optional_int(header_.total_batches))) return false;
      } else if (key == "total_frames") {
        if (!field("total_frames", read_optional_int(header_.total_frames))) return false;
      } else if (key == "current_batch_index") {
        if (!field("current_batch_index", read_optional_int(header_.current_batch_index))) return false;
      } else if (!reader_.skip()) {
        return false;
      }
    }
    if (!reader_.status().ok()) return false;
    if (!have_scan_number) return missing("scan_number");
    if (!have_headers) return missing("headers");
    if (!have_size) return missing("batch_size_bytes");
    batch_size_ = size;
    return true;
  }

  bool decode_frames() {
    Cursor cursor;
    if (!reader_.begin_array(cursor)) return false;
    const size_t room = reader_.left() / min_frame_bytes + 1;
    if constexpr (requires { cursor.left; }) {
      if (cursor.left > room) {
        return reader_.fail(StatusCode::truncated, "says " + std::to_string(cursor.left) + " frames, but only " +
                                                       std::to_string(reader_.left()) + " bytes follow");
      }
    }
    header_.storage = pool_.take_array<FrameRecord>(room);
    header_.modules.clear();
    header_.frame_count = 0;
    modules_index_.clear();
    first_.reset();
    templates_.clear();
    total_size_ = 0;
    FrameRecord* const frames = header_.storage.as<FrameRecord>(room).data();
    size_t count = 0;
    for (; reader_.next_item(cursor); ++count) {
      frame_ = count;
      FrameRecord& record = frames[count];
      FrameInts ints;
      if (const uint8_t* end = templates_.match(reader_.at(), reader_.left(), ints); end != nullptr) {
        reader_.move_to(end);
        record = FrameRecord{};
        record.column = clip(ints.column);
        record.row = clip(ints.row);
        record.size = ints.size;
        record.modules = templates_.current().modules() & 0x3fffffff;
        if (templates_.current().has_frame_number()) {
          record.has_frame_number = 1;
          record.frame_number = ints.frame_number;
        }
      } else if (!decode_frame(record)) {
        return false;
      }
      record.offset = total_size_;
      total_size_ += record.size;
    }
    header_.frame_count = count;
    frame_.reset();
    return reader_.status().ok();
  }

  static uint32_t clip(uint64_t value) { return value > UINT32_MAX ? UINT32_MAX : static_cast<uint32_t>(value); }
  static uint32_t clip(const WireInt& value) { return value.at_most(UINT32_MAX) ? static_cast<uint32_t>(value.bits) : UINT32_MAX; }

  bool decode_frame(FrameRecord& record) {
    const uint8_t* const begin = reader_.at();
    ParsedFrame frame;
    FrameTemplate::Builder builder;
    if (!parse_frame(frame, builder)) return false;
    if (!first_) {
      first_ = frame.shared;
    } else if (!(frame.shared == *first_)) {
      return mixed(frame.shared);
    }
    if (frame.size.negative) {
      return reader_.fail(StatusCode::size_mismatch, "data_size_bytes is " + frame.size.text() + ", expected 0 or more");
    }
    if (frame.size.bits > UINT32_MAX) {
      return reader_.fail(StatusCode::too_large, "data_size_bytes is " + frame.size.text() + ", expected at most 4294967295");
    }
    record = FrameRecord{};
    record.column = clip(frame.column);
    record.row = clip(frame.row);
    record.size = static_cast<uint32_t>(frame.size.bits);
    if (frame.frame_number) {
      record.has_frame_number = 1;
      record.frame_number = frame.frame_number->bits;
      record.frame_number_negative = frame.frame_number->negative;
    }
    const auto [found, added] = modules_index_.try_emplace(std::move(frame.modules), static_cast<uint32_t>(header_.modules.size()));
    if (added) header_.modules.push_back(found->first);
    record.modules = found->second & 0x3fffffff;
    templates_.learn(builder, begin, reader_.at(), record.modules);
    return true;
  }

  bool parse_frame(ParsedFrame& frame, FrameTemplate::Builder& builder) {
    enum : unsigned { scan_number, columns, rows, column, row, modules, frame_shape, data_size, required };
    static constexpr const char* names[] = {"scan_number", "nSTEM_positions_per_row_m1", "nSTEM_rows_m1",
                                            "STEM_x_position_in_row", "STEM_row_in_scan", "modules",
                                            "frame_shape", "data_size_bytes"};
    unsigned seen = 0;
    Cursor cursor;
    std::string_view key;
    if (!reader_.begin_map(cursor)) return false;
    while (enter(cursor, key)) {
      unsigned index = 0;
      while (index < required && key != names[index]) ++index;
      bool ok = true;
      switch (index) {
        case scan_number: ok = reader_.read_int(frame.shared.scan_number); break;
        case columns: ok = reader_.read_int(frame.shared.scan_columns); break;
        case rows: ok = reader_.read_int(frame.shared.scan_rows); break;
        case column: ok = read_varying(FrameSlot::column, frame.column, builder); break;
        case row: ok = read_varying(FrameSlot::row, frame.row, builder); break;
        case modules: ok = read_modules(frame.modules); break;
        case frame_shape: ok = read_frame_shape(frame.shared); break;
        case data_size: ok = read_varying(FrameSlot::size, frame.size, builder); break;
        default:
          if (key == "frame_number") {
            if (!field("frame_number", read_frame_number(frame, builder))) return false;
          } else if (key == "dtype") {
            if (!field("dtype", read_dtype(frame.shared.dtype))) return false;
          } else if (!reader_.skip()) {
            return false;
          }
          continue;
      }
      if (!field(names[index], ok)) return false;
      seen |= 1u << index;
    }
    if (!reader_.status().ok()) return false;
    for (unsigned index = 0; index < required; ++index) {
      if ((seen & 1u << index) == 0) return missing(names[index]);
    }
    return true;
  }

  bool read_varying(FrameSlot slot, WireInt& value, FrameTemplate::Builder& builder) {
    const uint8_t* const begin = reader_.at();
    if (!reader_.read_int(value)) return false;
    builder.add(slot, begin, reader_.at());
    return true;
  }

  bool read_frame_number(ParsedFrame& frame, FrameTemplate::Builder& builder) {
    if (reader_.next_is_null()) {
      // After a number, under the same key: a second time spoils the template, which would take that number.
      if (frame.frame_number) builder.add(FrameSlot::frame_number, reader_.at(), reader_.at());
      reader_.skip_null();
      frame.frame_number.reset();
      return true;
    }
    frame.frame_number.emplace();
    return read_varying(FrameSlot::frame_number, *frame.frame_number, builder);
  }

  bool read_optional_int(std::optional<WireInt>& value) {
    if (reader_.next_is_null()) {
      reader_.skip_null();
      value.reset();
      return true;
    }
    return reader_.read_int(value.emplace());
  }

  bool read_modules(std::string& modules) {
    Cursor cursor;
    if (!reader_.begin_array(cursor)) return false;
    modules = "[";
    while (reader_.next_item(cursor)) {
      WireInt module;
      if (!reader_.read_int(module)) return false;
      if (modules.size() > 1) modules += ',';
      modules += module.text();
    }
    modules += ']';
    return reader_.status().ok();
  }

  bool read_frame_shape(SharedFields& shared) {
    Cursor cursor;
    if (!reader_.begin_array(cursor)) return false;
    std::array<WireInt*, 2> sides{&shared.frame_rows, &shared.frame_columns};
    size_t count = 0;
    while (reader_.next_item(cursor)) {
      if (count == sides.size()) return reader_.fail(StatusCode::wrong_type, "expected two numbers, rows and columns, got more");
      if (!reader_.read_int(*sides[count++])) return false;
    }
    if (!reader_.status().ok()) return false;
    if (count < sides.size()) {
      return reader_.fail(StatusCode::wrong_type, "expected two numbers, rows and columns, got " + std::to_string(count));
    }
    return true;
  }

  bool read_dtype(EventDtype& dtype) {
    std::string_view name;
    if (!reader_.read_string(name)) return false;
    const DtypeInfo* info = find_dtype(name);
    if (info == nullptr) {
      return reader_.fail(StatusCode::unknown_dtype,
                          "expected uint8, uint16, uint32, int32, float32 or float64, got \"" + printable(name) + "\"");
    }
    dtype = info->dtype;
    return true;
  }

  static std::string printable(std::string_view text) {
    std::string out;
    for (const char c : text.substr(0, 40)) out += c >= 0x20 && c < 0x7f ? c : '?';
    return text.size() > 40 ? out + "..." : out;
  }

  bool mixed(const SharedFields& other) {
    const SharedFields& first = *first_;
    const auto differs = [&](const char* what, const std::string& here, const std::string& there) {
      return reader_.fail(StatusCode::mixed_batch, std::string(what) + " is " + here + ", but frame 0 has " + there);
    };
    const auto shape = [](const WireInt& rows, const WireInt& columns) { return rows.text() + " x " + columns.text(); };
    if (other.scan_number != first.scan_number) return differs("scan_number", other.scan_number.text(), first.scan_number.text());
    if (other.scan_rows != first.scan_rows || other.scan_columns != first.scan_columns) {
      return differs("the scan shape", shape(other.scan_rows, other.scan_columns), shape(first.scan_rows, first.scan_columns));
    }
    if (other.dtype != first.dtype) {
      return differs("dtype", std::string(dtype_info(other.dtype).name), std::string(dtype_info(first.dtype).name));
    }
    return differs("frame_shape", shape(other.frame_rows, other.frame_columns), shape(first.frame_rows, first.frame_columns));
  }

  // What can be said only when the whole header is known.
  Status check() {
    if (header_.frame_count == 0) return Status::error(StatusCode::empty_batch, "headers: expected at least one frame, got none");
    const SharedFields& shared = *first_;
    header_.frame_scan_number = shared.scan_number;
    header_.dtype = shared.dtype;
    if (Status status = check_shape("the scan shape (nSTEM_rows_m1, nSTEM_positions_per_row_m1)", shared.scan_rows,
                                    shared.scan_columns, max_scan_positions, max_scan_positions, header_.scan_rows, header_.scan_columns);
        !status.ok()) {
      return status;
    }
    if (Status status = check_shape("frame_shape", shared.frame_rows, shared.frame_columns, max_frame_side,
                                    max_frame_side * max_frame_side, header_.frame_rows, header_.frame_columns);
        !status.ok()) {
      return status;
    }
    if (!batch_size_.at_most(UINT64_MAX) || batch_size_.bits != total_size_) {
      return Status::error(StatusCode::size_mismatch, "batch_size_bytes is " + batch_size_.text() + ", but the " +
                                                          std::to_string(header_.frame_count) + " frames' data_size_bytes add up to " +
                                                          std::to_string(total_size_));
    }
    header_.batch_size_bytes = total_size_;
    const size_t event_size = header_.event_size();
    if (total_size_ / event_size > UINT32_MAX) {
      return Status::error(StatusCode::too_large, "batch_size_bytes is " + batch_size_.text() + ", expected at most 4294967295 events");
    }
    if (event_size > 1) {
      // Sizes of events are powers of two, so all sizes at once tell whether there is a wrong one.
      uint32_t sizes = 0;
      for (const FrameRecord& frame : header_.frames()) sizes |= frame.size;
      for (size_t i = 0; sizes % event_size != 0 && i < header_.frame_count; ++i) {
        const uint32_t size = header_.frames()[i].size;
        if (size % event_size != 0) {
          return Status::error(StatusCode::size_mismatch, "headers[" + std::to_string(i) + "].data_size_bytes is " + std::to_string(size) +
                                                              ", expected whole " + std::string(dtype_info(header_.dtype).name) +
                                                              " events of " + std::to_string(event_size) + " bytes");
        }
      }
    }
    return {};
  }

  bool enter(Cursor& cursor, std::string_view& key) { return reader_.next_key(cursor, key); }

  // Remembers the innermost field of a failure.
  bool field(const char* name, bool ok) {
    if (!ok && field_ == nullptr) field_ = name;
    return ok;
  }

  bool missing(const char* name) { return reader_.fail(StatusCode::missing_field, std::string("required field \"") + name + "\" is missing"); }

  Status located(const Status& status) const {
    std::string place;
    if (frame_) place = "headers[" + std::to_string(*frame_) + "]";
    if (field_ != nullptr) place += (place.empty() ? "" : ".") + std::string(field_);
    return Status::error(status.code, place.empty() ? status.message : place + ": " + status.message);
  }

  Reader reader_;
  BufferPool& pool_;
  BatchHeader& header_;
  WireInt batch_size_;
  uint64_t total_size_ = 0;
  std::optional<SharedFields> first_;
  std::unordered_map<std::string, uint32_t> modules_index_;
  FrameTemplates<Reader> templates_;
  std::optional<size_t> frame_;
  const char* field_ = nullptr;
};

}  // namespace

Status check_shape(const char* name, const WireInt& rows, const WireInt& columns, uint64_t max_side, uint64_t max_product,
                   uint32_t& rows_out, uint32_t& columns_out) {
  const std::string got = std::string(name) + " is " + rows.text() + " x " + columns.text();
  if (rows.negative || columns.negative || rows.bits == 0 || columns.bits == 0) {
    return Status::error(StatusCode::size_mismatch, got + ", expected 1 or more in both directions");
  }
  if (rows.bits > max_side || columns.bits > max_side || rows.bits > max_product / columns.bits) {
    return Status::error(StatusCode::too_large, got + ", expected at most " + std::to_string(max_side) + " a side and " +
                                                    std::to_string(max_product) + " in all");
  }
  rows_out = static_cast<uint32_t>(rows.bits);
  columns_out = static_cast<uint32_t>(columns.bits);
  return {};
}

Status decode_batch_header(HeaderFormat format, std::span<const uint8_t> bytes, BufferPool& pool, BatchHeader& header) {
  header = BatchHeader{};
  if (format == HeaderFormat::msgpack) return BatchDecoder<MsgpackReader>(bytes, pool, header).run();
  return BatchDecoder<JsonReader>(bytes, pool, header).run();
}

std::string outside_scan_text(const BatchHeader& header, size_t frame) {
  const FrameRecord& record = header.frames()[frame];
  const auto number = [](uint32_t value) { return value == UINT32_MAX ? std::string("below 0 or above 4294967294") : std::to_string(value); };
  return "frame " + std::to_string(frame) + ": scan position row " + number(record.row) + ", column " + number(record.column) +
         " lies outside the scan of " + shape_text(header.scan_rows, header.scan_columns) + " positions";
}

Status check_data_size(const BatchHeader& header, size_t data_size) {
  if (header.batch_size_bytes == data_size) return {};
  return Status::error(StatusCode::size_mismatch, "the data has " + std::to_string(data_size) + " bytes, but the " +
                                                      std::to_string(header.frame_count) + " frames' data_size_bytes add up to " +
                                                      std::to_string(header.batch_size_bytes));
}

Status check_positions(const BatchHeader& header) {
  const std::span<const FrameRecord> frames = header.frames();
  // One pass without a branch a frame: almost every message is good.
  bool good = true;
  for (const FrameRecord& frame : frames) good &= header.in_scan(frame);
  if (good) return {};
  for (size_t i = 0; i < frames.size(); ++i) {
    if (!header.in_scan(frames[i])) return Status::error(StatusCode::scan_position, outside_scan_text(header, i));
  }
  return {};
}

namespace {

constexpr size_t max_int_digits = 20;
// write_text may write this much beyond a text's end.
constexpr size_t write_slack = 32;

// Copies in blocks of 32 bytes, which compilers turn into a few wide moves.
uint8_t* write_text(uint8_t* out, const PaddedText& text) {
  size_t i = 0;
  do {
    std::memcpy(out + i, text.bytes.data() + i, 32);
    i += 32;
  } while (i < text.length);
  return out + text.length;
}

constexpr auto digit_pairs = [] {
  std::array<char, 200> pairs{};
  for (int i = 0; i < 100; ++i) {
    pairs[2 * i] = static_cast<char>('0' + i / 10);
    pairs[2 * i + 1] = static_cast<char>('0' + i % 10);
  }
  return pairs;
}();

// Nearly all numbers of a header have at most four digits.
uint8_t* write_number(uint8_t* out, uint32_t value) {
  if (value < 10) {
    *out = static_cast<uint8_t>('0' + value);
    return out + 1;
  }
  if (value < 100) {
    std::memcpy(out, &digit_pairs[2 * value], 2);
    return out + 2;
  }
  if (value < 1000) {
    *out = static_cast<uint8_t>('0' + value / 100);
    std::memcpy(out + 1, &digit_pairs[2 * (value % 100)], 2);
    return out + 3;
  }
  if (value < 10000) {
    std::memcpy(out, &digit_pairs[2 * (value / 100)], 2);
    std::memcpy(out + 2, &digit_pairs[2 * (value % 100)], 2);
    return out + 4;
  }
  char* const begin = reinterpret_cast<char*>(out);
  return reinterpret_cast<uint8_t*>(std::to_chars(begin, begin + max_int_digits, value).ptr);
}

PaddedText padded(std::string text) {
  const size_t length = text.size();
  text.append(write_slack, '\0');
  return {std::move(text), length};
}

}  // namespace

FrameJsonWriter::FrameJsonWriter(const BatchHeader& header)
    : before_column_(padded("{\"scan_number\":" + header.frame_scan_number.text() +
                            ",\"nSTEM_positions_per_row_m1\":" + std::to_string(header.scan_columns) +
                            ",\"nSTEM_rows_m1\":" + std::to_string(header.scan_rows) + ",\"STEM_x_position_in_row\":")),
      before_row_(padded(",\"STEM_row_in_scan\":")),
      before_number_(padded(",\"frame_number\":")),
      after_number_(padded(",\"dtype\":\"" + std::string(dtype_info(header.dtype).name) + "\"}")) {
  for (const std::string& modules : header.modules) {
    before_size_.push_back(padded(",\"modules\":" + modules + ",\"frame_shape\":[" + std::to_string(header.frame_rows) + "," +
                                  std::to_string(header.frame_columns) + "],\"data_size_bytes\":"));
  }
}

size_t FrameJsonWriter::max_bytes(const FrameRecord& frame) const {
  return before_column_.length + before_row_.length + before_size_[frame.modules].length + before_number_.length +
         after_number_.length + 4 * max_int_digits + write_slack;
}

uint8_t* FrameJsonWriter::write(const FrameRecord& frame, uint8_t* out) const {
  out = write_text(out, before_column_);
  out = write_number(out, frame.column);
  out = write_text(out, before_row_);
  out = write_number(out, frame.row);
  out = write_text(out, before_size_[frame.modules]);
  out = write_number(out, frame.size);
  out = write_text(out, before_number_);
  if (frame.has_frame_number) {
    char* const begin = reinterpret_cast<char*>(out);
    const auto result = frame.frame_number_negative
                            ? std::to_chars(begin, begin + max_int_digits, static_cast<int64_t>(frame.frame_number))
                            : std::to_chars(begin, begin + max_int_digits, frame.frame_number);
    out = reinterpret_cast<uint8_t*>(result.ptr);
  } else {
    std::memcpy(out, "null", 4);
    out += 4;
  }
  return write_text(out, after_number_);
}

PooledBuffer encode_batch_header_json(const BatchHeader& header, BufferPool& pool) {
  const auto optional_text = [](const std::optional<WireInt>& value) { return value ? value->text() : std::string("null"); };
  const FrameJsonWriter writer(header);
  const std::string begin = "{\"scan_number\":" + header.scan_number.text() + ",\"headers\":[";
  const std::string end = "],\"batch_size_bytes\":" + std::to_string(header.batch_size_bytes) +
                          ",\"total_batches\":" + optional_text(header.total_batches) +
                          ",\"total_frames\":" + optional_text(header.total_frames) +
                          ",\"current_batch_index\":" + optional_text(header.current_batch_index) + "}";
  size_t room = begin.size() + end.size();
  for (const FrameRecord& frame : header.frames()) room += writer.max_bytes(frame) + 1;
  PooledBuffer json = pool.take(room);
  uint8_t* out = json.data();
  std::memcpy(out, begin.data(), begin.size());
  out += begin.size();
  for (const FrameRecord& frame : header.frames()) {
    out = writer.write(frame, out);
    *out++ = ',';
  }
  if (header.frame_count > 0) --out;
  std::memcpy(out, end.data(), end.size());
  out += end.size();
  json.resize(static_cast<size_t>(out - json.data()));
  return json;
}

}  // namespace stemline
