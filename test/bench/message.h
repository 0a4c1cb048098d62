// Seeded BatchedFrames messages and naive answers for them. Shares no code with the core: encoders and answers are
// written here once more, in the plainest way.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace bench {

// xoshiro256**, seeded by splitmix64: the same numbers on every platform.
class Random {
 public:
  explicit Random(uint64_t seed);
  uint64_t next();
  double uniform();  // [0, 1)
  uint32_t below(uint32_t limit);
  uint32_t poisson(double mean);

 private:
  uint64_t state_[4];
};

struct MessagePlan {
  uint32_t scan_rows = 512;
  uint32_t scan_columns = 512;
  uint32_t frame_side = 576;
  uint32_t frames = 16384;
  double events_per_frame = 100;  // mean of a Poisson distribution
  uint64_t first_frame = 0;       // position of the first frame; the next ones follow, round the scan
  bool numbered = false;          // frames have a frame_number
  uint64_t seed = 1;
};

// Frames of one real message: about 1 to 20 MB of events.
inline uint32_t frames_of_message(double events_per_frame) { return events_per_frame <= 10 ? 32768 : 16384; }

struct Message {
  MessagePlan plan;
  std::vector<uint32_t> counts;     // events of each frame
  std::vector<uint32_t> positions;  // row-major
  std::vector<uint32_t> events;  // of all frames; a bright disk off the centre and a weak background, sorted in a frame
  std::vector<uint8_t> meta;     // MessagePack

  const uint8_t* data() const { return reinterpret_cast<const uint8_t*>(events.data()); }
  size_t data_bytes() const { return 4 * events.size(); }
  uint32_t pixels() const { return plan.frame_side * plan.frame_side; }
};

Message make_message(const MessagePlan& plan);

// The header as the peer's JSON, with the events of no frame left out.
std::string naive_json(const Message& message);

enum class Mode { none, box, disk, own_center };
inline constexpr Mode all_modes[] = {Mode::none, Mode::box, Mode::disk, Mode::own_center};
std::string mode_name(Mode mode);

// The crop that the benchmarks use: half sizes (radius for the disk) and the fixed centre, pixels, (row, column).
struct Crop {
  double row = 270.25, column = 309.5;
  double half_rows = 96, half_columns = 96;
};

struct NaiveSums {
  uint64_t rows = 0;
  uint64_t columns = 0;
  uint64_t count = 0;
};

// Sums of each frame by / and %, a comparison and (disk) a square root for every event; as the peer's loop has it. Not
// for Mode::own_center.
void naive_frame_sums(const Message& message, Mode mode, const Crop& crop, std::vector<NaiveSums>& sums);

struct NaiveArrays {
  std::vector<float> com;  // (2, rows, columns): mean column, mean row
  std::vector<uint32_t> count;
};

// Centre of mass of each scan position.
NaiveArrays naive_center_of_mass(const Message& message, Mode mode, const Crop& crop);

// Data of a member of an .npz, found by its local header; empty if it is not there or its checksum is wrong.
std::vector<uint8_t> naive_npz_member(const uint8_t* archive, size_t size, const std::string& name);

uint32_t naive_crc32(const uint8_t* bytes, size_t size);

}  // namespace bench
