// A COMPartial message that has the positions of its batch alone, by the description in docs/protocol.md.
#pragma once

#include <algorithm>
#include <map>

#include "center_of_mass.h"
#include "json.h"

namespace reference {

struct ComPositionsMessage {
  Value meta;
  Bytes data;
};

// Columns of the data one after another, each filled up to 8 bytes, and their list for the meta.
class ColumnWriter {
 public:
  template <class T>
  void add(const std::string& name, const std::string& dtype, const std::vector<T>& values) {
    columns.items.push_back(
        Value::of_array({Value::of_text(name), Value::of_text(dtype), Value::of(static_cast<Int>(values.size()))}));
    for (const T& value : values) {
      const uint8_t* const bytes = reinterpret_cast<const uint8_t*>(&value);
      data.insert(data.end(), bytes, bytes + sizeof value);
    }
    while (data.size() % 8 != 0) data.push_back(0);
  }

  Value columns = Value::of_array({});
  Bytes data;
};

// For a batch all of whose frames are valid. `arrays` are those of the whole scan.
inline ComPositionsMessage com_positions(const Batch& batch, const ComArrays& arrays) {
  const auto position_of = [&](const Frame& frame) { return static_cast<uint32_t>(frame.row * batch.scan_columns + frame.column); };
  std::map<uint32_t, uint32_t> entries;
  for (const Frame& frame : batch.frames) entries[position_of(frame)] = 0;
  std::vector<uint32_t> positions, counts;
  std::vector<float> mean_columns, mean_rows;
  const size_t plane = arrays.count.size();
  for (auto& [position, entry] : entries) {
    entry = static_cast<uint32_t>(positions.size());
    positions.push_back(position);
    counts.push_back(arrays.count[position]);
    mean_columns.push_back(arrays.com[position]);
    mean_rows.push_back(arrays.com[plane + position]);
  }

  std::vector<uint32_t> frame_entries, sizes, frame_modules;
  std::vector<uint64_t> numbers;
  std::vector<int8_t> signs;
  std::vector<std::vector<Int>> lists;
  size_t bytes = 0;
  for (const Frame& frame : batch.frames) {
    frame_entries.push_back(entries[position_of(frame)]);
    sizes.push_back(static_cast<uint32_t>(frame.events.size() * event_size(batch.dtype)));
    bytes += sizes.back();
    const auto found = std::find(lists.begin(), lists.end(), frame.modules);
    frame_modules.push_back(static_cast<uint32_t>(found - lists.begin()));
    if (found == lists.end()) lists.push_back(frame.modules);
    numbers.push_back(static_cast<uint64_t>(frame.frame_number.value_or(0)));
    signs.push_back(static_cast<int8_t>(!frame.frame_number ? 0 : *frame.frame_number < 0 ? -1 : 1));
  }

  ColumnWriter columns;
  columns.add("position", "<u4", positions);
  columns.add("count", "<u4", counts);
  columns.add("mean_column", "<f4", mean_columns);
  columns.add("mean_row", "<f4", mean_rows);
  columns.add("entry", "<u4", frame_entries);
  columns.add("size", "<u4", sizes);
  if (lists.size() > 1) columns.add("modules", "<u4", frame_modules);
  const auto all_are = [&](int8_t sign) { return std::count(signs.begin(), signs.end(), sign) == static_cast<std::ptrdiff_t>(signs.size()); };
  if (!all_are(0)) columns.add("frame_number", "<u8", numbers);
  if (!all_are(0) && !all_are(1)) columns.add("frame_number_sign", "|i1", signs);

  Value modules = Value::of_array({});
  for (const std::vector<Int>& list : lists) {
    Value items = Value::of_array({});
    for (const Int module : list) items.items.push_back(Value::of(module));
    modules.items.push_back(std::move(items));
  }
  const auto shape = [](Int rows, Int side) { return Value::of_array({Value::of(rows), Value::of(side)}); };
  return {Value::of_map({
              {"format", Value::of_text("stemline-com-partial-1")},
              {"scan_number", Value::of(batch.scan_number)},
              {"frame_scan_number", Value::of(batch.frame_scan_number)},
              {"scan_shape", shape(batch.scan_rows, batch.scan_columns)},
              {"frame_shape", shape(batch.frame_rows, batch.frame_columns)},
              {"dtype", Value::of_text(batch.dtype)},
              {"batch_size_bytes", Value::of(static_cast<Int>(bytes))},
              {"total_batches", Value::of_optional(batch.total_batches)},
              {"total_frames", Value::of_optional(batch.total_frames)},
              {"current_batch_index", Value::of_optional(batch.current_batch_index)},
              {"modules", std::move(modules)},
              {"columns", std::move(columns.columns)},
          }),
          std::move(columns.data)};
}

}  // namespace reference
