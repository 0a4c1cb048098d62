// What a compute backend provides. All backends give bit-identical results: sums are integers, and the few float32
// comparisons of a crop are each a single rounding that no backend reorders or fuses.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace stemline {

// Where one frame's events lie: counted in events from the start of a message's data.
struct EventRange {
  uint64_t begin = 0;
  uint32_t count = 0;
};

// Sums over the events of one frame. With event = row * columns + column:
// index_sum < 2^64 holds for 2^32 events of a 2^32-pixel frame.
struct FrameSums {
  uint64_t index_sum = 0;
  uint64_t row_sum = 0;
};

// Sums over the events that a crop keeps. Each fits: 2^32 events times a side of 65,535.
struct CroppedSums {
  uint64_t row_sum = 0;
  uint64_t column_sum = 0;
  uint64_t count = 0;
};

enum class CropShape : uint8_t { box, disk };

// Which events a crop keeps, in float32 throughout, as the peer compares:
// box keeps  low_row < row <= high_row  and  low_column < column <= high_column;
// disk keeps (row - center_row)^2 + (column - center_column)^2 <= limit, each operation rounded to float32.
struct CropWindow {
  float low_row, high_row, low_column, high_column;
  float center_row, center_column, limit;
};

// The window around the centre of mass of these sums, in float32 throughout; of no events, any.
inline CropWindow window_around_own(const CroppedSums& sums, float half_rows, float half_columns, float limit) {
  // Both divisions at once, and all four sides. Sums are far below 2^63, which makes their conversion a single instruction.
  typedef double Pair __attribute__((vector_size(16)));
  typedef float Sides __attribute__((vector_size(16)));
  const auto number = [](uint64_t sum) { return static_cast<double>(static_cast<int64_t>(sum)); };
  const double count = number(sums.count);
  const Pair center = Pair{number(sums.row_sum), number(sums.column_sum)} / Pair{count, count};
  const float row = static_cast<float>(center[0]), column = static_cast<float>(center[1]);
  const Sides sides = Sides{row, row, column, column} + Sides{-half_rows, half_rows, -half_columns, half_columns};
  return {sides[0], sides[1], sides[2], sides[3], row, column, limit};
}

// Frames up to this many pixels go through a backend's float32 division, which is exact below it; see
// generic/center_of_mass.h. Larger ones are the scalar backend's.
inline constexpr uint64_t max_fast_pixels = uint64_t{1} << 23;

struct Backend {
  const char* name;

  // True if this CPU has all the instructions that the backend uses.
  bool (*supported)();

  // Sums of each frame; `events` are uint32, little-endian, not necessarily aligned. Returns the largest event index
  // seen: if it is not below the number of pixels, the sums are meaningless. `pixels` = rows * columns of a frame.
  uint32_t (*sum_frames)(const uint8_t* events, const EventRange* frames, size_t frame_count, uint32_t columns,
                         uint64_t pixels, FrameSums* sums);

  // Sums of the events of each frame that the window keeps. Returns as sum_frames.
  uint32_t (*sum_in_window)(const uint8_t* events, const EventRange* frames, size_t frame_count, uint32_t columns,
                            uint64_t pixels, CropShape shape, const CropWindow& window, CroppedSums* sums);

  // The same with a window for each frame, made from what sum_frames said of it: the largest event is known.
  void (*sum_in_windows)(const uint8_t* events, const EventRange* frames, size_t frame_count, uint32_t columns,
                         uint64_t pixels, CropShape shape, const CropWindow* windows, CroppedSums* sums);

  // CRC-32 (IEEE 802.3, as in zip) of `size` more bytes after those that gave `crc`; starts from 0.
  uint32_t (*crc32)(uint32_t crc, const uint8_t* bytes, size_t size);

  // The same, and copies the bytes to `to`, which does not overlap them, in one pass.
  uint32_t (*copy_crc32)(uint32_t crc, uint8_t* to, const uint8_t* bytes, size_t size);
};

extern const Backend scalar_backend;
#if defined(__x86_64__)
extern const Backend avx2_backend;
extern const Backend avx512_backend;
#elif defined(__aarch64__)
extern const Backend neon_backend;
#endif

// All backends of this build, best first.
std::span<const Backend* const> all_backends();

// The backend of that name; nullptr and a reason in `why` if there is none or the CPU cannot run it.
const Backend* find_backend(std::string_view name, std::string& why);

// Values of STEMLINE_BACKEND that leave the CPU's backend to us: whatever is faster, the CPU alone, the GPU where it can be used.
inline constexpr std::array<std::string_view, 3> backend_choices{"auto", "cpu", "cuda"};
bool is_backend_choice(std::string_view name);

// The backend to use when the caller names none: STEMLINE_BACKEND if it names one, else the best that the CPU supports.
// nullptr and a reason if STEMLINE_BACKEND names one that cannot be used.
const Backend* default_backend(std::string& why);

}  // namespace stemline
