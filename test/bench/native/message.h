// Seeded BatchedFrames messages and naive answers for them. Shares no code with the core: encoders and answers are
// written here once more, in the plainest way.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "machine.h"

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
  double events_per_frame = 100;      // mean of a Poisson distribution
  uint64_t first_frame = 0;           // number of the first frame; the next ones follow, round the scan
  uint32_t frames_per_position = 1;
  bool numbered = false;              // frames have a frame_number
  bool has_header = true;             // what only kernels read needs none
  std::string dtype = "uint32";       // that the header tells; see events_as
  uint64_t seed = 1;
  auto operator<=>(const MessagePlan&) const = default;
};

// One real message, with events of about 1 to 20 MB: what whole messages are timed with, in every language.
MessagePlan real_message(uint32_t events_per_frame, uint32_t scan_side);

// Message `index` of those that are a whole scan.
MessagePlan scan_message(uint32_t events_per_frame, uint32_t scan_side, uint32_t index);

// A message of 256 frames.
MessagePlan small_message(uint32_t events_per_frame, uint32_t scan_side);

// One real message with two frames a position.
MessagePlan paired_message(uint32_t events_per_frame, uint32_t scan_side);

// The events of many frames, as many bytes of them as stay in that level.
MessagePlan message_in(Level level, uint32_t events_per_frame);

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

// The same, made once.
std::shared_ptr<const Message> shared_message(const MessagePlan& plan);

// The events as another type of the wire: uint8, uint16, int32, float32 or float64.
std::vector<uint8_t> events_as(const std::string& dtype, const Message& message);

// The header as the peer's JSON, with the events of no frame left out.
std::string naive_json(const Message& message);

enum class Crop { none, box, disk, own_box };
inline constexpr Crop all_crops[] = {Crop::none, Crop::box, Crop::disk, Crop::own_box};
std::string crop_name(Crop crop);

// Half sizes of the crop (radius for the disk) and its fixed centre, (row, column), pixels.
inline constexpr double crop_half_rows = 96, crop_half_columns = 96;
inline constexpr double crop_row = 270.25, crop_column = 309.5;

struct NaiveSums {
  uint64_t rows = 0;
  uint64_t columns = 0;
  uint64_t count = 0;
};

// Sums of frames of so many events each, by / and %, a comparison and (disk) a square root for every event, as the peer's
// loop has it. An own centre is that of the frame.
void naive_frame_sums(const Message& message, const std::vector<uint32_t>& counts, Crop crop, std::vector<NaiveSums>& sums);

struct NaiveArrays {
  std::vector<float> com;  // (2, rows, columns): mean column, mean row
  std::vector<uint32_t> count;
};

// Centre of mass of each scan position; an own centre is that of the position.
NaiveArrays naive_center_of_mass(const Message& message, Crop crop);

// Virtual detectors of an analysis: rings of the same width around the crop's centre.
struct Ring {
  double inner, outer;  // pixels
};
std::vector<Ring> rings(uint32_t count);

struct NaiveCounts {
  std::vector<uint32_t> pattern;                 // of each pixel
  std::vector<std::vector<uint32_t>> detectors;  // of each ring, of each scan position
};

// By a distance for every event and a comparison for every ring.
NaiveCounts naive_counts(const Message& message, const std::vector<Ring>& rings);

// Data of a member of an .npz, found by its local header; empty if it is not there or its checksum is wrong.
std::vector<uint8_t> naive_npz_member(const uint8_t* archive, size_t size, const std::string& name);

uint32_t naive_crc32(const uint8_t* bytes, size_t size);

}  // namespace bench
