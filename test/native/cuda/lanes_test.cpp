// The arithmetic of a frame by several lanes, as a GPU runs it, with a thread for each. What the compiler makes of it for a GPU is
// not tested here.
#include <array>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "backend.h"
#include "batch.h"
#include "frame_sums.h"

using namespace cuda_test;
using namespace helpers;
using namespace stemline::cuda;

namespace {

// What lanes say to each other.
template <uint32_t width>
class Meeting {
 public:
  // What all lanes brought, once they all have.
  std::array<uint32_t, width> exchange(uint32_t lane, uint32_t value) {
    std::unique_lock<std::mutex> lock(mutex_);
    const uint64_t meeting = meetings_;
    brought_[lane] = value;
    if (++arrived_ == width) {
      result_ = brought_;
      arrived_ = 0;
      ++meetings_;
      changed_.notify_all();
    } else {
      changed_.wait(lock, [&] { return meetings_ != meeting; });
    }
    return result_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::array<uint32_t, width> brought_{}, result_{};
  uint32_t arrived_ = 0;
  uint64_t meetings_ = 0;
};

template <uint32_t width>
class ThreadLane {
 public:
  static constexpr uint32_t size = width;
  ThreadLane(Meeting<width>& meeting, uint32_t lane) : meeting_(meeting), lane_(lane) {}

  uint32_t lane() const { return lane_; }
  uint32_t sum(uint32_t x) const {
    uint32_t sum = 0;
    for (const uint32_t other : meeting_.exchange(lane_, x)) sum += other;
    return sum;
  }
  uint32_t max(uint32_t x) const {
    const auto all = meeting_.exchange(lane_, x);
    return *std::max_element(all.begin(), all.end());
  }
  uint32_t count(bool holds) const { return sum(holds ? 1 : 0); }
  template <class T>
  void add(T* address, T x) const {
    std::atomic_ref(*address) += x;
  }
  void raise(uint32_t* address, uint32_t x) const {
    std::atomic_ref largest(*address);
    for (uint32_t now = largest; now < x && !largest.compare_exchange_weak(now, x);) {
    }
  }

 private:
  Meeting<width>& meeting_;
  uint32_t lane_;
};

// `tiles` of lanes share the frames.
template <uint32_t width>
struct ThreadedLaunch {
  const SumsTask& task;
  uint32_t tiles;

  template <class Crop, bool analysis>
  int run() const {
    std::vector<Meeting<width>> meetings(tiles);
    std::vector<std::thread> threads;
    for (uint32_t tile = 0; tile < tiles; ++tile) {
      for (uint32_t lane = 0; lane < width; ++lane) {
        threads.emplace_back([&, tile, lane] { sum_parts<Crop, analysis>(ThreadLane<width>(meetings[tile], lane), task, tile, tiles); });
      }
    }
    for (std::thread& thread : threads) thread.join();
    return 0;
  }
};

template <uint32_t width>
void check_lanes(Random& random, size_t longest, uint32_t detector_count) {
  Batch batch;
  batch.rows = random.pick<uint32_t>({16, 64, 300});
  batch.columns = random.pick<uint32_t>({16, 77, 256});
  batch.positions = 4;
  for (size_t f = 0; f < 5; ++f) batch.add(static_cast<uint32_t>(random.below(4)), random_frame(random, batch, random.below(longest + 1)));
  set_crop(random, batch, random.pick<StemlineCudaCrop>({STEMLINE_CUDA_CROP_NONE, STEMLINE_CUDA_CROP_FIXED, STEMLINE_CUDA_CROP_OWN_CENTER}));
  set_analysis(random, batch, detector_count);
  const bool outside = !batch.events.empty() && random.chance(0.3);
  if (outside) batch.events[random.below(batch.events.size())] = static_cast<uint32_t>(batch.pixels() + random.pick<uint64_t>({0, 0, 1, 1 << 30}));

  Results results;
  results.sums.resize(batch.positions);
  results.event_counts.resize(batch.positions);
  results.detector_counts.resize(size_t{detector_count} * batch.positions);
  results.pattern.resize(batch.pixels() + 1);
  std::vector<StemlineCudaSums> own(batch.positions);
  SumsTask task;
  task.events = batch.events.data();
  task.parts = batch.frames.data();
  task.part_count = static_cast<uint32_t>(batch.frames.size());
  task.position_count = batch.positions;
  task.columns = batch.columns;
  task.pixels = static_cast<uint32_t>(batch.pixels());
  task.row_factor = row_factor_of(batch.columns);
  task.window = batch.window;
  task.own_sums = own.data();
  task.half_rows = batch.half_rows;
  task.half_columns = batch.half_columns;
  task.limit = batch.limit;
  task.detectors = batch.detectors.data();
  task.detector_count = detector_count;
  task.sums = results.sums.data();
  task.largest = &results.largest;
  task.event_counts = results.event_counts.data();
  task.detector_counts = results.detector_counts.data();
  task.pattern = results.pattern.data();
  const uint32_t tiles = static_cast<uint32_t>(random.between(1, 2));
  if (batch.crop == STEMLINE_CUDA_CROP_OWN_CENTER) {
    SumsTask uncropped = task;
    uncropped.sums = own.data();
    with_crop(STEMLINE_CUDA_CROP_NONE, batch.shape, true, ThreadedLaunch<width>{uncropped, tiles});
  }
  with_crop(batch.crop, batch.shape, true, ThreadedLaunch<width>{task, tiles});

  const Results wanted = expected(batch);
  CHECK(results.largest == wanted.largest);
  CHECK(results.pattern.back() == 0);
  results.pattern.pop_back();
  CHECK(results.pattern == wanted.pattern);
  CHECK(results.detector_counts == wanted.detector_counts);
  if (outside) return;
  CHECK(std::memcmp(results.sums.data(), wanted.sums.data(), batch.positions * sizeof(StemlineCudaSums)) == 0);
  CHECK(results.event_counts == wanted.event_counts);
}

}  // namespace

TEST_CASE("eight lanes") {
  for_random_cases("eight lanes", 30, [](Random& random) { check_lanes<8>(random, random.pick<size_t>({9, 70}), random.pick<uint32_t>({0, 1, 9, 32})); });
}

TEST_CASE("thirty-two lanes") {
  for_random_cases("thirty-two lanes", 10, [](Random& random) { check_lanes<32>(random, random.pick<size_t>({40, 300}), random.pick<uint32_t>({0, 3, 32})); });
}

TEST_CASE("rows of all events that a frame may have") {
  // Next to every border of rows, for every number of columns; the error grows with the event.
  for (uint32_t columns = 1; columns <= 65535; ++columns) {
    SumsTask task;
    task.row_factor = row_factor_of(columns);
    bool right = true;
    for (const uint32_t row : {0u, 1u, 2u, 255u, 256u, 32767u, 65533u, 65534u}) {
      const uint32_t first = row * columns;
      right &= row_of(task, first) == row && row_of(task, first + columns - 1) == row && row_of(task, first + columns / 2) == row;
    }
    if (!right) {
      CAPTURE(columns);
      CHECK(right);
    }
  }
}

TEST_CASE("windows are those of the CPU") {
  for_random_cases("windows", 100'000, [](Random& random) {
    const uint64_t count = random.below(random.pick<uint64_t>({1, 10, 10'000, uint64_t{1} << 32})) + (random.chance(0.01) ? 0 : 1);
    const StemlineCudaSums sums{random.below(65535 * count + 1), random.below(65535 * count + 1), count};
    const float half_rows = static_cast<float>(random.unit() * 300), half_columns = static_cast<float>(random.below(50)), limit = 7;
    const StemlineCudaWindow window = window_around(sums, half_rows, half_columns, limit);
    const stemline::CropWindow cpu =
        stemline::window_around_own({sums.row_sum, sums.column_sum, sums.count}, half_rows, half_columns, limit);
    static_assert(sizeof window == sizeof cpu);
    if (count > 0) CHECK(std::memcmp(&window, &cpu, sizeof cpu) == 0);
  });
}
