#include "message.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
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
    pack.integer(uint64_t{4} * message.counts[i]);
    pack.string("frame_number");
    if (plan.numbered) {
      pack.integer(frame_number(message, i));
    } else {
      pack.nil();
    }
    pack.string("dtype");
    pack.string("uint32");
  }
  pack.string("batch_size_bytes");
  pack.integer(message.data_bytes());
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

bool naive_keeps(Mode mode, uint32_t row, uint32_t column, const Crop& crop, float center_row, float center_column) {
  const float x = static_cast<float>(row), y = static_cast<float>(column);
  if (mode == Mode::disk) {
    const float dx = x - center_row, dy = y - center_column;
    return std::sqrt(dx * dx + dy * dy) <= static_cast<float>(std::max(crop.half_rows, crop.half_columns));
  }
  // Rounding of the bounds: a fixed centre's are formed in float64, an own centre's in float32. With half sizes that
  // are whole and a fixed centre in quarters, both are the same number.
  const float half_rows = static_cast<float>(crop.half_rows), half_columns = static_cast<float>(crop.half_columns);
  return x > center_row - half_rows && x <= center_row + half_rows && y > center_column - half_columns &&
         y <= center_column + half_columns;
}

}  // namespace

Message make_message(const MessagePlan& plan) {
  Message message;
  message.plan = plan;
  Random random(plan.seed);
  const uint32_t side = plan.frame_side;
  const uint64_t positions = uint64_t{plan.scan_rows} * plan.scan_columns;
  for (uint32_t f = 0; f < plan.frames; ++f) {
    const uint32_t position = static_cast<uint32_t>((plan.first_frame + f) % positions);
    const uint32_t count = random.poisson(plan.events_per_frame);
    message.positions.push_back(position);
    message.counts.push_back(count);
    const size_t begin = message.events.size();
    // The disk moves with the position, as a sample's field moves it.
    const double disk_row = 0.47 * side + 8 * std::sin(0.001 * position),
                 disk_column = 0.54 * side + 8 * std::cos(0.0007 * position);
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
  message.meta = encode_meta(message);
  return message;
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
            "],\"data_size_bytes\":" + number(uint64_t{4} * message.counts[i]) +
            ",\"frame_number\":" + (plan.numbered ? number(frame_number(message, i)) : "null") +
            ",\"dtype\":\"uint32\"}";
  }
  return json + "],\"batch_size_bytes\":" + number(message.data_bytes()) +
         ",\"total_batches\":null,\"total_frames\":null,\"current_batch_index\":null}";
}

std::string mode_name(Mode mode) {
  switch (mode) {
    case Mode::none: return "no crop";
    case Mode::box: return "box, fixed";
    case Mode::disk: return "disk, fixed";
    case Mode::own_center: return "box, own centre";
  }
  return "";
}

void naive_frame_sums(const Message& message, Mode mode, const Crop& crop, std::vector<NaiveSums>& sums) {
  const uint32_t side = message.plan.frame_side;
  const float center_row = static_cast<float>(crop.row), center_column = static_cast<float>(crop.column);
  sums.resize(message.counts.size());
  const uint32_t* event = message.events.data();
  for (size_t f = 0; f < sums.size(); ++f) {
    NaiveSums frame;
    for (uint32_t i = 0; i < message.counts[f]; ++i, ++event) {
      const uint32_t row = *event / side, column = *event % side;
      if (mode != Mode::none && !naive_keeps(mode, row, column, crop, center_row, center_column)) continue;
      frame.rows += row;
      frame.columns += column;
      ++frame.count;
    }
    sums[f] = frame;
  }
}

NaiveArrays naive_center_of_mass(const Message& message, Mode mode, const Crop& crop) {
  const size_t positions = size_t{message.plan.scan_rows} * message.plan.scan_columns;
  std::vector<NaiveSums> at_position(positions), frames;
  naive_frame_sums(message, mode == Mode::own_center ? Mode::none : mode, crop, frames);
  const auto add_frames = [&] {
    for (size_t f = 0; f < frames.size(); ++f) {
      NaiveSums& position = at_position[message.positions[f]];
      position.rows += frames[f].rows;
      position.columns += frames[f].columns;
      position.count += frames[f].count;
    }
  };
  add_frames();
  const auto mean = [](uint64_t sum, uint64_t count) {
    if (count == 0) return std::numeric_limits<float>::quiet_NaN();
    return static_cast<float>(static_cast<double>(sum) / static_cast<double>(count));
  };
  if (mode == Mode::own_center) {
    const uint32_t* event = message.events.data();
    for (size_t f = 0; f < frames.size(); ++f) {
      const NaiveSums all = at_position[message.positions[f]];
      frames[f] = NaiveSums{};
      for (uint32_t i = 0; i < message.counts[f]; ++i, ++event) {
        const uint32_t row = *event / message.plan.frame_side, column = *event % message.plan.frame_side;
        if (!naive_keeps(mode, row, column, crop, mean(all.rows, all.count), mean(all.columns, all.count))) continue;
        frames[f].rows += row;
        frames[f].columns += column;
        ++frames[f].count;
      }
    }
    std::fill(at_position.begin(), at_position.end(), NaiveSums{});
    add_frames();
  }
  NaiveArrays arrays{std::vector<float>(2 * positions), std::vector<uint32_t>(positions)};
  for (size_t i = 0; i < positions; ++i) {
    arrays.com[i] = mean(at_position[i].columns, at_position[i].count);
    arrays.com[positions + i] = mean(at_position[i].rows, at_position[i].count);
    arrays.count[i] = static_cast<uint32_t>(at_position[i].count);
  }
  return arrays;
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
