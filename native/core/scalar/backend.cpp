// The plain backend: no vector instructions, every frame size, and the judge of frames too large for the others.
#include "../backend.h"

#include <array>
#include <cstring>

namespace stemline {

namespace {

uint32_t load_event(const uint8_t* at) {
  uint32_t event;
  std::memcpy(&event, at, sizeof event);
  return event;
}

uint32_t sum_frames(const uint8_t* events, const EventRange* frames, size_t frame_count, uint32_t columns, uint64_t,
                    FrameSums* sums) {
  uint32_t largest = 0;
  for (size_t f = 0; f < frame_count; ++f) {
    FrameSums frame;
    const uint8_t* at = events + 4 * frames[f].begin;
    for (uint32_t i = 0; i < frames[f].count; ++i, at += 4) {
      const uint32_t event = load_event(at);
      largest = event > largest ? event : largest;
      frame.index_sum += event;
      frame.row_sum += event / columns;
    }
    sums[f] = frame;
  }
  return largest;
}

bool keeps(CropShape shape, const CropWindow& window, float row, float column) {
  if (shape == CropShape::box) {
    // Without short-circuits: events fall on either side of a border at random, which branches cannot predict.
    return (row > window.low_row) & (row <= window.high_row) & (column > window.low_column) & (column <= window.high_column);
  }
  const float row_distance = row - window.center_row;
  const float column_distance = column - window.center_column;
  return row_distance * row_distance + column_distance * column_distance <= window.limit;
}

// The sums of one frame. Returns the largest event seen.
uint32_t sum_cropped_frame(const uint8_t* at, uint32_t event_count, uint32_t columns, CropShape shape, const CropWindow& window,
                           CroppedSums& sums) {
  uint32_t largest = 0;
  CroppedSums frame;
  for (uint32_t i = 0; i < event_count; ++i, at += 4) {
    const uint32_t event = load_event(at);
    largest = event > largest ? event : largest;
    const uint32_t row = event / columns;
    const uint32_t column = event - row * columns;
    const uint32_t kept = keeps(shape, window, static_cast<float>(row), static_cast<float>(column)) ? 1 : 0;
    frame.row_sum += row * kept;
    frame.column_sum += column * kept;
    frame.count += kept;
  }
  sums = frame;
  return largest;
}

uint32_t sum_in_window(const uint8_t* events, const EventRange* frames, size_t frame_count, uint32_t columns, uint64_t,
                       CropShape shape, const CropWindow& window, CroppedSums* sums) {
  uint32_t largest = 0;
  for (size_t f = 0; f < frame_count; ++f) {
    const uint32_t in_frame = sum_cropped_frame(events + 4 * frames[f].begin, frames[f].count, columns, shape, window, sums[f]);
    largest = in_frame > largest ? in_frame : largest;
  }
  return largest;
}

void sum_in_windows(const uint8_t* events, const EventRange* frames, size_t frame_count, uint32_t columns, uint64_t,
                    CropShape shape, const CropWindow* windows, CroppedSums* sums) {
  for (size_t f = 0; f < frame_count; ++f) {
    sum_cropped_frame(events + 4 * frames[f].begin, frames[f].count, columns, shape, windows[f], sums[f]);
  }
}

// crc_tables[k][b]: the CRC of byte b followed by k zero bytes.
constexpr auto crc_tables = [] {
  std::array<std::array<uint32_t, 256>, 8> tables{};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t crc = b;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0u);
    tables[0][b] = crc;
  }
  for (size_t k = 1; k < 8; ++k) {
    for (uint32_t b = 0; b < 256; ++b) tables[k][b] = tables[k - 1][b] >> 8 ^ tables[0][tables[k - 1][b] & 0xff];
  }
  return tables;
}();

uint32_t crc32(uint32_t crc, const uint8_t* bytes, size_t size) {
  crc = ~crc;
  for (; size >= 8; size -= 8, bytes += 8) {
    uint32_t low, high;
    std::memcpy(&low, bytes, 4);
    std::memcpy(&high, bytes + 4, 4);
    low ^= crc;
    crc = crc_tables[7][low & 0xff] ^ crc_tables[6][low >> 8 & 0xff] ^ crc_tables[5][low >> 16 & 0xff] ^
          crc_tables[4][low >> 24] ^ crc_tables[3][high & 0xff] ^ crc_tables[2][high >> 8 & 0xff] ^
          crc_tables[1][high >> 16 & 0xff] ^ crc_tables[0][high >> 24];
  }
  for (; size > 0; --size) crc = crc >> 8 ^ crc_tables[0][(crc ^ *bytes++) & 0xff];
  return ~crc;
}

uint32_t copy_crc32(uint32_t crc, uint8_t* to, const uint8_t* bytes, size_t size) {
  if (size > 0) std::memcpy(to, bytes, size);
  return crc32(crc, bytes, size);
}

}  // namespace

const Backend scalar_backend = {"scalar", [] { return true; }, sum_frames, sum_in_window, sum_in_windows, crc32, copy_crc32};

}  // namespace stemline
