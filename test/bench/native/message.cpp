#include "message.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <mutex>
#include <string_view>

namespace bench {

Random::Random(uint64_t seed) {
  for (uint64_t& word : state_) {
    uint64_t z = seed += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    word = z ^ z >> 31;
  }
}

uint64_t Random::next() {
  const auto rotate = [](uint64_t x, int k) { return x << k | x >> (64 - k); };
  const uint64_t result = rotate(state_[1] * 5, 7) * 9;
  const uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = rotate(state_[3], 45);
  return result;
}

double Random::uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

uint32_t Random::below(uint32_t limit) { return static_cast<uint32_t>((next() >> 32) * limit >> 32); }

uint32_t Random::poisson(double mean) {
  // A sum of Poisson numbers is one; each by Knuth's product of uniform numbers.
  uint32_t count = 0;
  for (double left = mean; left > 0; left -= 30) {
    const double limit = std::exp(-std::min(left, 30.0));
    for (double product = uniform(); product > limit; product *= uniform()) ++count;
  }
  return count;
}

namespace {

class Packer {
 public:
  explicit Packer(std::vector<uint8_t>& out) : out_(out) {}

  void map(uint32_t entries) { out_.push_back(static_cast<uint8_t>(0x80 | entries)); }
  void array(uint32_t items) {
    if (items < 16) {
      out_.push_back(static_cast<uint8_t>(0x90 | items));
    } else {
      tagged(items < 0x10000 ? 0xdc : 0xdd, items, items < 0x10000 ? 2 : 4);
    }
  }
  void string(std::string_view text) {
    out_.push_back(static_cast<uint8_t>(0xa0 | text.size()));
    out_.insert(out_.end(), text.begin(), text.end());
  }
  void nil() { out_.push_back(0xc0); }
  void integer(uint64_t value) {
    if (value < 0x80) {
      out_.push_back(static_cast<uint8_t>(value));
    } else if (value < 0x100) {
      tagged(0xcc, value, 1);
    } else if (value < 0x10000) {
      tagged(0xcd, value, 2);
    } else if (value <= UINT32_MAX) {
      tagged(0xce, value, 4);
    } else {
      tagged(0xcf, value, 8);
    }
  }

 private:
  void tagged(uint8_t tag, uint64_t value, unsigned bytes) {
    out_.push_back(tag);
    while (bytes-- > 0) out_.push_back(static_cast<uint8_t>(value >> 8 * bytes));
  }

  std::vector<uint8_t>& out_;
};

constexpr uint64_t scan_number = 1234;

unsigned event_size(const std::string& dtype) {
  return dtype == "uint8" ? 1 : dtype == "uint16" ? 2 : dtype == "float64" ? 8 : 4;
}

uint64_t frame_number(const Message& message, size_t frame) { return message.plan.first_frame + frame + 100000; }

std::vector<uint8_t> encode_meta(const Message& message) {
  const MessagePlan& plan = message.plan;
  std::vector<uint8_t> out;
  out.reserve(200 * message.counts.size() + 200);
  Packer pack(out);
  pack.map(6);
  pack.string("scan_number");
  pack.integer(scan_number);
  pack.string("headers");
  pack.array(static_cast<uint32_t>(message.counts.size()));
  for (size_t i = 0; i < message.counts.size(); ++i) {
    pack.map(10);
    pack.string("scan_number");
    pack.integer(scan_number);
    pack.string("nSTEM_positions_per_row_m1");
    pack.integer(plan.scan_columns);
    pack.string("nSTEM_rows_m1");
    pack.integer(plan.scan_rows);
    pack.string("STEM_x_position_in_row");
    pack.integer(message.positions[i] % plan.scan_columns);
    pack.string("STEM_row_in_scan");
    pack.integer(message.positions[i] / plan.scan_columns);
    pack.string("modules");
    pack.array(4);
    for (uint64_t module = 0; module < 4; ++module) pack.integer(module);
    pack.string("frame_shape");
    pack.array(2);
    pack.integer(plan.frame_side);
    pack.integer(plan.frame_side);
    pack.string("data_size_bytes");
    pack.integer(uint64_t{event_size(plan.dtype)} * message.counts[i]);
    pack.string("frame_number");
    if (plan.numbered) {
      pack.integer(frame_number(message, i));
    } else {
      pack.nil();
    }
    pack.string("dtype");
    pack.string(plan.dtype);
  }
  pack.string("batch_size_bytes");
  pack.integer(uint64_t{event_size(plan.dtype)} * message.events.size());
  for (const char* name : {"total_batches", "total_frames", "current_batch_index"}) {
    pack.string(name);
    pack.nil();
  }
  return out;
}

// Size of what comes before a .npy's data.
size_t npy_header_size(const std::vector<uint8_t>& npy) { return 10 + (npy[8] | size_t{npy[9]} << 8); }

template <class T>
T read(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

bool naive_keeps(Crop crop, uint32_t row, uint32_t column, float center_row, float center_column) {
  const float x = static_cast<float>(row), y = static_cast<float>(column);
  if (crop == Crop::disk) {
    const float dx = x - center_row, dy = y - center_column;
    return std::sqrt(dx * dx + dy * dy) <= static_cast<float>(std::max(crop_half_rows, crop_half_columns));
  }
  // Rounding of the bounds: a fixed centre's are formed in float64, an own centre's in float32. With half sizes that
  // are whole and a fixed centre in quarters, both are the same number.
  const float half_rows = crop_half_rows, half_columns = crop_half_columns;
  return x > center_row - half_rows && x <= center_row + half_rows && y > center_column - half_columns &&
         y <= center_column + half_columns;
}

float naive_mean(uint64_t sum, uint64_t count) {
  if (count == 0) return std::numeric_limits<float>::quiet_NaN();
  return static_cast<float>(static_cast<double>(sum) / static_cast<double>(count));
}

NaiveSums naive_sums(const uint32_t* events, uint32_t count, uint32_t side) {
  NaiveSums sums{0, 0, count};
  for (uint32_t i = 0; i < count; ++i) {
    sums.rows += events[i] / side;
    sums.columns += events[i] % side;
  }
  return sums;
}

NaiveSums naive_cropped_sums(const uint32_t* events, uint32_t count, uint32_t side, Crop crop, float center_row,
                             float center_column) {
  NaiveSums sums;
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t row = events[i] / side, column = events[i] % side;
    if (!naive_keeps(crop, row, column, center_row, center_column)) continue;
    sums.rows += row;
    sums.columns += column;
    ++sums.count;
  }
  return sums;
}

}  // namespace

MessagePlan real_message(uint32_t events_per_frame, uint32_t scan_side) {
  return {.scan_rows = scan_side,
          .scan_columns = scan_side,
          .frames = events_per_frame <= 10 ? 32768u : 16384u,
          .events_per_frame = static_cast<double>(events_per_frame),
          .first_frame = uint64_t{scan_side} * scan_side / 3,
          .seed = 45};
}

MessagePlan small_message(uint32_t events_per_frame, uint32_t scan_side) {
  MessagePlan plan = real_message(events_per_frame, scan_side);
  plan.frames = 256;
  return plan;
}

MessagePlan paired_message(uint32_t events_per_frame, uint32_t scan_side) {
  MessagePlan plan = real_message(events_per_frame, scan_side);
  plan.frames_per_position = 2;
  return plan;
}

MessagePlan scan_message(uint32_t events_per_frame, uint32_t scan_side, uint32_t index) {
  MessagePlan plan = real_message(events_per_frame, scan_side);
  plan.first_frame = uint64_t{index} * plan.frames;
  plan.seed += index;
  return plan;
}

MessagePlan message_in(Level level, uint32_t events_per_frame) {
  return {.scan_rows = 4096,
          .scan_columns = 4096,
          .frames = static_cast<uint32_t>(level_bytes(level) / 4 / events_per_frame),
          .events_per_frame = static_cast<double>(events_per_frame),
          .has_header = false,
          .seed = 42};
}

Message make_message(const MessagePlan& plan) {
  Message message;
  message.plan = plan;
  Random random(plan.seed);
  const uint32_t side = plan.frame_side;
  const uint64_t positions = uint64_t{plan.scan_rows} * plan.scan_columns;
  for (uint32_t f = 0; f < plan.frames; ++f) {
    const uint32_t position = static_cast<uint32_t>((plan.first_frame + f / plan.frames_per_position) % positions);
    const uint32_t count = random.poisson(plan.events_per_frame);
    message.positions.push_back(position);
    message.counts.push_back(count);
    const size_t begin = message.events.size();
    // The disk moves with the position, as a sample's field moves it.
    const double disk_row = (0.47 + std::sin(0.001 * position) / 72) * side,
                 disk_column = (0.54 + std::cos(0.0007 * position) / 72) * side;
    const double radius = 0.16 * side;
    while (message.events.size() < begin + count) {
      uint32_t row = random.below(side), column = random.below(side);
      if (random.below(8) != 0) {
        const double r = radius * std::sqrt(random.uniform()), angle = 6.283185307179586 * random.uniform();
        row = static_cast<uint32_t>(disk_row + r * std::sin(angle));
        column = static_cast<uint32_t>(disk_column + r * std::cos(angle));
      }
      message.events.push_back(row * side + column);
    }
    std::sort(message.events.begin() + static_cast<std::ptrdiff_t>(begin), message.events.end());
  }
  if (plan.has_header) message.meta = encode_meta(message);
  return message;
}

std::shared_ptr<const Message> shared_message(const MessagePlan& plan) {
  static std::map<MessagePlan, std::shared_ptr<const Message>> messages;
  static std::mutex mutex;  // benchmarks of several threads make their cases at the same time
  const std::lock_guard lock(mutex);
  std::shared_ptr<const Message>& message = messages[plan];
  if (!message) message = std::make_shared<const Message>(make_message(plan));
  return message;
}

std::vector<uint8_t> events_as(const std::string& dtype, const Message& message) {
  std::vector<uint8_t> bytes;
  const auto convert = [&]<class T>(T) {
    bytes.resize(sizeof(T) * message.events.size());
    for (size_t i = 0; i < message.events.size(); ++i) {
      const T value = static_cast<T>(message.events[i]);
      std::memcpy(&bytes[i * sizeof value], &value, sizeof value);
    }
  };
  if (dtype == "uint8") convert(uint8_t{});
  if (dtype == "uint16") convert(uint16_t{});
  if (dtype == "uint32") convert(uint32_t{});
  if (dtype == "int32") convert(int32_t{});
  if (dtype == "float32") convert(float{});
  if (dtype == "float64") convert(double{});
  return bytes;
}

std::string naive_json(const Message& message) {
  const MessagePlan& plan = message.plan;
  const auto number = [](uint64_t value) { return std::to_string(value); };
  std::string json = "{\"scan_number\":" + number(scan_number) + ",\"headers\":[";
  for (size_t i = 0; i < message.counts.size(); ++i) {
    if (i > 0) json += ",";
    json += "{\"scan_number\":" + number(scan_number) + ",\"nSTEM_positions_per_row_m1\":" + number(plan.scan_columns) +
            ",\"nSTEM_rows_m1\":" + number(plan.scan_rows) +
            ",\"STEM_x_position_in_row\":" + number(message.positions[i] % plan.scan_columns) +
            ",\"STEM_row_in_scan\":" + number(message.positions[i] / plan.scan_columns) +
            ",\"modules\":[0,1,2,3],\"frame_shape\":[" + number(plan.frame_side) + "," + number(plan.frame_side) +
            "],\"data_size_bytes\":" + number(uint64_t{event_size(plan.dtype)} * message.counts[i]) +
            ",\"frame_number\":" + (plan.numbered ? number(frame_number(message, i)) : "null") +
            ",\"dtype\":\"" + plan.dtype + "\"}";
  }
  return json + "],\"batch_size_bytes\":" + number(uint64_t{event_size(plan.dtype)} * message.events.size()) +
         ",\"total_batches\":null,\"total_frames\":null,\"current_batch_index\":null}";
}

std::string crop_name(Crop crop) {
  switch (crop) {
    case Crop::none: return "none";
    case Crop::box: return "box";
    case Crop::disk: return "disk";
    case Crop::own_box: return "own-box";
  }
  return "";
}

void naive_frame_sums(const Message& message, const std::vector<uint32_t>& counts, Crop crop, std::vector<NaiveSums>& sums) {
  const uint32_t side = message.plan.frame_side;
  sums.resize(counts.size());
  const uint32_t* events = message.events.data();
  for (size_t f = 0; f < sums.size(); ++f) {
    const uint32_t count = counts[f];
    float center_row = crop_row, center_column = crop_column;
    if (crop == Crop::none || crop == Crop::own_box) {
      sums[f] = naive_sums(events, count, side);
      center_row = naive_mean(sums[f].rows, count);
      center_column = naive_mean(sums[f].columns, count);
    }
    if (crop != Crop::none) sums[f] = naive_cropped_sums(events, count, side, crop, center_row, center_column);
    events += count;
  }
}

NaiveArrays naive_center_of_mass(const Message& message, Crop crop) {
  const uint32_t side = message.plan.frame_side;
  const size_t positions = size_t{message.plan.scan_rows} * message.plan.scan_columns;
  std::vector<NaiveSums> centers(positions), kept(positions);
  const auto add = [](NaiveSums& to, const NaiveSums& sums) {
    to.rows += sums.rows;
    to.columns += sums.columns;
    to.count += sums.count;
  };
  const auto for_each_frame = [&](auto use) {
    const uint32_t* events = message.events.data();
    for (size_t f = 0; f < message.counts.size(); ++f) {
      use(message.positions[f], events, message.counts[f]);
      events += message.counts[f];
    }
  };
  for_each_frame([&](uint32_t position, const uint32_t* events, uint32_t count) {
    add(centers[position], naive_sums(events, count, side));
  });
  for_each_frame([&](uint32_t position, const uint32_t* events, uint32_t count) {
    if (crop == Crop::none) return;
    const NaiveSums& own = centers[position];
    const bool fixed = crop != Crop::own_box;
    const float row = fixed ? static_cast<float>(crop_row) : naive_mean(own.rows, own.count);
    const float column = fixed ? static_cast<float>(crop_column) : naive_mean(own.columns, own.count);
    add(kept[position], naive_cropped_sums(events, count, side, crop, row, column));
  });
  const std::vector<NaiveSums>& sums = crop == Crop::none ? centers : kept;
  NaiveArrays arrays{std::vector<float>(2 * positions), std::vector<uint32_t>(positions)};
  for (size_t i = 0; i < positions; ++i) {
    arrays.com[i] = naive_mean(sums[i].columns, sums[i].count);
    arrays.com[positions + i] = naive_mean(sums[i].rows, sums[i].count);
    arrays.count[i] = static_cast<uint32_t>(sums[i].count);
  }
  return arrays;
}

std::vector<Ring> rings(uint32_t count) {
  std::vector<Ring> all;
  for (uint32_t i = 0; i < count; ++i) all.push_back({240.0 * i / count, 240.0 * (i + 1) / count});
  return all;
}

NaiveCounts naive_counts(const Message& message, const std::vector<Ring>& rings) {
  const uint32_t side = message.plan.frame_side;
  const size_t positions = size_t{message.plan.scan_rows} * message.plan.scan_columns;
  NaiveCounts counts{std::vector<uint32_t>(message.pixels()), {}};
  counts.detectors.assign(rings.size(), std::vector<uint32_t>(positions));
  const uint32_t* events = message.events.data();
  for (size_t f = 0; f < message.counts.size(); ++f) {
    for (const uint32_t* const end = events + message.counts[f]; events < end; ++events) {
      ++counts.pattern[*events];
      const double row = *events / side - crop_row, column = *events % side - crop_column;
      const double squared = row * row + column * column;
      for (size_t d = 0; d < rings.size(); ++d) {
        if (rings[d].inner * rings[d].inner <= squared && squared < rings[d].outer * rings[d].outer) {
          ++counts.detectors[d][message.positions[f]];
        }
      }
    }
  }
  return counts;
}

uint32_t naive_crc32(const uint8_t* bytes, size_t size) {
  uint32_t crc = ~0u;
  for (size_t i = 0; i < size; ++i) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0u);
  }
  return ~crc;
}

std::vector<uint8_t> naive_npz_member(const uint8_t* archive, size_t size, const std::string& name) {
  size_t at = 0;
  while (at + 30 <= size && std::memcmp(archive + at, "PK\x03\x04", 4) == 0) {
    const size_t name_size = read<uint16_t>(archive + at + 26), extra_size = read<uint16_t>(archive + at + 28);
    const std::string member(reinterpret_cast<const char*>(archive) + at + 30, name_size);
    // The size stands in the zip64 extra field, behind its two-byte tag and length.
    const size_t member_size = read<uint64_t>(archive + at + 30 + name_size + 4);
    const size_t begin = at + 30 + name_size + extra_size;
    if (begin + member_size > size) return {};
    if (member == name + ".npy") {
      if (naive_crc32(archive + begin, member_size) != read<uint32_t>(archive + at + 14)) return {};
      std::vector<uint8_t> npy(archive + begin, archive + begin + member_size);
      npy.erase(npy.begin(), npy.begin() + static_cast<std::ptrdiff_t>(npy_header_size(npy)));
      return npy;
    }
    at = begin + member_size;
  }
  return {};
}

}  // namespace bench
