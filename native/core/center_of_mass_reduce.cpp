#include "center_of_mass_reduce.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "batch_header.h"
#include "com_positions.h"
#include "nan_mean.h"
#include "npz.h"

namespace stemline {

namespace {

// Sums below this come back exactly from a float32 mean: its relative error of 2^-24 is less than half a count.
constexpr double exact_sum_limit = 8388608.0;

double sum_of(float mean, uint32_t count) {
  const double sum = static_cast<double>(mean) * count;
  return std::fabs(sum) < exact_sum_limit ? std::nearbyint(sum) : sum;
}

template <class T>
T load(const uint8_t* array, uint64_t index) {
  T value;
  std::memcpy(&value, array + index * sizeof(T), sizeof(T));
  return value;
}

std::string shape_text(const std::vector<uint64_t>& shape) {
  std::string text = "(";
  for (const uint64_t side : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(side);
  return text + ")";
}

struct PartialArrays {
  const uint8_t* com = nullptr;    // float32 (2, rows, columns)
  const uint8_t* count = nullptr;  // uint32 (rows, columns), or absent
  std::vector<NamedNpyView> counts;  // uint32, of scan positions or of pixels, as an analysis adds them
};

Status read_arrays(std::span<const uint8_t> data, const BatchHeader& header, const Backend& backend, PartialArrays& arrays) {
  bool found = false;
  NpyView view;
  if (Status status = find_npz_array(data, "com", "<f4", sizeof(float), backend, found, view); !status.ok()) return status;
  if (!found) return Status::error(StatusCode::npz_invalid, "the .npz has no array \"com\"");
  const std::vector<uint64_t> com_shape{2, header.scan_rows, header.scan_columns};
  if (view.shape != com_shape) {
    return Status::error(StatusCode::npz_invalid, "array \"com\" has shape " + shape_text(view.shape) + ", expected " + shape_text(com_shape));
  }
  arrays.com = view.data;
  if (Status status = find_npz_array(data, "count", "<u4", sizeof(uint32_t), backend, found, view); !status.ok()) return status;
  const std::vector<uint64_t> count_shape{header.scan_rows, header.scan_columns};
  if (found) {
    if (view.shape != count_shape) {
      return Status::error(StatusCode::npz_invalid, "array \"count\" has shape " + shape_text(view.shape) + ", expected " + shape_text(count_shape));
    }
    arrays.count = view.data;
  }

  constexpr std::string_view means[] = {"com", "count"};
  if (Status status = read_npz_arrays(data, means, "<u4", sizeof(uint32_t), backend, arrays.counts); !status.ok()) return status;
  const std::vector<uint64_t> frame_shape{header.frame_rows, header.frame_columns};
  // Whatever else a sender adds is none of ours.
  std::erase_if(arrays.counts, [&](const NamedNpyView& counts) { return counts.shape != count_shape && counts.shape != frame_shape; });
  return {};
}

}  // namespace

struct ComReducer::Scan {
  struct Position {
    double row_sum = 0;
    double column_sum = 0;
    uint64_t weight = 0;
    uint64_t last_message = 0;  // the message, counted from 1, that held it last; 0: not seen yet
  };

  WireInt scan_number;
  uint32_t rows = 0;
  uint32_t columns = 0;
  uint32_t frame_rows = 0;
  uint32_t frame_columns = 0;
  std::vector<Position> positions;
  uint64_t positions_seen = 0;
  uint64_t messages = 0;
  uint64_t frames = 0;
  // Sums of the counts of all messages, which have the same names and shapes.
  struct Counts {
    std::string name;
    std::vector<uint64_t> shape;
    std::vector<uint64_t> sums;
  };
  std::vector<Counts> counts;
  std::vector<BatchHeader> headers;  // of the messages, only while include_headers asks for them

  bool complete() const { return positions_seen == positions.size(); }

  // Refuses a message with other counts than those so far.
  Status check_counts(const std::vector<NamedNpyView>& views) const {
    const auto matches = [](const Counts& sum, const NamedNpyView& view) { return sum.name == view.name && sum.shape == view.shape; };
    if (messages == 0 || std::equal(counts.begin(), counts.end(), views.begin(), views.end(), matches)) return {};
    const auto text = [](const auto& list) {
      std::string all;
      for (const auto& item : list) all += (all.empty() ? "" : ", ") + std::string(item.name) + " " + shape_text(item.shape);
      return all.empty() ? std::string("none") : all;
    };
    return Status::error(StatusCode::scan_changed, "scan " + scan_number.text() + " has these counts so far: " + text(counts) +
                                                       "; but this message has: " + text(views));
  }

  void add(BatchHeader& header, const PartialArrays& arrays, bool keep_headers) {
    if (messages == 0) {
      std::vector<Counts> zeros;
      for (const NamedNpyView& view : arrays.counts) zeros.push_back({std::string(view.name), view.shape, std::vector<uint64_t>(view.shape[0] * view.shape[1])});
      counts = std::move(zeros);
    }
    for (size_t i = 0; i < counts.size(); ++i) {
      std::vector<uint64_t>& sums = counts[i].sums;
      for (size_t k = 0; k < sums.size(); ++k) sums[k] += load<uint32_t>(arrays.counts[i].data, k);
    }
    begin_message(header, header.frame_count);
    for (const FrameRecord& frame : header.frames()) {
      const uint32_t index = header.position(frame);
      const bool first_in_message = see(index);
      const float column = load<float>(arrays.com, index);
      const float row = load<float>(arrays.com, positions.size() + index);
      if (arrays.count != nullptr) {
        if (first_in_message) add_means(index, column, row, load<uint32_t>(arrays.count, index));
      } else if (frame.size > 0 && !std::isnan(column) && !std::isnan(row)) {
        Position& position = positions[index];
        position.column_sum += static_cast<double>(column);
        position.row_sum += static_cast<double>(row);
        position.weight += 1;
      }
    }
    if (keep_headers) headers.push_back(std::move(header));
  }

  void add(ComPositions& message, bool keep_headers) {
    begin_message(message.header, message.columns.frames);
    const ComColumnView<uint32_t> indices = message.positions(), counts = message.counts();
    const ComColumnView<float> mean_columns = message.mean_columns(), mean_rows = message.mean_rows();
    for (size_t entry = 0; entry < message.columns.entries; ++entry) {
      see(indices[entry]);
      add_means(indices[entry], mean_columns[entry], mean_rows[entry], counts[entry]);
    }
    if (keep_headers) headers.push_back(std::move(message.header));
  }

  void begin_message(const BatchHeader& header, uint64_t message_frames) {
    ++messages;
    frames += message_frames;
    frame_rows = header.frame_rows;
    frame_columns = header.frame_columns;
  }

  // Notes that the message has the position. Returns whether that is new.
  bool see(uint32_t index) {
    Position& position = positions[index];
    if (position.last_message == 0) ++positions_seen;
    return std::exchange(position.last_message, messages) != messages;
  }

  // Means of `count` events.
  void add_means(uint32_t index, float column, float row, uint32_t count) {
    if (count == 0 || std::isnan(column) || std::isnan(row)) return;
    Position& position = positions[index];
    position.column_sum += sum_of(column, count);
    position.row_sum += sum_of(row, count);
    position.weight += count;
  }

  ComEmission emit(const ComReduceOptions& options, BufferPool& pool) const {
    ComEmission emission;
    emission.data = arrays(options, pool);
    emission.meta = meta(options.include_headers, pool);
    emission.scan_number = scan_number;
    emission.messages = messages;
    emission.frames = frames;
    emission.positions_seen = positions_seen;
    emission.positions = positions.size();
    emission.complete = complete();
    return emission;
  }

  PooledBuffer arrays(const ComReduceOptions& options, BufferPool& pool) const {
    const size_t count = positions.size();
    PooledBuffer planes = pool.take_array<float>(2 * count);
    const std::span<float> mean_column = planes.as<float>(count);
    const std::span<float> mean_row(mean_column.data() + count, count);
    for (size_t i = 0; i < count; ++i) {
      const Position& position = positions[i];
      const double weight = static_cast<double>(position.weight);
      const bool empty = position.weight == 0;
      mean_column[i] = empty ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(position.column_sum / weight);
      mean_row[i] = empty ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(position.row_sum / weight);
    }
    if (options.replace_nans) {
      for (const std::span<float> plane : {mean_column, mean_row}) {
        replace_nans_by_mean(plane);
        // Where no position has a value there is no mean; the peer then puts 0.
        if (count > 0 && std::isnan(plane[0])) std::fill(plane.begin(), plane.end(), 0.0f);
      }
    }
    std::vector<NpzWriter::Member> members{{"com", "<f4", sizeof(float), {2, rows, columns}}};
    for (const Counts& sum : counts) members.push_back({sum.name, "<u8", sizeof(uint64_t), sum.shape});
    NpzWriter npz(members, pool);
    npz.copy(0, planes.data(), *options.backend);
    for (size_t i = 0; i < counts.size(); ++i) {
      npz.copy(1 + i, reinterpret_cast<const uint8_t*>(counts[i].sums.data()), *options.backend);
    }
    return npz.finish(*options.backend);
  }

  PooledBuffer meta(bool include_headers, BufferPool& pool) const {
    const auto shape = [](uint32_t r, uint32_t c) { return "[" + std::to_string(r) + "," + std::to_string(c) + "]"; };
    const std::string begin = "{\"scan_number\":" + scan_number.text() + ",\"scan_shape\":" + shape(rows, columns) +
                              ",\"frame_shape\":" + shape(frame_rows, frame_columns) + ",\"headers\":{";
    PooledBuffer json;
    uint8_t* out = nullptr;
    const auto put = [&out](std::string_view text) {
      std::memcpy(out, text.data(), text.size());
      out += text.size();
    };
    if (!include_headers) {
      json = pool.take(begin.size() + 2);
      out = json.data();
      put(begin);
    } else {
      // Frames of each position in order of arrival.
      struct Arrival {
        uint32_t position;
        uint32_t message;
        const FrameRecord* frame;
      };
      std::vector<Arrival> arrivals;
      std::vector<FrameJsonWriter> writers;
      size_t room = begin.size() + 2 + positions.size() * 16;
      for (const BatchHeader& header : headers) {
        writers.emplace_back(header);
        for (const FrameRecord& frame : header.frames()) {
          arrivals.push_back({header.position(frame), static_cast<uint32_t>(writers.size() - 1), &frame});
          room += writers.back().max_bytes(frame) + 1;
        }
      }
      std::stable_sort(arrivals.begin(), arrivals.end(), [](const Arrival& a, const Arrival& b) { return a.position < b.position; });
      json = pool.take(room);
      out = json.data();
      put(begin);
      size_t next = 0;
      for (size_t i = 0; i < positions.size(); ++i) {
        put((i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":[");
        for (bool first = true; next < arrivals.size() && arrivals[next].position == i; ++next, first = false) {
          if (!first) put(",");
          out = writers[arrivals[next].message].write(*arrivals[next].frame, out);
        }
        put("]");
      }
    }
    put("}}");
    json.resize(static_cast<size_t>(out - json.data()));
    return json;
  }
};

ComReducer::ComReducer() = default;
ComReducer::~ComReducer() = default;

Status ComReducer::add(std::span<const uint8_t> meta, std::span<const uint8_t> data, const ComReduceOptions& options,
                       BufferPool& pool, std::vector<ComEmission>& emissions) {
  if (options.max_concurrent_scans == 0) return Status::error(StatusCode::invalid_argument, "maxConcurrentScans: expected 1 or more, got 0");
  Scan* scan = nullptr;
  if (is_com_positions(meta)) {
    ComPositions message;
    if (Status status = read_com_positions(meta, data, options.include_headers, pool, message); !status.ok()) return status;
    if (Status status = find_scan(message.header, options, pool, emissions, scan); !status.ok()) return status;
    if (Status status = scan->check_counts({}); !status.ok()) return status;
    scan->add(message, options.include_headers);
  } else {
    BatchHeader header;
    if (Status status = decode_batch_header(HeaderFormat::json, meta, pool, header); !status.ok()) return status;
    if (Status status = check_positions(header); !status.ok()) return status;
    PartialArrays arrays;
    if (Status status = read_arrays(data, header, *options.backend, arrays); !status.ok()) return status;
    if (Status status = find_scan(header, options, pool, emissions, scan); !status.ok()) return status;
    if (Status status = scan->check_counts(arrays.counts); !status.ok()) return status;
    scan->add(header, arrays, options.include_headers);
  }
  const bool due = options.emit_every > 0 && scan->messages % static_cast<uint64_t>(options.emit_every) == 0;
  if (scan->complete() || due) emissions.push_back(scan->emit(options, pool));
  if (scan->complete()) scans_.remove_if([scan](const auto& other) { return other.get() == scan; });
  return {};
}

Status ComReducer::find_scan(const BatchHeader& header, const ComReduceOptions& options, BufferPool& pool,
                             std::vector<ComEmission>& emissions, Scan*& scan) {
  const auto found = std::find_if(scans_.begin(), scans_.end(), [&](const auto& other) { return other->scan_number == header.scan_number; });
  if (found != scans_.end()) {
    scan = found->get();
    if (scan->rows == header.scan_rows && scan->columns == header.scan_columns) return {};
    const auto text = [](uint32_t rows, uint32_t columns) { return std::to_string(rows) + " x " + std::to_string(columns); };
    return Status::error(StatusCode::scan_changed, "scan " + header.scan_number.text() + " has " + text(scan->rows, scan->columns) +
                                                       " positions so far, but this message says " +
                                                       text(header.scan_rows, header.scan_columns));
  }
  auto begun = std::make_unique<Scan>();
  begun->scan_number = header.scan_number;
  begun->rows = header.scan_rows;
  begun->columns = header.scan_columns;
  begun->positions.resize(header.scan_positions());
  while (scans_.size() >= options.max_concurrent_scans) {
    emissions.push_back(scans_.front()->emit(options, pool));
    emissions.back().evicted = true;
    scans_.pop_front();
  }
  scan = scans_.emplace_back(std::move(begun)).get();
  return {};
}

void ComReducer::flush(const ComReduceOptions& options, BufferPool& pool, std::vector<ComEmission>& emissions) {
  for (; !scans_.empty(); scans_.pop_front()) emissions.push_back(scans_.front()->emit(options, pool));
}

}  // namespace stemline
