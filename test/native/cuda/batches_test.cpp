// Results of batches against sums by / and %.
#include <memory>
#include <thread>

#include "batch.h"

using namespace cuda_test;
using namespace helpers;

namespace {

const std::vector<StemlineCudaCrop> all_crops{STEMLINE_CUDA_CROP_NONE, STEMLINE_CUDA_CROP_FIXED, STEMLINE_CUDA_CROP_OWN_CENTER};

Place random_place(Random& random) { return random.pick<Place>({Place::pageable, Place::pinned, Place::device}); }

size_t random_shift(Random& random, Place place) { return place == Place::device ? 4 * random.below(4) : random.below(8); }

}  // namespace

TEST_CASE("random batches") {
  if (!have_device()) return;
  Context context;
  for_random_cases("batches", 3000, [&](Random& random) {
    const Batch batch = random_batch(random, random.chance(0.5));
    const Place place = random_place(random);
    const size_t shift = random_shift(random, place);
    CAPTURE(batch.rows);
    CAPTURE(batch.columns);
    CAPTURE(batch.crop);
    CAPTURE(batch.shape);
    CAPTURE(batch.detector_count);
    CAPTURE(place);
    CAPTURE(shift);
    CHECK(compute(context, batch, place, shift) == "");
  });
  CHECK(context.usage().batches == scaled(3000));
}

TEST_CASE("every number of columns, in the first and last rows") {
  if (!have_device()) return;
  Context context;
  INFO("STEMLINE_TEST_SEED=", base_seed());
  Random random(case_seed("columns", 0));
  const uint32_t step = static_cast<uint32_t>(std::max<size_t>(1, 4 / scaled(4)));
  for (uint32_t columns = 1; columns <= 65535; columns += step * (columns < 4096 ? 1 : 97)) {
    Batch batch;
    batch.columns = columns;
    batch.rows = random.chance(0.5) ? 65535 : static_cast<uint32_t>(random.between(1, 4096));
    for (const uint32_t row : {0u, 1u, batch.rows / 2, batch.rows - 1}) {
      if (row >= batch.rows) continue;
      // Each event alone, so that no two errors cancel out.
      const uint32_t first = row * columns;
      for (const uint32_t event : {first, first + columns / 2, first + columns - 1}) batch.add(batch.positions++, {event});
    }
    set_crop(random, batch, random.pick(all_crops));
    CAPTURE(columns);
    CAPTURE(batch.rows);
    CHECK(compute(context, batch) == "");
  }
}

TEST_CASE("borders of a crop exactly on pixels") {
  if (!have_device()) return;
  Context context;
  // Each pixel alone in a position, and once more around a centre of its own.
  Batch batch;
  batch.rows = 20;
  batch.columns = 24;
  batch.positions = 20 * 24;
  for (uint32_t event = 0; event < 20 * 24; ++event) batch.add(event, {event});
  Batch own = batch;
  own.frames.clear();
  own.events.clear();
  for (uint32_t event = 0; event < 20 * 24; ++event) {
    const uint32_t row = event / 24, column = event % 24;
    // Around the event itself, and around the middle between it and another.
    own.add(event, {event, event, row * 24 + (column + 4) % 24, (row + 2) % 20 * 24 + column});
  }
  own.crop = STEMLINE_CUDA_CROP_OWN_CENTER;
  batch.crop = STEMLINE_CUDA_CROP_FIXED;
  for (const float center : {0.0f, 5.0f, 9.5f, 9.25f, 19.0f, 7.1f}) {
    for (const float size : {0.0f, 0.25f, 0.5f, 1.0f, 1.5f, 2.0f, 2.5f, 4.25f, 5.0f, 7.1f, 255.0f}) {
      for (const float limit : {size * size, std::nextafter(size * size, -1.0f), std::nextafter(size * size, HUGE_VALF)}) {
        batch.window = {center - size, center + size, center + 2 - size, center + 2 + size, center, center + 2, limit};
        own.half_rows = size;
        own.half_columns = size + (center > 6 ? 0.5f : 0.0f);
        own.limit = limit;
        for (const StemlineCudaShape shape : {STEMLINE_CUDA_BOX, STEMLINE_CUDA_DISK}) {
          batch.shape = own.shape = shape;
          CAPTURE(center);
          CAPTURE(size);
          CAPTURE(limit);
          CHECK(compute(context, batch) == "");
          CHECK(compute(context, own) == "");
        }
      }
    }
  }
}

TEST_CASE("a disk's border is exact where squared distances are rounded") {
  if (!have_device()) return;
  Context context;
  // The limit is the event's squared distance, or one step less: the difference that a fused multiply-add would make.
  for_random_cases("exact disks", 2000, [&](Random& random) {
    Batch batch;
    batch.rows = 600;
    batch.columns = 577;
    const uint32_t event = static_cast<uint32_t>(random.below(batch.pixels()));
    batch.add(0, std::vector<uint32_t>(random.chance(0.1) ? 100 : 1, event));
    batch.crop = STEMLINE_CUDA_CROP_FIXED;
    batch.shape = STEMLINE_CUDA_DISK;
    batch.window.center_row = static_cast<float>(random.unit() * 600);
    batch.window.center_column = static_cast<float>(random.unit() * 577);
    const float squared =
        reference::squared_distance({event / 577, event % 577}, batch.window.center_row, batch.window.center_column);
    batch.window.limit = random.chance(0.5) ? squared : std::nextafter(squared, -1.0f);
    CHECK(compute(context, batch) == "");
  });
}

TEST_CASE("frames of very different lengths, up to half a million events") {
  if (!have_device()) return;
  Context context;
  Random random(case_seed("long frames", 0));
  INFO("STEMLINE_TEST_SEED=", base_seed());
  for (const StemlineCudaCrop crop : all_crops) {
    for (const uint32_t side : {577u, 65535u}) {
      Batch batch;
      batch.rows = batch.columns = side;
      batch.positions = 5;
      for (const size_t length : {0, 500'000, 0, 3, 1'024, 0, 70'000, 100}) {
        batch.add(static_cast<uint32_t>(random.below(5)), random_frame(random, batch, length));
      }
      // The largest sums of a frame.
      batch.add(4, std::vector<uint32_t>(100'000, static_cast<uint32_t>(batch.pixels() - 1)));
      set_crop(random, batch, crop);
      if (side == 577) set_analysis(random, batch, 4);
      CHECK(compute(context, batch) == "");
    }
  }
}

TEST_CASE("many short frames") {
  if (!have_device()) return;
  Context context;
  for_random_cases("short frames", 20, [&](Random& random) {
    Batch batch;
    batch.rows = batch.columns = 256;
    batch.positions = static_cast<uint32_t>(random.between(1, 20'000));
    const size_t longest = random.pick<size_t>({2, 12, 49});
    for (size_t f = 0; f < 20'000; ++f) {
      batch.add(static_cast<uint32_t>(f % batch.positions), random_frame(random, batch, random.below(longest)));
    }
    set_crop(random, batch, random.pick(all_crops));
    set_analysis(random, batch, random.pick<uint32_t>({0, 3, 17}));
    CHECK(compute(context, batch) == "");
  });
}

TEST_CASE("batches without events") {
  if (!have_device()) return;
  Context context;
  for (const StemlineCudaCrop crop : all_crops) {
    Batch batch;
    batch.rows = batch.columns = 9;
    batch.positions = 3;
    batch.add(2, {});
    batch.crop = crop;
    Random random(1);
    set_analysis(random, batch, 2);
    CHECK(compute(context, batch) == "");
    Run run(batch);
    run.call.events = nullptr;
    uint64_t ticket = 0;
    CHECK(context.submit(run.call, ticket).result == STEMLINE_CUDA_OK);
    CHECK(context.wait(ticket).result == STEMLINE_CUDA_OK);
    CHECK(run.compare() == "");
  }
}

TEST_CASE("an event outside of the detector is seen, and nothing else of it") {
  if (!have_device()) return;
  Context context;
  for_random_cases("outside", 300, [&](Random& random) {
    Batch batch = plain_batch(random, 20, random.pick<size_t>({5, 60, 1500}));
    set_crop(random, batch, random.pick(all_crops));
    // Memory around the pattern and the table is watched by the sanitizers, or not there.
    if (random.chance(0.8)) set_analysis(random, batch, random.pick<uint32_t>({0, 1, 32}));
    const auto pixels = static_cast<uint32_t>(batch.pixels());
    const uint32_t bad = random.pick<uint32_t>({pixels, pixels + 1, 16777217, 0x40000000, 0x7fffffff, 0x80000000, 0xffffffff});
    batch.events[random.below(batch.events.size())] = bad;
    const Place place = random_place(random);
    CHECK(compute(context, batch, place, random_shift(random, place)) == "");
  });
}

TEST_CASE("centres of large sums") {
  if (!have_device()) return;
  Context context;
  // They need every bit of a float64 division.
  for_random_cases("own windows", 100, [&](Random& random) {
    Batch batch;
    batch.rows = random.pick<uint32_t>({4096, 65535});
    batch.columns = random.pick<uint32_t>({4095, 65535});
    const uint32_t center = random_event(random, batch);
    for (size_t f = 0; f < 3; ++f) {
      std::vector<uint32_t> frame = random_frame(random, batch, random.below(3000) + 1);
      for (uint32_t& event : frame) event = random.chance(0.5) ? center : event;
      batch.add(0, frame);
    }
    set_crop(random, batch, STEMLINE_CUDA_CROP_OWN_CENTER);
    CHECK(compute(context, batch) == "");
  });
}

TEST_CASE("batches from several threads, ended in any order") {
  if (!have_device()) return;
  Context context;
  std::vector<std::thread> threads;
  std::atomic<int> busy{0};
  std::string wrong[4];
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Random random(case_seed("threads", t));
      const size_t turns = scaled(200);
      for (size_t turn = 0; turn < turns && wrong[t].empty(); ++turn) {
        std::vector<Batch> batches;
        for (size_t i = 0; i < 1 + random.below(2); ++i) batches.push_back(random_batch(random, random.chance(0.5)));
        std::vector<std::unique_ptr<Run>> runs;
        std::vector<std::pair<uint64_t, Run*>> under_way;
        for (const Batch& batch : batches) {
          runs.push_back(std::make_unique<Run>(batch, random_place(random), 0));
          uint64_t ticket = 0;
          const Answer answer = context.submit(runs.back()->call, ticket);
          if (answer.result == STEMLINE_CUDA_OK) {
            under_way.push_back({ticket, runs.back().get()});
          } else if (answer.result == STEMLINE_CUDA_BUSY) {
            ++busy;
          } else {
            wrong[t] = answer.reason;
          }
        }
        random.shuffle(under_way);
        for (const auto& [ticket, run] : under_way) {
          const Answer answer = context.wait(ticket);
          if (wrong[t].empty()) wrong[t] = answer.result == STEMLINE_CUDA_OK ? run->compare() : answer.reason;
        }
        std::this_thread::yield();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  INFO("STEMLINE_TEST_SEED=", base_seed(), ", found all slots in use ", busy.load(), " times");
  for (const std::string& text : wrong) CHECK(text == "");
  CHECK(context.usage().under_way == 0);
}

TEST_CASE("detectors change while batches are under way") {
  if (!have_device()) return;
  Context context;
  for_random_cases("detectors", 100, [&](Random& random) {
    std::vector<Batch> batches;
    for (size_t i = 0; i < 3; ++i) {
      batches.push_back(plain_batch(random, 10, 200, random.pick<uint32_t>({40, 64})));
      set_analysis(random, batches[i], 1 + static_cast<uint32_t>(random.below(8)));
    }
    // Some without analysis between them, and some with the key of others, whose contents then are the same.
    std::vector<std::pair<uint64_t, std::unique_ptr<Run>>> under_way;
    for (size_t turn = 0; turn < 12; ++turn) {
      const Batch& batch = batches[random.below(3)];
      if (under_way.size() == STEMLINE_CUDA_SLOTS) {
        const size_t i = random.below(under_way.size());
        CHECK(context.wait(under_way[i].first).result == STEMLINE_CUDA_OK);
        CHECK(under_way[i].second->compare() == "");
        under_way.erase(under_way.begin() + static_cast<std::ptrdiff_t>(i));
      }
      auto run = std::make_unique<Run>(batch);
      uint64_t ticket = 0;
      REQUIRE(context.submit(run->call, ticket).result == STEMLINE_CUDA_OK);
      under_way.push_back({ticket, std::move(run)});
    }
    for (const auto& [ticket, run] : under_way) {
      CHECK(context.wait(ticket).result == STEMLINE_CUDA_OK);
      CHECK(run->compare() == "");
    }
  });
}

TEST_CASE("a detector table is read anew for another key alone") {
  if (!have_device()) return;
  Context context;
  Random random(case_seed("keys", 0));
  Batch batch = plain_batch(random, 10, 100);
  set_analysis(random, batch, 8);
  CHECK(compute(context, batch) == "");
  const Results before = expected(batch);
  for (uint32_t& bits : batch.detectors) bits = ~bits;
  {
    Run same_key(batch);
    uint64_t ticket = 0;
    REQUIRE(context.submit(same_key.call, ticket).result == STEMLINE_CUDA_OK);
    REQUIRE(context.wait(ticket).result == STEMLINE_CUDA_OK);
    CHECK(same_key.compare(before) == "");
  }
  ++batch.detectors_key;
  CHECK(compute(context, batch) == "");
  // Those of another frame have other contents, whatever their key.
  Batch other = plain_batch(random, 10, 100, 50);
  set_analysis(random, other, 8);
  other.detectors_key = batch.detectors_key;
  CHECK(compute(context, other) == "");
}
