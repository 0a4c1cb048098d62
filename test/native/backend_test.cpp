// Event sums of every backend against sums by / and %.
#include "backend.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

#include "helpers/backends.h"
#include "helpers/guarded_bytes.h"
#include "helpers/random.h"
#include "reference/center_of_mass.h"

using namespace helpers;
using stemline::Backend;
using stemline::CroppedSums;
using stemline::CropShape;
using stemline::CropWindow;
using stemline::EventRange;
using stemline::FrameSums;

namespace {

constexpr uint64_t fast_pixels = uint64_t{1} << 23;
constexpr size_t guards = 3;

// Frame lengths around the widths of all vectors, and of the steps that kernels take with them.
const std::vector<uint32_t> interesting_lengths{0,  1,  2,  3,  4,  5,  7,  8,  9,  15, 16, 17,  31,  32,  33,
                                                34, 47, 48, 49, 63, 64, 65, 66, 95, 96, 97, 127, 128, 129, 300};

const std::vector<uint32_t> interesting_columns{
    1,    2,    3,    4,    5,    7,    8,    16,   17,    31,    41,    64,    97,    127,   128,  129,
    255,  256,  257,  288,  511,  512,  513,  575,  576,   577,   1021,  1023,  1024,  1025,  2047, 2048,
    2895, 2896, 2897, 4093, 4095, 4096, 4097, 8191, 16381, 32749, 32768, 65521, 65533, 65534, 65535};

struct Frames {
  std::vector<uint32_t> events;
  std::vector<EventRange> ranges;

  void add(const std::vector<uint32_t>& frame) {
    ranges.push_back({events.size(), static_cast<uint32_t>(frame.size())});
    events.insert(events.end(), frame.begin(), frame.end());
  }

  std::vector<uint32_t> of(size_t frame) const {
    const auto begin = events.begin() + static_cast<std::ptrdiff_t>(ranges[frame].begin);
    return {begin, begin + ranges[frame].count};
  }

  std::span<const uint8_t> bytes() const {
    return {reinterpret_cast<const uint8_t*>(events.data()), 4 * events.size()};
  }
};

std::string text_of(const FrameSums& sums) {
  return "index " + std::to_string(sums.index_sum) + ", row " + std::to_string(sums.row_sum);
}
std::string text_of(const CroppedSums& sums) {
  return "row " + std::to_string(sums.row_sum) + ", column " + std::to_string(sums.column_sum) + ", count " +
         std::to_string(sums.count);
}

// Calls a kernel with guard values around its output. Returns "" or what is wrong.
template <class Sums, class Call>
std::string compare(const Frames& frames, const std::vector<Sums>& expected, uint32_t expected_largest,
                    size_t spare_bytes, Call call) {
  GuardedBytes events(frames.bytes(), spare_bytes);
  std::vector<Sums> sums(frames.ranges.size() + 2 * guards);
  std::memset(static_cast<void*>(sums.data()), 0xa5, sums.size() * sizeof(Sums));
  const std::vector<Sums> untouched = sums;
  const uint32_t largest = call(events.span().data(), sums.data() + guards);
  for (size_t i = 0; i < guards; ++i) {
    if (std::memcmp(&sums[i], &untouched[i], sizeof(Sums)) != 0) return "wrote before the output";
    if (std::memcmp(&sums[sums.size() - 1 - i], &untouched[i], sizeof(Sums)) != 0) return "wrote past the output";
  }
  for (size_t f = 0; f < expected.size(); ++f) {
    const std::string got = text_of(sums[guards + f]), wanted = text_of(expected[f]);
    if (got != wanted) {
      return "frame " + std::to_string(f) + " of " + std::to_string(expected.size()) + ", " +
             std::to_string(frames.ranges[f].count) + " events: got " + got + ", expected " + wanted;
    }
  }
  if (largest != expected_largest)
    return "largest event " + std::to_string(largest) + ", expected " + std::to_string(expected_largest);
  return "";
}

uint32_t largest_event(const Frames& frames) {
  uint32_t largest = 0;
  for (size_t f = 0; f < frames.ranges.size(); ++f) {
    for (const uint32_t event : frames.of(f)) largest = std::max(largest, event);
  }
  return largest;
}

std::string compare_plain(const Backend& backend, const Frames& frames, uint32_t columns, uint64_t pixels,
                          size_t spare_bytes = 0) {
  std::vector<FrameSums> expected;
  for (size_t f = 0; f < frames.ranges.size(); ++f) {
    FrameSums sums;
    for (const uint64_t event : frames.of(f)) {
      sums.index_sum += event;
      sums.row_sum += event / columns;
    }
    expected.push_back(sums);
  }
  return compare(frames, expected, largest_event(frames), spare_bytes, [&](const uint8_t* events, FrameSums* sums) {
    return backend.sum_frames(events, frames.ranges.data(), frames.ranges.size(), columns, pixels, sums);
  });
}

std::string compare_cropped(const Backend& backend, const Frames& frames, uint32_t columns, uint64_t pixels,
                            CropShape shape, const std::vector<CropWindow>& windows, size_t stride,
                            size_t spare_bytes = 0) {
  std::vector<CroppedSums> expected;
  for (size_t f = 0; f < frames.ranges.size(); ++f) {
    const CropWindow& w = windows[f * stride];
    CroppedSums sums;
    for (const uint32_t event : frames.of(f)) {
      const reference::Pixel pixel{event / columns, event % columns};
      const bool keep = shape == CropShape::box
                            ? reference::box_keeps(pixel, w.low_row, w.high_row, w.low_column, w.high_column)
                            : reference::squared_distance(pixel, w.center_row, w.center_column) <= w.limit;
      if (!keep) continue;
      sums.row_sum += static_cast<uint64_t>(pixel.row);
      sums.column_sum += static_cast<uint64_t>(pixel.column);
      sums.count += 1;
    }
    expected.push_back(sums);
  }
  return compare(frames, expected, largest_event(frames), spare_bytes, [&](const uint8_t* events, CroppedSums* sums) {
    const auto arguments = [&](auto sum, const auto& window) {
      return sum(events, frames.ranges.data(), frames.ranges.size(), columns, pixels, shape, window, sums);
    };
    if (stride == 0) return arguments(backend.sum_in_window, windows[0]);
    arguments(backend.sum_in_windows, windows.data());
    return largest_event(frames);
  });
}

// k * columns - 1, k * columns, k * columns + 1, the first and last pixels, or anything.
uint32_t random_index(Random& random, uint32_t columns, uint64_t pixels) {
  const uint64_t rows = pixels / columns;
  switch (random.below(4)) {
    case 0:
      return static_cast<uint32_t>(std::min<uint64_t>(random.below(rows + 1) * columns + random.below(2), pixels - 1));
    case 1:
      return static_cast<uint32_t>(
          std::min<uint64_t>(random.between(1, static_cast<int64_t>(rows)) * columns - 1, pixels - 1));
    case 2: return random.chance(0.5) ? static_cast<uint32_t>(pixels - 1) : 0;
    default: return static_cast<uint32_t>(random.below(pixels));
  }
}

std::vector<uint32_t> random_frame(Random& random, size_t length, uint32_t columns, uint64_t pixels) {
  std::vector<uint32_t> frame(length);
  for (uint32_t& event : frame) event = random_index(random, columns, pixels);
  return frame;
}

uint64_t random_rows(Random& random, uint32_t columns) {
  const uint64_t most_fast = std::max<uint64_t>(1, fast_pixels / columns);
  return random.pick<uint64_t>({1, 2, 3, columns, most_fast, most_fast > 1 ? most_fast - 1 : 1,
                                std::min<uint64_t>(most_fast + 1, 65535), 65535});
}

// A window whose borders often lie exactly on rows and columns.
CropWindow random_window(Random& random, uint64_t rows, uint32_t columns) {
  const auto number = [&](uint64_t side) {
    const double value = random.unit() * static_cast<double>(side);
    return static_cast<float>(random.pick<double>({std::floor(value), std::floor(value) + 0.5, value}));
  };
  CropWindow window{};
  window.center_row = number(rows);
  window.center_column = number(columns);
  const float down = number(random.pick<uint64_t>({2, 30, rows})),
              across = number(random.pick<uint64_t>({2, 30, columns}));
  window.low_row = window.center_row - down;
  window.high_row = window.center_row + down;
  window.low_column = window.center_column - across;
  window.high_column = window.center_column + across;
  // Often exactly the squared distance of some pixel, or one step beside it.
  const reference::Pixel pixel{static_cast<int64_t>(random.below(rows)), static_cast<int64_t>(random.below(columns))};
  window.limit =
      random.chance(0.5) ? reference::squared_distance(pixel, window.center_row, window.center_column) : down * across;
  window.limit =
      random.pick<float>({window.limit, std::nextafter(window.limit, 0.0f), std::nextafter(window.limit, HUGE_VALF)});
  if (random.chance(0.03)) window.limit = -1.0f;
  if (random.chance(0.03)) window.low_row = window.center_row = NAN;
  return window;
}

Frames random_frames(Random& random, uint32_t columns, uint64_t pixels) {
  Frames frames;
  const size_t count = random.pick<size_t>({0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 50});
  const uint32_t common = random.pick(interesting_lengths);
  const double common_chance = random.pick<double>({0, 0.5, 0.95, 1});
  for (size_t f = 0; f < count; ++f) {
    uint32_t length = random.chance(common_chance) ? common : random.pick(interesting_lengths);
    if (random.chance(0.02)) length = static_cast<uint32_t>(random.between(300, 3000));
    frames.add(random_frame(random, length, columns, pixels));
  }
  // Frames in any order, overlapping, with gaps: begin and count are all that a kernel may rely on.
  if (random.chance(0.3)) random.shuffle(frames.ranges);
  if (random.chance(0.2) && frames.ranges.size() > 1) frames.ranges.back() = frames.ranges.front();
  return frames;
}

}  // namespace

TEST_CASE("sums of random frames") {
  for_each_backend([](const Backend& backend) {
    for_random_cases("sums of random frames", 3000, [&](Random& random) {
      const uint32_t columns =
          random.chance(0.7) ? random.pick(interesting_columns) : static_cast<uint32_t>(random.between(1, 65535));
      const uint64_t pixels = columns * random_rows(random, columns);
      const Frames frames = random_frames(random, columns, pixels);
      CAPTURE(columns);
      CAPTURE(pixels);
      CHECK(compare_plain(backend, frames, columns, pixels, random.below(4)) == "");
    });
  });
}

TEST_CASE("cropped sums of random frames") {
  for_each_backend([](const Backend& backend) {
    for_random_cases("cropped sums of random frames", 3000, [&](Random& random) {
      const uint32_t columns =
          random.chance(0.7) ? random.pick(interesting_columns) : static_cast<uint32_t>(random.between(1, 65535));
      const uint64_t rows = random_rows(random, columns);
      const uint64_t pixels = columns * rows;
      const Frames frames = random_frames(random, columns, pixels);
      const CropShape shape = random.chance(0.5) ? CropShape::box : CropShape::disk;
      const size_t stride = random.below(2);
      std::vector<CropWindow> windows;
      for (size_t i = 0; i < std::max<size_t>(1, frames.ranges.size() * stride); ++i)
        windows.push_back(random_window(random, rows, columns));
      CAPTURE(columns);
      CAPTURE(pixels);
      CAPTURE(static_cast<int>(shape));
      CAPTURE(stride);
      CHECK(compare_cropped(backend, frames, columns, pixels, shape, windows, stride, random.below(4)) == "");
    });
  });
}

TEST_CASE("every length of a frame, alone and in groups") {
  constexpr uint32_t columns = 577;
  constexpr uint64_t pixels = 577 * 400;
  for_each_backend([](const Backend& backend) {
    Random random(case_seed("every length", 0));
    INFO("STEMLINE_TEST_SEED=", base_seed());
    for (uint32_t length = 0; length <= 140; ++length) {
      for (const size_t count : {1, 3, 4, 5, 8, 9, 16, 17, 33}) {
        Frames frames;
        for (size_t f = 0; f < count; ++f) frames.add(random_frame(random, length, columns, pixels));
        const CropWindow window = random_window(random, 400, columns);
        CAPTURE(length);
        CAPTURE(count);
        CHECK(compare_plain(backend, frames, columns, pixels) == "");
        CHECK(compare_cropped(backend, frames, columns, pixels, CropShape::box, {window}, 0) == "");
        CHECK(compare_cropped(backend, frames, columns, pixels, CropShape::disk, {window}, 0) == "");
      }
    }
  });
}

TEST_CASE("no frames and null pointers") {
  for_each_backend([](const Backend& backend) {
    const CropWindow window{};
    CHECK(backend.sum_frames(nullptr, nullptr, 0, 576, 576 * 576, nullptr) == 0);
    CHECK(backend.sum_in_window(nullptr, nullptr, 0, 576, 576 * 576, CropShape::box, window, nullptr) == 0);
    CHECK(backend.sum_in_window(nullptr, nullptr, 0, 576, 576 * 576, CropShape::disk, window, nullptr) == 0);
    for (const size_t count : {1, 4, 16, 19}) {
      const std::vector<EventRange> empty(count);
      std::vector<FrameSums> sums(count, FrameSums{1, 2});
      std::vector<CroppedSums> cropped(count, CroppedSums{1, 2, 3});
      CHECK(backend.sum_frames(nullptr, empty.data(), count, 576, 576 * 576, sums.data()) == 0);
      CHECK(backend.sum_in_window(nullptr, empty.data(), count, 576, 576 * 576, CropShape::disk, window, cropped.data()) == 0);
      const std::vector<CropWindow> windows(count);
      std::vector<CroppedSums> windowed(count, CroppedSums{1, 2, 3});
      backend.sum_in_windows(nullptr, empty.data(), count, 576, 576 * 576, CropShape::box, windows.data(), windowed.data());
      for (size_t f = 0; f < count; ++f) {
        CHECK(text_of(windowed[f]) == text_of(CroppedSums{}));
        CHECK(text_of(sums[f]) == text_of(FrameSums{}));
        CHECK(text_of(cropped[f]) == text_of(CroppedSums{}));
      }
    }
  });
}

// Each index alone in a frame, so that no two errors cancel.
class RowComparison {
 public:
  // Empty if every index is divided as it should be. Keeps its memory for the next call, and reads it by pointers: this is
  // called for hundreds of millions of indices.
  std::string operator()(const Backend& backend, const std::vector<uint32_t>& indices, uint32_t columns, uint64_t pixels) {
    const size_t count = indices.size();
    while (ranges_.size() < count) ranges_.push_back({ranges_.size(), 1});
    if (sums_.size() < count) sums_.resize(count);
    if (cropped_.size() < count) cropped_.resize(count);
    const uint8_t* const events = reinterpret_cast<const uint8_t*>(indices.data());
    const CropWindow all{-1, 1e9f, -1, 1e9f, 0, 0, 1e30f};
    backend.sum_frames(events, ranges_.data(), count, columns, pixels, sums_.data());
    backend.sum_in_window(events, ranges_.data(), count, columns, pixels, CropShape::box, all, cropped_.data());
    const uint32_t* index = indices.data();
    const FrameSums* sums = sums_.data();
    const CroppedSums* cropped = cropped_.data();
    for (const uint32_t* const end = index + count; index != end; ++index, ++sums, ++cropped) {
      const uint32_t row = *index / columns, column = *index % columns;
      if (sums->row_sum != row || sums->index_sum != *index) {
        return "index " + std::to_string(*index) + " / " + std::to_string(columns) + " gave " + text_of(*sums);
      }
      if (cropped->row_sum != row || cropped->column_sum != column || cropped->count != 1) {
        return "index " + std::to_string(*index) + " / " + std::to_string(columns) + " gave cropped " + text_of(*cropped);
      }
    }
    return "";
  }

 private:
  std::vector<EventRange> ranges_;
  std::vector<FrameSums> sums_;
  std::vector<CroppedSums> cropped_;
};

TEST_CASE("row division at the borders of rows, for every number of columns") {
  for_each_backend([](const Backend& backend) {
    INFO("STEMLINE_TEST_SEED=", base_seed());
    Random random(case_seed("row division", 0));
    std::vector<uint32_t> indices;
    RowComparison compare_rows;
    size_t checked = 0;
    const uint32_t step = static_cast<uint32_t>(std::max<size_t>(1, 1000 / scaled(1000)));
    for (uint32_t columns = 2; columns <= 65535; columns += step) {
      const uint64_t rows = fast_pixels / columns;
      const uint64_t pixels = rows * columns;
      indices.clear();
      for (const uint64_t k :
           {uint64_t{0}, uint64_t{1}, uint64_t{2}, uint64_t{3}, rows / 3, rows / 2 - 1, rows / 2, rows / 2 + 1,
            rows - 3, rows - 2, rows - 1, rows, random.below(rows), random.below(rows), random.below(rows)}) {
        for (const int64_t beside : {-1, 0, 1}) {
          const int64_t index = static_cast<int64_t>(k * columns) + beside;
          if (index >= 0 && index < static_cast<int64_t>(pixels)) indices.push_back(static_cast<uint32_t>(index));
        }
      }
      checked += indices.size();
      const std::string wrong = compare_rows(backend, indices, columns, pixels);
      if (!wrong.empty()) CHECK(wrong == "");
    }
    CHECK(checked > 1000);
  });
}

TEST_CASE("row division of every index below 2^23") {
  for_each_backend([](const Backend& backend) {
    // Divisors whose reciprocals round in either direction, and those of real detectors.
    for (const uint32_t columns : {3u, 41u, 576u, 2896u, 65535u}) {
      const uint64_t pixels = fast_pixels / columns * columns;
      const uint64_t block = 1 << 16;
      const uint64_t step = block * std::max<size_t>(1, 100 / scaled(100));
      std::vector<uint32_t> indices;
      RowComparison compare_rows;
      for (uint64_t first = 0; first < pixels; first += step) {
        indices.resize(std::min(block, pixels - first));
        std::iota(indices.begin(), indices.end(), static_cast<uint32_t>(first));
        const std::string wrong = compare_rows(backend, indices, columns, pixels);
        if (!wrong.empty()) CHECK(wrong == "");
      }
    }
  });
}

TEST_CASE("sums beyond 32 bits") {
  for_each_backend([](const Backend& backend) {
    INFO("STEMLINE_TEST_SEED=", base_seed());
    Random random(case_seed("sums beyond 32 bits", 0));
    for (const auto& shape : std::vector<std::pair<uint32_t, uint64_t>>{{576, 576},
                                                                        {2, fast_pixels / 2},
                                                                        {4096, 2048},
                                                                        {2896, 2896},
                                                                        {2897, 2896},
                                                                        {65535, 128},
                                                                        {65535, 129},
                                                                        {65535, 65535},
                                                                        {1, 65535},
                                                                        {1, 7}}) {
      const uint32_t columns = shape.first;
      const uint64_t rows = shape.second;
      const uint64_t pixels = columns * rows;
      const uint64_t safe = 0xffffffffull / pixels;
      std::vector<uint64_t> lengths{1, 255, 4096, 500'000};
      for (const uint64_t around : {safe, 2 * safe, 3 * safe}) {
        if (around < 500'000)
          lengths.insert(lengths.end(), {around > 0 ? around - 1 : 0, around, around + 1, around + 17});
      }
      CAPTURE(columns);
      CAPTURE(rows);
      for (const uint64_t length : lengths) {
        CAPTURE(length);
        Frames frames;
        // The highest index everywhere, then the highest beside random ones.
        frames.add(std::vector<uint32_t>(length, static_cast<uint32_t>(pixels - 1)));
        frames.add(random_frame(random, length, columns, pixels));
        frames.add({static_cast<uint32_t>(pixels - 1)});
        const CropWindow all{-1, 1e9f, -1, 1e9f, 0, 0, 3e38f};
        CHECK(compare_plain(backend, frames, columns, pixels) == "");
        CHECK(compare_cropped(backend, frames, columns, pixels, CropShape::box, {all}, 0) == "");
        CHECK(compare_cropped(backend, frames, columns, pixels, CropShape::disk, {all}, 0) == "");
      }
      // Groups of frames of about the same length, near the overflow of a 32-bit sum.
      if (safe > 200'000) continue;
      for (const uint64_t length : {safe, safe + 1, safe + 33}) {
        Frames frames;
        for (size_t f = 0; f < 33; ++f) frames.add(std::vector<uint32_t>(length, static_cast<uint32_t>(pixels - 1)));
        CHECK(compare_plain(backend, frames, columns, pixels) == "");
      }
    }
  });
}

TEST_CASE("frames as long as a lane's sums just hold, and a little longer") {
  for_each_backend([](const Backend& backend) {
    INFO("STEMLINE_TEST_SEED=", base_seed());
    Random random(case_seed("lane limits", 0));
    for (const auto& [frame_columns, frame_rows] : std::vector<std::pair<uint32_t, uint64_t>>{{576, 576},
                                                                                              {20, 20},
                                                                                              {65535, 2},
                                                                                              {2, 65535},
                                                                                              {64, 65535},
                                                                                              {65535, 128},
                                                                                              {2048, 4096},
                                                                                              {4096, 2048},
                                                                                              {255, 257},
                                                                                              {1000, 1000},
                                                                                              {2, 1 << 22},
                                                                                              {1024, 1024},
                                                                                              {63, 64},
                                                                                              {3, 21845},
                                                                                              {21845, 3}}) {
      const uint32_t columns = frame_columns;
      const uint64_t rows = frame_rows;
      const uint64_t pixels = columns * rows;
      // Sums of 16, 22 and 32 bits, and a count of 10.
      for (const uint64_t limit : {65535 / std::max<uint64_t>(rows, columns), ((uint64_t{1} << 22) - 1) / rows,
                                   uint64_t{0xffffffff} / pixels, uint64_t{1023}}) {
        if (limit > 5000) continue;
        for (const uint64_t length : {limit > 0 ? limit - 1 : 0, limit, limit + 1, limit + 2, 2 * limit + 1}) {
          const std::vector<uint32_t> corners{static_cast<uint32_t>(pixels - 1), columns - 1,
                                              static_cast<uint32_t>((rows - 1) * columns)};
          const uint32_t corner = random.pick(corners);
          Frames frames;
          for (size_t f = 0; f < 35; ++f) {
            // A little shorter ones too: groups are made of frames of about the same length.
            const uint64_t shorter = random.chance(0.5) ? 0 : random.below(length / 3 + 1);
            frames.add(std::vector<uint32_t>(length - shorter, corner));
          }
          const CropWindow all{-1, 1e9f, -1, 1e9f, 0, 0, 3e38f};
          CAPTURE(columns);
          CAPTURE(rows);
          CAPTURE(length);
          CAPTURE(corner);
          CHECK(compare_plain(backend, frames, columns, pixels) == "");
          CHECK(compare_cropped(backend, frames, columns, pixels, CropShape::box, {all}, 0) == "");
          CHECK(compare_cropped(backend, frames, columns, pixels, CropShape::disk, {all}, 0) == "");
        }
      }
    }
  });
}

TEST_CASE("frames summed together, as long as a block of four lanes just holds rows and columns in one number") {
  for_each_backend([](const Backend& backend) {
    INFO("STEMLINE_TEST_SEED=", base_seed());
    Random random(case_seed("block limits", 0));
    for (const auto& [frame_columns, frame_rows] : std::vector<std::pair<uint32_t, uint64_t>>{
             {576, 576}, {65535, 2}, {2, 65535}, {64, 65535}, {65535, 128}, {2048, 4096}, {4096, 2048}, {2896, 2896}, {9000, 900}}) {
      const uint32_t columns = frame_columns;
      const uint64_t rows = frame_rows;
      const uint64_t most = std::min<uint64_t>(64000 / (columns - 1), 0xffffffff / ((rows - 1) * (65536 + columns) + columns - 1));
      for (const uint64_t lanes : {4, 8, 16}) {
        const uint64_t limit = std::min<uint64_t>(lanes * (most / 4), lanes == 16 ? 192 : 256);
        for (const uint64_t length : {limit - std::min<uint64_t>(limit, 1), limit, limit + 1, limit + lanes}) {
          Frames frames;
          const uint32_t last_row = static_cast<uint32_t>((rows - 1) * columns);
          for (size_t f = 0; f < 40; ++f) {
            // A short one before others, which are then summed together with it and not alone.
            std::vector<uint32_t> frame(f % 5 == 0 ? 1 : length);
            // Sums of columns as small or as large as can be, beside the largest sum of rows or any other.
            const uint32_t column = random.chance(0.5) ? 0 : columns - 1;
            const bool last = random.chance(0.5);
            for (uint32_t& event : frame) event = (last ? last_row : static_cast<uint32_t>(random.below(rows)) * columns) + column;
            frames.add(frame);
          }
          CAPTURE(columns);
          CAPTURE(rows);
          CAPTURE(length);
          CHECK(compare_plain(backend, frames, columns, columns * rows) == "");
        }
      }
    }
  });
}

TEST_CASE("many neighbouring frames, some too long and some apart") {
  for_each_backend([](const Backend& backend) {
    for_random_cases("many frames", 60, [&](Random& random) {
      const uint32_t columns = random.pick<uint32_t>({576, 577, 128, 4096, 65535, 3});
      const uint64_t rows = random.pick<uint64_t>({576, 128});
      const uint64_t pixels = columns * rows;
      // Around the limits of what is summed together: 3584 events, 256 frames, 192, 208, 216 or 512 events a frame.
      const size_t mean = random.pick<size_t>({0, 1, 10, 20, 30, 100, 120, 160, 192, 300, 511});
      const bool all_highest = random.chance(0.2);
      Frames frames;
      const size_t count = static_cast<size_t>(random.between(100, 400));
      for (size_t f = 0; f < count; ++f) {
        size_t length = mean + random.below(mean / 3 + 1);
        if (random.chance(0.01)) length = random.pick<size_t>({0, 127, 128, 129, 191, 192, 193, 208, 209, 216, 217, 511, 512, 513, 1024, 3584, 3585, 6000});
        frames.add(all_highest ? std::vector<uint32_t>(length, static_cast<uint32_t>(pixels - 1))
                               : random_frame(random, length, columns, pixels));
        // An event that belongs to no frame.
        if (random.chance(0.01)) frames.events.push_back(0xffffffff);
      }
      std::vector<CropWindow> windows;
      for (size_t f = 0; f < count; ++f) windows.push_back(random_window(random, rows, columns));
      const size_t spare = random.below(4);
      CAPTURE(columns);
      CAPTURE(rows);
      CAPTURE(mean);
      CHECK(compare_plain(backend, frames, columns, pixels, spare) == "");
      for (const CropShape shape : {CropShape::box, CropShape::disk}) {
        CHECK(compare_cropped(backend, frames, columns, pixels, shape, windows, 0, spare) == "");
        CHECK(compare_cropped(backend, frames, columns, pixels, shape, windows, 1, spare) == "");
      }
    });
  });
}

TEST_CASE("an event outside the frame is seen among many frames") {
  for_each_backend([](const Backend& backend) {
    for_random_cases("outside among many", 60, [&](Random& random) {
      constexpr uint32_t columns = 576;
      constexpr uint64_t pixels = 576 * 576;
      Frames frames;
      for (size_t f = 0; f < 200; ++f) frames.add(random_frame(random, random.below(60), columns, pixels));
      const uint32_t bad = random.pick<uint32_t>({pixels, pixels + 1, 8388608, 0x7fffffff, 0x80000000, 0xffffffff});
      frames.events[random.below(frames.events.size())] = bad;
      std::vector<FrameSums> sums(200);
      std::vector<CroppedSums> cropped(200);
      const uint8_t* const bytes = frames.bytes().data();
      CHECK(backend.sum_frames(bytes, frames.ranges.data(), 200, columns, pixels, sums.data()) == bad);
      const CropWindow window{10, 20, 10, 20, 15, 15, 25};
      for (const CropShape shape : {CropShape::box, CropShape::disk}) {
        CHECK(backend.sum_in_window(bytes, frames.ranges.data(), 200, columns, pixels, shape, window, cropped.data()) ==
              bad);
      }
    });
  });
}

TEST_CASE("the borders of a box for every number of columns, in its first and last rows") {
  // Each event alone in a frame, beside the four borders.
  for_each_backend([](const Backend& backend) {
    Random random(case_seed("box borders", 0));
    INFO("STEMLINE_TEST_SEED=", base_seed());
    const uint32_t step = static_cast<uint32_t>(std::max<size_t>(1, 100 / scaled(100)));
    for (uint32_t columns = 2; columns <= 65535; columns += columns < 3000 ? 1 : 17 * step) {
      const uint64_t rows = std::min<uint64_t>(65535, random.chance(0.5) ? fast_pixels / columns : columns);
      if (rows == 0 || rows * columns > fast_pixels) continue;
      const auto range = [&](uint64_t side) {
        const uint64_t first = random.chance(0.3) ? 0 : random.below(side);
        return std::pair<uint64_t, uint64_t>{first, random.chance(0.3) ? side - 1 : first + random.below(side - first)};
      };
      const auto [first_row, last_row] = range(rows);
      const auto [first_column, last_column] = range(columns);
      // Bounds anywhere between two pixels.
      const auto below = [&](uint64_t v) { return static_cast<float>(v) - random.pick<float>({0.5f, 1.0f, 0.25f}); };
      const auto above = [&](uint64_t v) { return static_cast<float>(v) + random.pick<float>({0.0f, 0.5f, 0.75f}); };
      const CropWindow window{below(first_row), above(last_row), below(first_column), above(last_column), 0, 0, 0};
      Frames frames;
      for (const uint64_t row : {first_row - 1, first_row, last_row, last_row + 1, rows - 1, uint64_t{0}}) {
        for (const uint64_t column : {first_column - 1, first_column, last_column, last_column + 1, columns - uint64_t{1}, uint64_t{0}}) {
          if (row < rows && column < columns) frames.add({static_cast<uint32_t>(row * columns + column)});
        }
      }
      const std::string wrong = compare_cropped(backend, frames, columns, rows * columns, CropShape::box, {window}, 0);
      if (!wrong.empty()) {
        CAPTURE(columns);
        CAPTURE(rows);
        CHECK(wrong == "");
      }
    }
  });
}

TEST_CASE("bounds of a box outside the frame, infinite or no numbers") {
  for_each_backend([](const Backend& backend) {
    constexpr uint32_t columns = 20;
    constexpr uint64_t rows = 12;
    Frames frames;
    for (uint32_t event = 0; event < rows * columns; ++event) frames.add({event});
    const std::vector<float> bounds{-HUGE_VALF, -1e30f, -5.0f, -1.0f, -0.5f, -0.0f, 0.0f,  3.0f,      10.75f,
                                    11.0f,      12.0f,  19.0f, 20.0f, 21.5f, 4e9f,  1e30f, HUGE_VALF, NAN};
    for (const float low : bounds) {
      for (const float high : bounds) {
        CAPTURE(low);
        CAPTURE(high);
        for (const CropWindow& window : {CropWindow{low, high, 2, 17, 0, 0, 0}, CropWindow{2, 9, low, high, 0, 0, 0}}) {
          CHECK(compare_cropped(backend, frames, columns, rows * columns, CropShape::box, {window}, 0) == "");
          CHECK(compare_cropped(backend, frames, columns, rows * columns, CropShape::box,
                                std::vector<CropWindow>(frames.ranges.size(), window), 1) == "");
        }
      }
    }
  });
}

TEST_CASE("frames of very different lengths in one group") {
  for_each_backend([](const Backend& backend) {
    for_random_cases("different lengths", 40, [&](Random& random) {
      const uint32_t columns = random.pick<uint32_t>({576, 128, 4096});
      const uint64_t pixels = columns * random.pick<uint64_t>({576, 2048});
      Frames frames;
      for (size_t f = 0; f < 40; ++f) {
        const size_t length = random.pick<size_t>({0, 0, 1, 10, 64, 65, 128, 129, 1000, 40'000});
        frames.add(random_frame(random, length, columns, pixels));
      }
      std::vector<CropWindow> windows;
      for (size_t f = 0; f < 40; ++f) windows.push_back(random_window(random, pixels / columns, columns));
      CHECK(compare_plain(backend, frames, columns, pixels) == "");
      CHECK(compare_cropped(backend, frames, columns, pixels, CropShape::box, windows, 1) == "");
      CHECK(compare_cropped(backend, frames, columns, pixels, CropShape::disk, windows, 1) == "");
    });
  });
}

TEST_CASE("an event outside the frame is seen wherever it lies") {
  for_each_backend([](const Backend& backend) {
    INFO("STEMLINE_TEST_SEED=", base_seed());
    Random random(case_seed("outside", 0));
    constexpr uint32_t columns = 576;
    constexpr uint64_t pixels = 576 * 576;
    const CropWindow window{10, 20, 10, 20, 15, 15, 25};
    for (const uint32_t length : {1u, 5u, 16u, 33u, 200u}) {
      for (const size_t count : {1, 16, 21}) {
        for (uint32_t at = 0; at < length; at += 1 + length / 40) {
          const uint32_t bad =
              random.pick<uint32_t>({pixels, pixels + 1, 8388608, 16777217, 0x7fffffff, 0x80000000, 0xffffffff});
          Frames frames;
          for (size_t f = 0; f < count; ++f) frames.add(random_frame(random, length, columns, pixels));
          frames.events[random.below(count) * length + at] = bad;
          std::vector<FrameSums> sums(count);
          std::vector<CroppedSums> cropped(count);
          GuardedBytes events(frames.bytes());
          const uint8_t* const bytes = events.span().data();
          CHECK(backend.sum_frames(bytes, frames.ranges.data(), count, columns, pixels, sums.data()) == bad);
          for (const CropShape shape : {CropShape::box, CropShape::disk}) {
            CHECK(backend.sum_in_window(bytes, frames.ranges.data(), count, columns, pixels, shape, window, cropped.data()) ==
                  bad);
          }
        }
      }
    }
  });
}

TEST_CASE("crop borders exactly on pixels") {
  // Each pixel of a small frame alone in a frame of its own: which ones a window keeps.
  constexpr uint32_t columns = 24;
  constexpr uint64_t rows = 20;
  for_each_backend([](const Backend& backend) {
    Frames frames;
    for (uint32_t event = 0; event < rows * columns; ++event) frames.add({event});
    for (const float center : {0.0f, 5.0f, 9.5f, 9.25f, 19.0f, 7.1f}) {
      for (const float size : {0.0f, 1.0f, 2.5f, 4.25f, 5.0f, 7.1f, 13.0f, 255.0f}) {
        CAPTURE(center);
        CAPTURE(size);
        const float radius_squared = size * size;
        for (const float limit :
             {radius_squared, std::nextafter(radius_squared, -1.0f), std::nextafter(radius_squared, HUGE_VALF)}) {
          const CropWindow window{center - size, center + size, center + 2 - size, center + 2 + size, center,
                                  center + 2,    limit};
          CHECK(compare_cropped(backend, frames, columns, rows * columns, CropShape::box, {window}, 0) == "");
          CHECK(compare_cropped(backend, frames, columns, rows * columns, CropShape::disk, {window}, 0) == "");
        }
      }
    }
  });
}

TEST_CASE("a disk's border is exact where squared distances are rounded") {
  // Each event alone, with a window whose limit is that event's squared distance, or one step less: the difference that
  // a fused multiply-add would make.
  constexpr uint32_t columns = 577;
  constexpr uint64_t rows = 600;
  for_each_backend([](const Backend& backend) {
    for_random_cases("exact disks", 40, [&](Random& random) {
      Frames frames;
      std::vector<CropWindow> windows;
      for (size_t f = 0; f < 100; ++f) {
        const uint32_t event = static_cast<uint32_t>(random.below(columns * rows));
        CropWindow window{};
        window.center_row = static_cast<float>(random.unit() * rows);
        window.center_column = static_cast<float>(random.unit() * columns);
        const float squared =
            reference::squared_distance({event / columns, event % columns}, window.center_row, window.center_column);
        window.limit = random.chance(0.5) ? squared : std::nextafter(squared, -1.0f);
        frames.add(std::vector<uint32_t>(random.chance(0.1) ? 100 : 1, event));
        windows.push_back(window);
      }
      CHECK(compare_cropped(backend, frames, columns, columns * rows, CropShape::disk, windows, 1) == "");
    });
  });
}

TEST_CASE("a box is open below and closed above, a disk is closed") {
  for_each_backend([](const Backend& backend) {
    Frames frames;
    frames.add({4 * 10 + 4, 6 * 10 + 6, 8 * 10 + 8, 4 * 10 + 6, 6 * 10 + 8});
    CroppedSums sums;
    const CropWindow window{4, 8, 4, 8, 6, 6, 4};
    const uint8_t* const events = frames.bytes().data();
    backend.sum_in_window(events, frames.ranges.data(), 1, 10, 100, CropShape::box, window, &sums);
    CHECK(text_of(sums) == text_of(CroppedSums{6 + 8 + 6, 6 + 8 + 8, 3}));
    backend.sum_in_window(events, frames.ranges.data(), 1, 10, 100, CropShape::disk, window, &sums);
    CHECK(text_of(sums) == text_of(CroppedSums{6 + 4 + 6, 6 + 6 + 8, 3}));
  });
}

TEST_CASE("backends are found by name, with a reason when not") {
  REQUIRE(!stemline::all_backends().empty());
  CHECK(std::string(stemline::all_backends().back()->name) == "scalar");
  std::string why;
  CHECK(stemline::find_backend("nonsense", why) == nullptr);
  CHECK(why.find("nonsense") != std::string::npos);
  for (const Backend* backend : stemline::all_backends()) {
    CHECK(why.find(backend->name) != std::string::npos);
    std::string reason;
    const Backend* found = stemline::find_backend(backend->name, reason);
    if (backend->supported()) {
      CHECK(found == backend);
      CHECK(reason == "");
    } else {
      CHECK(found == nullptr);
      CHECK(reason.find(backend->name) != std::string::npos);
    }
  }
}

// The choice is made once a process: CTest runs this case again with other values of STEMLINE_BACKEND.
TEST_CASE("the default backend is the best one, or the one that STEMLINE_BACKEND names") {
  std::string why;
  const char* const forced = std::getenv("STEMLINE_BACKEND");
  const Backend* const chosen = stemline::default_backend(why);
  if (forced == nullptr || *forced == '\0') {
    CHECK(chosen == supported_backends().front());
    return;
  }
  std::string reason;
  const Backend* const named = stemline::find_backend(forced, reason);
  CHECK(chosen == named);
  if (named == nullptr) {
    CHECK(why.find("STEMLINE_BACKEND") != std::string::npos);
    CHECK(why.find(forced) != std::string::npos);
  }
}
