// The form of a COMPartial message between stemline operators: the positions of the batch instead of the whole scan, and
// what differs between frames as columns instead of a JSON header for each. docs/protocol.md has the bytes.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "batch_header.h"
#include "buffer_pool.h"
#include "status.h"

namespace stemline {

// Name and version of the form. A change that a reader of this version could not read exactly gets another one.
inline constexpr std::string_view com_positions_format = "stemline-com-partial-1";

// The columns of the data, in this order. Each begins at a multiple of 8 bytes; the last three may be absent.
enum class ComColumn : uint8_t {
  position,           // uint32, one for each entry: row-major scan position, ascending
  count,              // uint32: events behind the means
  mean_column,        // float32, detector pixels; NaN where count is 0
  mean_row,           // float32
  entry,              // uint32, one for each frame: index of its position among the entries
  size,               // uint32: bytes of the frame's events
  modules,            // uint32: index into the meta's lists of modules; absent if there is one list
  frame_number,       // uint64, two's complement if negative; absent if no frame has one
  frame_number_sign,  // int8: -1 for a negative number, 0 for none, 1; absent if all are 1
};
inline constexpr size_t com_column_count = 9;

// Where the columns are in the data.
struct ComColumns {
  size_t entries = 0;
  size_t frames = 0;
  bool present[com_column_count] = {};
  size_t offset[com_column_count] = {};  // bytes
  size_t size = 0;                       // of the whole data, bytes

  // Sets offsets and size from the numbers and what is present, which together take less than 2^63 bytes.
  void lay_out();

  bool has(ComColumn column) const { return present[static_cast<size_t>(column)]; }
  size_t at(ComColumn column) const { return offset[static_cast<size_t>(column)]; }
};

// A message under construction.
class ComPositionsWriter {
 public:
  // Takes the frames over from `header`, which has to outlive the writer. All of them lie in the `range` positions from
  // `lowest` on. Throws std::bad_alloc, as the other calls do.
  ComPositionsWriter(const BatchHeader& header, uint32_t lowest, size_t range, BufferPool& pool);

  // Positions that have a frame, ascending.
  std::span<const uint32_t> positions() const { return column<uint32_t>(ComColumn::position, columns_.entries); }

  // For each of them the result, which the caller fills in. Means are in detector pixels, NaN if the count is 0.
  std::span<uint32_t> counts() const { return column<uint32_t>(ComColumn::count, columns_.entries); }
  std::span<float> mean_columns() const { return column<float>(ComColumn::mean_column, columns_.entries); }
  std::span<float> mean_rows() const { return column<float>(ComColumn::mean_row, columns_.entries); }

  PooledBuffer meta() const;
  PooledBuffer data() { return std::move(data_); }

 private:
  // Aligned, as buffers of the pool are.
  template <class T>
  std::span<T> column(ComColumn column, size_t length) const {
    return {reinterpret_cast<T*>(data_.data() + columns_.at(column)), length};
  }

  template <class T, class Value>
  void fill_frames(ComColumn column, Value value);

  const BatchHeader& header_;
  BufferPool& pool_;
  ComColumns columns_;
  PooledBuffer data_;
};

// Items of a column in place, not necessarily aligned.
template <class T>
class ComColumnView {
 public:
  explicit ComColumnView(const uint8_t* begin) : begin_(begin) {}

  T operator[](size_t index) const {
    T value;
    std::memcpy(&value, begin_ + index * sizeof(T), sizeof(T));
    return value;
  }

 private:
  const uint8_t* begin_;
};

// A message that was read; the data stays the caller's and is read in place.
struct ComPositions {
  BatchHeader header;  // has frames only if they were asked for
  ComColumns columns;
  std::span<const uint8_t> data;

  ComColumnView<uint32_t> positions() const { return column<uint32_t>(ComColumn::position); }
  ComColumnView<uint32_t> counts() const { return column<uint32_t>(ComColumn::count); }
  ComColumnView<float> mean_columns() const { return column<float>(ComColumn::mean_column); }
  ComColumnView<float> mean_rows() const { return column<float>(ComColumn::mean_row); }

  // A column of type T. Only one that is present has items.
  template <class T>
  ComColumnView<T> column(ComColumn column) const {
    return ComColumnView<T>(data.data() + columns.at(column));
  }
};

// True if a COMPartial message's meta says that it is of this form, in whichever version: its first member is `format`.
bool is_com_positions(std::span<const uint8_t> meta);

// Reads and checks a message: afterwards every entry is in the scan and has a frame, every mean lies on the detector,
// no count is larger than the events of the position's frames, and sizes add up. `with_frames` fills header.frames(), to
// write their headers. Throws std::bad_alloc only.
Status read_com_positions(std::span<const uint8_t> meta, std::span<const uint8_t> data, bool with_frames, BufferPool& pool,
                          ComPositions& message);

}  // namespace stemline
