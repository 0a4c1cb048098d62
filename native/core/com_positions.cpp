#include "com_positions.h"

#include <bit>
#include <string>
#include <vector>

#include "json_reader.h"

namespace stemline {

namespace {

static_assert(std::endian::native == std::endian::little, "columns are written and read in place, little-endian");

struct ColumnSpec {
  std::string_view name;
  std::string_view dtype;  // as numpy writes it
  size_t item_size;
  bool per_frame;
};

constexpr ColumnSpec column_specs[com_column_count] = {
    {"position", "<u4", 4, false},    {"count", "<u4", 4, false},       {"mean_column", "<f4", 4, false},
    {"mean_row", "<f4", 4, false},    {"entry", "<u4", 4, true},        {"size", "<u4", 4, true},
    {"modules", "<u4", 4, true},      {"frame_number", "<u8", 8, true}, {"frame_number_sign", "|i1", 1, true},
};
constexpr size_t required_columns = static_cast<size_t>(ComColumn::modules);
constexpr size_t column_alignment = 8;

std::string shape_text(uint32_t rows, uint32_t columns) { return "[" + std::to_string(rows) + "," + std::to_string(columns) + "]"; }

std::string optional_text(const std::optional<WireInt>& value) { return value ? value->text() : "null"; }

}  // namespace

void ComColumns::lay_out() {
  size = 0;
  for (size_t i = 0; i < com_column_count; ++i) {
    offset[i] = size;
    if (!present[i]) continue;
    const size_t bytes = (column_specs[i].per_frame ? frames : entries) * column_specs[i].item_size;
    size += (bytes + column_alignment - 1) / column_alignment * column_alignment;
  }
}

ComPositionsWriter::ComPositionsWriter(const BatchHeader& header, uint32_t lowest, size_t range, BufferPool& pool)
    : header_(header), pool_(pool) {
  const std::span<const FrameRecord> frames = header.frames();
  const PooledBuffer entry_storage = pool.take_array<uint32_t>(range);
  uint32_t* const entry_of = entry_storage.as<uint32_t>(range).data();
  std::memset(entry_of, 0, range * sizeof(uint32_t));
  bool has_numbers = false, has_signs = false;
  for (const FrameRecord& frame : frames) {
    uint32_t& seen = entry_of[header.position(frame) - lowest];
    columns_.entries += 1 - seen;
    seen = 1;
    has_numbers |= frame.has_frame_number != 0;
    has_signs |= frame.has_frame_number == 0 || frame.frame_number_negative != 0;
  }
  columns_.frames = frames.size();
  const auto put_in = [this](ComColumn column, bool present) { columns_.present[static_cast<size_t>(column)] = present; };
  for (size_t i = 0; i < required_columns; ++i) columns_.present[i] = true;
  put_in(ComColumn::modules, header.modules.size() > 1);
  put_in(ComColumn::frame_number, has_numbers);
  put_in(ComColumn::frame_number_sign, has_numbers && has_signs);
  columns_.lay_out();
  data_ = pool.take(columns_.size);
  // Columns end at less than a word before the next one: what is between is zero.
  for (size_t i = 1; i <= com_column_count; ++i) {
    const size_t end = i < com_column_count ? columns_.offset[i] : columns_.size;
    if (end > 0) std::memset(data_.data() + end - column_alignment, 0, column_alignment);
  }

  const std::span<uint32_t> positions = column<uint32_t>(ComColumn::position, columns_.entries);
  uint32_t entry = 0;
  for (size_t i = 0; entry < positions.size(); ++i) {
    if (entry_of[i] == 0) continue;
    positions[entry] = static_cast<uint32_t>(lowest + i);
    entry_of[i] = entry++;
  }
  fill_frames<uint32_t>(ComColumn::entry, [&](const FrameRecord& frame) { return entry_of[header_.position(frame) - lowest]; });
  fill_frames<uint32_t>(ComColumn::size, [](const FrameRecord& frame) { return frame.size; });
  fill_frames<uint32_t>(ComColumn::modules, [](const FrameRecord& frame) { return frame.modules; });
  fill_frames<uint64_t>(ComColumn::frame_number, [](const FrameRecord& frame) { return frame.frame_number; });
  fill_frames<int8_t>(ComColumn::frame_number_sign, [](const FrameRecord& frame) {
    return frame.has_frame_number == 0 ? int8_t{0} : frame.frame_number_negative != 0 ? int8_t{-1} : int8_t{1};
  });
}

// Fills a column of frames, if it is present.
template <class T, class Value>
void ComPositionsWriter::fill_frames(ComColumn which, Value value) {
  if (!columns_.has(which)) return;
  const std::span<T> items = column<T>(which, columns_.frames);
  const FrameRecord* const frames = header_.frames().data();
  for (size_t i = 0; i < items.size(); ++i) items[i] = value(frames[i]);
}

PooledBuffer ComPositionsWriter::meta() const {
  std::string text = "{\"format\":\"" + std::string(com_positions_format) + "\",\"scan_number\":" + header_.scan_number.text() +
                     ",\"frame_scan_number\":" + header_.frame_scan_number.text() +
                     ",\"scan_shape\":" + shape_text(header_.scan_rows, header_.scan_columns) +
                     ",\"frame_shape\":" + shape_text(header_.frame_rows, header_.frame_columns) + ",\"dtype\":\"" +
                     std::string(dtype_info(header_.dtype).name) + "\",\"batch_size_bytes\":" + std::to_string(header_.batch_size_bytes) +
                     ",\"total_batches\":" + optional_text(header_.total_batches) +
                     ",\"total_frames\":" + optional_text(header_.total_frames) +
                     ",\"current_batch_index\":" + optional_text(header_.current_batch_index) + ",\"modules\":[";
  for (const std::string& modules : header_.modules) text += modules + ",";
  if (!header_.modules.empty()) text.pop_back();
  text += "],\"columns\":[";
  for (size_t i = 0; i < com_column_count; ++i) {
    if (!columns_.present[i]) continue;
    const ColumnSpec& spec = column_specs[i];
    text += "[\"" + std::string(spec.name) + "\",\"" + std::string(spec.dtype) + "\"," +
            std::to_string(spec.per_frame ? columns_.frames : columns_.entries) + "],";
  }
  text.back() = ']';
  text += '}';
  PooledBuffer meta = pool_.take(text.size());
  std::memcpy(meta.data(), text.data(), text.size());
  return meta;
}

namespace {

class Reader {
 public:
  Reader(std::span<const uint8_t> meta, std::span<const uint8_t> data, BufferPool& pool, ComPositions& message)
      : reader_(meta.data(), meta.size()), pool_(pool), message_(message), header_(message.header), columns_(message.columns) {
    message_.data = data;
  }

  Status run(bool with_frames) {
    if (!read_meta() || !reader_.finish()) {
      const Status& status = reader_.status();
      return field_ == nullptr ? status : Status::error(status.code, std::string(field_) + ": " + status.message);
    }
    for (const auto check : {&Reader::check_meta, &Reader::check_columns, &Reader::check_frames, &Reader::check_entries}) {
      if (Status status = (this->*check)(); !status.ok()) return status;
    }
    if (with_frames) make_frames();
    return {};
  }

 private:
  using Cursor = JsonReader::Cursor;

  bool read_meta() {
    enum : unsigned { format, scan_number, frame_scan_number, scan_shape, frame_shape, dtype, batch_size, modules, columns, required };
    static constexpr const char* names[] = {"format",      "scan_number", "frame_scan_number", "scan_shape",
                                            "frame_shape", "dtype",       "batch_size_bytes",  "modules", "columns"};
    unsigned seen = 0;
    Cursor cursor;
    std::string_view key;
    reader_.skip_space();
    if (!reader_.begin_map(cursor)) return false;
    while (reader_.next_key(cursor, key)) {
      unsigned index = 0;
      while (index < required && key != names[index]) ++index;
      bool ok = true;
      const char* name = index < required ? names[index] : nullptr;
      switch (index) {
        case format: ok = read_format(); break;
        case scan_number: ok = reader_.read_int(header_.scan_number); break;
        case frame_scan_number: ok = reader_.read_int(header_.frame_scan_number); break;
        case scan_shape: ok = read_shape(scan_rows_, scan_columns_); break;
        case frame_shape: ok = read_shape(frame_rows_, frame_columns_); break;
        case dtype: ok = read_dtype(); break;
        case batch_size: ok = reader_.read_int(batch_size_); break;
        case modules: ok = read_modules(); break;
        case columns: ok = read_columns(); break;
        default:
          if (key == "total_batches") {
            name = "total_batches";
            ok = read_optional(header_.total_batches);
          } else if (key == "total_frames") {
            name = "total_frames";
            ok = read_optional(header_.total_frames);
          } else if (key == "current_batch_index") {
            name = "current_batch_index";
            ok = read_optional(header_.current_batch_index);
          } else {
            ok = reader_.skip();
          }
      }
      if (!ok) {
        field_ = name;
        return false;
      }
      if (index < required) seen |= 1u << index;
    }
    if (!reader_.status().ok()) return false;
    for (unsigned index = 0; index < required; ++index) {
      if ((seen & 1u << index) == 0) {
        return reader_.fail(StatusCode::missing_field, "required field \"" + std::string(names[index]) + "\" is missing");
      }
    }
    return true;
  }

  // At most 40 characters, those that are not printable ASCII as question marks.
  static std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text.substr(0, 40)) out += c >= 0x20 && c < 0x7f ? c : '?';
    return out + (text.size() > 40 ? "...\"" : "\"");
  }

  bool read_format() {
    std::string_view format;
    if (!reader_.read_string(format)) return false;
    if (format == com_positions_format) return true;
    return reader_.fail(StatusCode::unknown_format, "expected \"" + std::string(com_positions_format) + "\", got " + quoted(format));
  }

  bool read_shape(WireInt& rows, WireInt& columns) {
    Cursor cursor;
    if (!reader_.begin_array(cursor)) return false;
    for (WireInt* side : {&rows, &columns}) {
      if (!reader_.next_item(cursor)) return wrong_length("two numbers, rows and columns");
      if (!reader_.read_int(*side)) return false;
    }
    return end_array(cursor, "two numbers, rows and columns");
  }

  bool read_dtype() {
    std::string_view name;
    if (!reader_.read_string(name)) return false;
    const DtypeInfo* const info = find_dtype(name);
    if (info == nullptr) {
      return reader_.fail(StatusCode::unknown_dtype, "expected uint8, uint16, uint32, int32, float32 or float64, got " + quoted(name));
    }
    header_.dtype = info->dtype;
    return true;
  }

  bool read_optional(std::optional<WireInt>& value) {
    value.reset();
    if (reader_.next_is_null()) {
      reader_.skip_null();
      return true;
    }
    return reader_.read_int(value.emplace());
  }

  bool read_modules() {
    header_.modules.clear();
    Cursor lists;
    if (!reader_.begin_array(lists)) return false;
    while (reader_.next_item(lists)) {
      std::string text = "[";
      Cursor list;
      if (!reader_.begin_array(list)) return false;
      while (reader_.next_item(list)) {
        WireInt module;
        if (!reader_.read_int(module)) return false;
        if (text.size() > 1) text += ',';
        text += module.text();
      }
      if (!reader_.status().ok()) return false;
      header_.modules.push_back(text + "]");
    }
    return reader_.status().ok();
  }

  bool read_columns() {
    columns_ = {};
    size_t next = 0;
    Cursor cursor;
    if (!reader_.begin_array(cursor)) return false;
    while (reader_.next_item(cursor)) {
      Cursor triple;
      std::string_view text;
      constexpr const char* expected = "name, type and length of a column";
      if (!reader_.begin_array(triple)) return false;
      if (!reader_.next_item(triple)) return wrong_length(expected);
      if (!reader_.read_string(text)) return false;
      size_t index = next;
      while (index < com_column_count && text != column_specs[index].name) ++index;
      if (index == com_column_count || (next < required_columns && index != next)) {
        return reader_.fail(StatusCode::unknown_format, "unexpected column " + quoted(text));
      }
      const ColumnSpec& spec = column_specs[index];
      if (!reader_.next_item(triple)) return wrong_length(expected);
      if (!reader_.read_string(text)) return false;
      if (text != spec.dtype) {
        return reader_.fail(StatusCode::unknown_format, "column \"" + std::string(spec.name) + "\" is of type " + quoted(text) +
                                                            ", expected \"" + std::string(spec.dtype) + "\"");
      }
      if (!reader_.next_item(triple)) return wrong_length(expected);
      WireInt length;
      if (!reader_.read_int(length) || !set_length(index, length) || !end_array(triple, expected)) return false;
      next = index + 1;
    }
    if (!reader_.status().ok()) return false;
    if (next >= required_columns) return true;
    return reader_.fail(StatusCode::unknown_format, "column \"" + std::string(column_specs[next].name) + "\" is missing");
  }

  // The first column of entries and the first one of frames say how many there are; the others agree.
  bool set_length(size_t index, const WireInt& length) {
    const ColumnSpec& spec = column_specs[index];
    size_t& known = spec.per_frame ? columns_.frames : columns_.entries;
    const bool is_first = index == static_cast<size_t>(spec.per_frame ? ComColumn::entry : ComColumn::position);
    const std::string got = "column \"" + std::string(spec.name) + "\" has length " + length.text();
    // More would not fit into the data, so that sizes cannot overflow.
    if (is_first && !length.at_most(message_.data.size() / spec.item_size)) {
      return reader_.fail(StatusCode::size_mismatch, got + ", but the data has " + std::to_string(message_.data.size()) + " bytes");
    }
    if (is_first) known = length.bits;
    if (length.negative || length.bits != known) {
      return reader_.fail(StatusCode::size_mismatch, got + ", expected " + std::to_string(known));
    }
    columns_.present[index] = true;
    return true;
  }

  bool wrong_length(const char* expected) {
    // A failure before is what is told.
    return reader_.fail(StatusCode::wrong_type, std::string("expected ") + expected);
  }

  bool end_array(Cursor& cursor, const char* expected) {
    if (reader_.next_item(cursor)) return wrong_length(expected);
    return reader_.status().ok();
  }

  Status check_meta() {
    if (Status status = check_shape("scan_shape", scan_rows_, scan_columns_, max_scan_positions, max_scan_positions,
                                    header_.scan_rows, header_.scan_columns);
        !status.ok()) {
      return status;
    }
    if (Status status = check_shape("frame_shape", frame_rows_, frame_columns_, max_frame_side, max_frame_side * max_frame_side,
                                    header_.frame_rows, header_.frame_columns);
        !status.ok()) {
      return status;
    }
    if (columns_.frames == 0) return Status::error(StatusCode::empty_batch, "columns: expected at least one frame, got none");
    if (header_.modules.empty() || (header_.modules.size() > 1 && !columns_.has(ComColumn::modules))) {
      return Status::error(StatusCode::missing_field, "modules: expected one list, or a column that says which of " +
                                                          std::to_string(header_.modules.size()) + " each frame has");
    }
    if (columns_.has(ComColumn::frame_number_sign) && !columns_.has(ComColumn::frame_number)) {
      return Status::error(StatusCode::unknown_format, "columns: \"frame_number_sign\" without \"frame_number\"");
    }
    return {};
  }

  Status check_columns() {
    columns_.lay_out();
    if (columns_.size == message_.data.size()) return {};
    return Status::error(StatusCode::size_mismatch, "the data has " + std::to_string(message_.data.size()) + " bytes, but its columns for " +
                                                        std::to_string(columns_.entries) + " positions and " +
                                                        std::to_string(columns_.frames) + " frames take " + std::to_string(columns_.size));
  }

  // What the frames of an entry come to.
  struct EntryFrames {
    uint64_t bytes = 0;
    uint64_t frames = 0;
  };

  Status check_frames() {
    const size_t event_size = header_.event_size();
    per_entry_ = pool_.take_array<EntryFrames>(columns_.entries);
    const std::span<EntryFrames> per_entry = per_entry_.as<EntryFrames>(columns_.entries);
    std::memset(per_entry_.data(), 0, per_entry.size_bytes());
    const ComColumnView<uint32_t> entries = message_.column<uint32_t>(ComColumn::entry), sizes = message_.column<uint32_t>(ComColumn::size);
    uint64_t total = 0;
    for (size_t i = 0; i < columns_.frames; ++i) {
      const uint32_t entry = entries[i], size = sizes[i];
      if (entry >= per_entry.size()) {
        return wrong_frame(i, "entry is " + std::to_string(entry) + ", expected less than " + std::to_string(columns_.entries));
      }
      if (size % event_size != 0) {
        return Status::error(StatusCode::size_mismatch, "frame " + std::to_string(i) + ": size is " + std::to_string(size) +
                                                            ", expected whole " + std::string(dtype_info(header_.dtype).name) +
                                                            " events of " + std::to_string(event_size) + " bytes");
      }
      per_entry[entry].bytes += size;
      per_entry[entry].frames += 1;
      total += size;
    }
    if (batch_size_.negative || batch_size_.bits != total) {
      return Status::error(StatusCode::size_mismatch, "batch_size_bytes is " + batch_size_.text() + ", but the sizes of the " +
                                                          std::to_string(columns_.frames) + " frames add up to " + std::to_string(total));
    }
    if (total / event_size > UINT32_MAX) {
      return Status::error(StatusCode::too_large, "batch_size_bytes is " + batch_size_.text() + ", expected at most 4294967295 events");
    }
    header_.batch_size_bytes = total;
    return check_optional_columns();
  }

  Status check_optional_columns() const {
    const ComColumnView<uint32_t> lists = message_.column<uint32_t>(ComColumn::modules);
    for (size_t i = 0; columns_.has(ComColumn::modules) && i < columns_.frames; ++i) {
      const uint32_t modules = lists[i];
      if (modules < header_.modules.size()) continue;
      return wrong_frame(i, "modules is " + std::to_string(modules) + ", expected less than " + std::to_string(header_.modules.size()));
    }
    const ComColumnView<uint64_t> numbers = message_.column<uint64_t>(ComColumn::frame_number);
    const ComColumnView<int8_t> signs = message_.column<int8_t>(ComColumn::frame_number_sign);
    for (size_t i = 0; columns_.has(ComColumn::frame_number_sign) && i < columns_.frames; ++i) {
      const int sign = signs[i];
      const uint64_t number = numbers[i];
      const bool agrees = sign == 1 || (sign == 0 && number == 0) || (sign == -1 && number >> 63 == 1);
      if (agrees) continue;
      return wrong_frame(i, "frame_number_sign is " + std::to_string(sign) + " beside the number " + std::to_string(number) +
                                ", expected -1 for a negative number, 0 for none, which is 0, or 1");
    }
    return {};
  }

  Status check_entries() {
    const std::span<const EntryFrames> per_entry = per_entry_.as<EntryFrames>(columns_.entries);
    const uint64_t positions = header_.scan_positions();
    const float last_column = static_cast<float>(header_.frame_columns - 1), last_row = static_cast<float>(header_.frame_rows - 1);
    const ComColumnView<uint32_t> all_positions = message_.positions(), counts = message_.counts();
    const ComColumnView<float> mean_columns = message_.mean_columns(), mean_rows = message_.mean_rows();
    int64_t before = -1;
    for (size_t i = 0; i < per_entry.size(); ++i) {
      const uint32_t position = all_positions[i], count = counts[i];
      const float column = mean_columns[i], row = mean_rows[i];
      const auto place = [&] { return "entry " + std::to_string(i) + ", scan position " + std::to_string(position); };
      if (position >= positions) {
        return Status::error(StatusCode::scan_position, place() + " lies outside the scan of " + std::to_string(header_.scan_rows) +
                                                            " x " + std::to_string(header_.scan_columns) + " positions");
      }
      if (position <= before) return wrong(place() + ": expected more than " + std::to_string(before) + ", the one before");
      before = position;
      if (per_entry[i].frames == 0) return wrong(place() + ": has no frame");
      if (count > per_entry[i].bytes / header_.event_size()) {
        return wrong(place() + ": count is " + std::to_string(count) + ", but its " + std::to_string(per_entry[i].frames) +
                     " frames have " + std::to_string(per_entry[i].bytes / header_.event_size()) + " events");
      }
      // The negation also finds NaN.
      if (count > 0 && !(column >= 0.0f && column <= last_column && row >= 0.0f && row <= last_row)) {
        return wrong(place() + ": the mean of " + std::to_string(count) + " events is column " + std::to_string(column) + ", row " +
                     std::to_string(row) + ", outside of " + std::to_string(header_.frame_rows) + " x " +
                     std::to_string(header_.frame_columns) + " pixels");
      }
    }
    return {};
  }

  static Status wrong(std::string text) { return Status::error(StatusCode::wrong_value, std::move(text)); }
  static Status wrong_frame(size_t frame, const std::string& text) { return wrong("frame " + std::to_string(frame) + ": " + text); }

  void make_frames() {
    header_.storage = pool_.take_array<FrameRecord>(columns_.frames);
    header_.frame_count = columns_.frames;
    const ComColumnView<uint32_t> positions = message_.positions(), entries = message_.column<uint32_t>(ComColumn::entry),
                                  sizes = message_.column<uint32_t>(ComColumn::size), lists = message_.column<uint32_t>(ComColumn::modules);
    const ComColumnView<uint64_t> numbers = message_.column<uint64_t>(ComColumn::frame_number);
    const ComColumnView<int8_t> signs = message_.column<int8_t>(ComColumn::frame_number_sign);
    uint64_t offset = 0;
    for (size_t i = 0; i < columns_.frames; ++i) {
      FrameRecord frame;
      const uint32_t position = positions[entries[i]];
      frame.row = position / header_.scan_columns;
      frame.column = position % header_.scan_columns;
      frame.size = sizes[i];
      frame.offset = offset;
      offset += frame.size;
      if (columns_.has(ComColumn::modules)) frame.modules = lists[i] & 0x3fffffff;
      if (columns_.has(ComColumn::frame_number)) {
        const int sign = columns_.has(ComColumn::frame_number_sign) ? signs[i] : 1;
        frame.frame_number = numbers[i];
        frame.has_frame_number = sign != 0;
        frame.frame_number_negative = sign < 0;
      }
      header_.frames()[i] = frame;
    }
  }

  JsonReader reader_;
  BufferPool& pool_;
  ComPositions& message_;
  BatchHeader& header_;
  ComColumns& columns_;
  WireInt scan_rows_, scan_columns_, frame_rows_, frame_columns_, batch_size_;
  PooledBuffer per_entry_;
  const char* field_ = nullptr;
};

}  // namespace

bool is_com_positions(std::span<const uint8_t> meta) {
  JsonReader reader(meta.data(), meta.size());
  JsonReader::Cursor cursor;
  std::string_view key;
  reader.skip_space();
  return reader.begin_map(cursor) && reader.next_key(cursor, key) && key == "format";
}

Status read_com_positions(std::span<const uint8_t> meta, std::span<const uint8_t> data, bool with_frames, BufferPool& pool,
                          ComPositions& message) {
  message = ComPositions{};
  return Reader(meta, data, pool, message).run(with_frames);
}

}  // namespace stemline
