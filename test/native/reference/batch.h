// A BatchedFrames message as a plain description, and its parts on the wire.
#pragma once

#include <cstring>

#include "wire_value.h"

namespace reference {

struct Frame {
  Int column = 0;
  Int row = 0;
  std::vector<Int> modules{0, 1, 2, 3};
  std::optional<Int> frame_number;
  std::vector<double> events;  // every event of every dtype is a double
};

struct Batch {
  Int scan_number = 1;
  Int frame_scan_number = 1;
  Int scan_rows = 1;
  Int scan_columns = 1;
  Int frame_rows = 1;
  Int frame_columns = 1;
  std::string dtype = "uint32";
  std::vector<Frame> frames;
  std::optional<Int> total_batches;
  std::optional<Int> total_frames;
  std::optional<Int> current_batch_index;
};

// 2 x 3 positions, 10 x 6 pixels, four frames of 3 events.
inline Batch small_batch() {
  Batch batch;
  batch.scan_rows = 2;
  batch.scan_columns = 3;
  batch.frame_rows = 10;
  batch.frame_columns = 6;
  for (int i = 0; i < 4; ++i) {
    Frame frame;
    frame.row = i % 2;
    frame.column = (i + 1) % 3;
    frame.events = {static_cast<double>(7 * i), 13, static_cast<double>(59 - i)};
    batch.frames.push_back(frame);
  }
  return batch;
}

inline size_t event_size(const std::string& dtype) {
  if (dtype == "uint8") return 1;
  if (dtype == "uint16") return 2;
  if (dtype == "float64") return 8;
  return 4;
}

template <class T>
void append_as(Bytes& out, double event) {
  // Through a wide integer: float to unsigned conversion of a negative number is undefined.
  T value;
  if constexpr (std::is_floating_point_v<T>) {
    value = static_cast<T>(event);
  } else {
    value = static_cast<T>(static_cast<int64_t>(event));
  }
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(&value);
  out.insert(out.end(), bytes, bytes + sizeof value);
}

// Part 2 of the message: the events of all frames.
inline Bytes batch_data(const Batch& batch) {
  Bytes data;
  for (const Frame& frame : batch.frames) {
    for (const double event : frame.events) {
      if (batch.dtype == "uint8") append_as<uint8_t>(data, event);
      if (batch.dtype == "uint16") append_as<uint16_t>(data, event);
      if (batch.dtype == "uint32") append_as<uint32_t>(data, event);
      if (batch.dtype == "int32") append_as<int32_t>(data, event);
      if (batch.dtype == "float32") append_as<float>(data, event);
      if (batch.dtype == "float64") append_as<double>(data, event);
    }
  }
  return data;
}

inline Value frame_value(const Batch& batch, const Frame& frame) {
  std::vector<Value> modules;
  for (const Int module : frame.modules) modules.push_back(Value::of(module));
  return Value::of_map({
      {"scan_number", Value::of(batch.frame_scan_number)},
      {"nSTEM_positions_per_row_m1", Value::of(batch.scan_columns)},
      {"nSTEM_rows_m1", Value::of(batch.scan_rows)},
      {"STEM_x_position_in_row", Value::of(frame.column)},
      {"STEM_row_in_scan", Value::of(frame.row)},
      {"modules", Value::of_array(std::move(modules))},
      {"frame_shape", Value::of_array({Value::of(batch.frame_rows), Value::of(batch.frame_columns)})},
      {"data_size_bytes", Value::of(static_cast<Int>(frame.events.size() * event_size(batch.dtype)))},
      {"frame_number", Value::of_optional(frame.frame_number)},
      {"dtype", Value::of_text(batch.dtype)},
  });
}

// Part 1 of the message as a value, every field present and in declaration order: the canonical header.
inline Value batch_value(const Batch& batch) {
  std::vector<Value> headers;
  size_t events = 0;
  for (const Frame& frame : batch.frames) {
    headers.push_back(frame_value(batch, frame));
    events += frame.events.size();
  }
  return Value::of_map({
      {"scan_number", Value::of(batch.scan_number)},
      {"headers", Value::of_array(std::move(headers))},
      {"batch_size_bytes", Value::of(static_cast<Int>(events * event_size(batch.dtype)))},
      {"total_batches", Value::of_optional(batch.total_batches)},
      {"total_frames", Value::of_optional(batch.total_frames)},
      {"current_batch_index", Value::of_optional(batch.current_batch_index)},
  });
}

}  // namespace reference
