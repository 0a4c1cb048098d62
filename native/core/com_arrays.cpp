#include "com_arrays.h"

namespace stemline {

namespace {

template <class T>
void store(uint8_t* plane, uint64_t position, T value) {
  std::memcpy(plane + sizeof(T) * position, &value, sizeof(T));
}

}  // namespace

void write_com_arrays(const BatchSums& sums, uint8_t* com, uint8_t* count) {
  const uint64_t positions = sums.header().scan_positions();
  uint8_t* const mean_column = com;
  uint8_t* const mean_row = com + sizeof(float) * positions;
  const auto fill_without_events = [&](uint64_t begin, uint64_t end) {
    for (uint64_t i = begin; i < end; ++i) store(mean_column, i, mean_of(0, 0));
    for (uint64_t i = begin; i < end; ++i) store(mean_row, i, mean_of(0, 0));
    std::memset(count + sizeof(uint32_t) * begin, 0, sizeof(uint32_t) * (end - begin));
  };
  const uint64_t lowest = sums.position_count() == 0 ? 0 : sums.lowest_position();
  fill_without_events(0, lowest);
  uint64_t at = lowest;
  for (const PositionSums& position : sums.sums()) {
    store(mean_column, at, mean_of(position.column_sum, position.count));
    store(mean_row, at, mean_of(position.row_sum, position.count));
    store(count, at, static_cast<uint32_t>(position.count));
    ++at;
  }
  fill_without_events(at, positions);
}

void write_scan_counts(const BatchSums& sums, std::span<const uint32_t> counts, uint8_t* plane) {
  const uint64_t positions = sums.header().scan_positions();
  const uint64_t before = sizeof(uint32_t) * (counts.empty() ? 0 : sums.lowest_position());
  std::memset(plane, 0, before);
  if (!counts.empty()) std::memcpy(plane + before, counts.data(), counts.size_bytes());
  std::memset(plane + before + counts.size_bytes(), 0, sizeof(uint32_t) * positions - before - counts.size_bytes());
}

}  // namespace stemline
