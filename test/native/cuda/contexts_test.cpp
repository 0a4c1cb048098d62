// Slots, memory and arguments.
#include <limits>
#include <memory>
#include <thread>

#include "batch.h"

using namespace cuda_test;
using namespace helpers;

namespace {

Batch full_batch() {
  Random random(case_seed("full batch", 0));
  Batch batch = plain_batch(random, 30, 100);
  set_crop(random, batch, STEMLINE_CUDA_CROP_OWN_CENTER);
  set_analysis(random, batch, 5);
  return batch;
}

}  // namespace

TEST_CASE("contexts are made for devices that there are") {
  if (!have_device()) return;
  const auto create = [](int32_t device, StemlineCudaContext** context) {
    return ask([&](char* reason, size_t size) { return CUDA_FUNCTION(stemline_cuda_create)(device, 1, context, reason, size); });
  };
  for (const int32_t device : {-1, 1000, std::numeric_limits<int32_t>::min()}) {
    StemlineCudaContext* context = reinterpret_cast<StemlineCudaContext*>(1);
    const Answer answer = create(device, &context);
    CHECK(answer.result == STEMLINE_CUDA_INVALID_ARGUMENT);
    CHECK(answer.reason.find("device: expected 0 to ") == 0);
    CHECK(context == nullptr);
  }
  CHECK(create(0, nullptr).result == STEMLINE_CUDA_INVALID_ARGUMENT);
  CUDA_FUNCTION(stemline_cuda_destroy)(nullptr);
}

TEST_CASE("without a device there is no context") {
  if (have_device()) return;
  StemlineCudaContext* context = reinterpret_cast<StemlineCudaContext*>(1);
  char reason[512] = "";
  const int32_t result = CUDA_FUNCTION(stemline_cuda_create)(0, 1 << 20, &context, reason, sizeof reason);
  CHECK(result >= STEMLINE_CUDA_DRIVER_MISSING);
  CHECK(result <= STEMLINE_CUDA_FAILED);
  CHECK(reason[0] != '\0');
  CHECK(context == nullptr);
}

TEST_CASE("as many batches as there are slots, each waited for once") {
  if (!have_device()) return;
  Context context;
  const Batch batch = full_batch();
  std::vector<std::unique_ptr<Run>> runs;
  std::vector<uint64_t> tickets;
  for (int i = 0; i < STEMLINE_CUDA_SLOTS; ++i) {
    runs.push_back(std::make_unique<Run>(batch));
    uint64_t ticket = 0;
    REQUIRE(context.submit(runs.back()->call, ticket).result == STEMLINE_CUDA_OK);
    CHECK(std::find(tickets.begin(), tickets.end(), ticket) == tickets.end());
    tickets.push_back(ticket);
    CHECK(context.usage().under_way == tickets.size());
  }
  Run one_more(batch);
  uint64_t ticket = 77;
  const StemlineCudaUsage usage = context.usage();
  const Answer busy = context.submit(one_more.call, ticket);
  CHECK(busy.result == STEMLINE_CUDA_BUSY);
  CHECK(busy.reason == "all 3 slots are in use");
  CHECK(ticket == 77);
  CHECK(context.usage().device_bytes == usage.device_bytes);

  CHECK(context.wait(tickets[1]).result == STEMLINE_CUDA_OK);
  CHECK(runs[1]->compare() == "");
  for (const uint64_t wrong : {tickets[1], uint64_t{0}, uint64_t{1} << 40}) {
    const Answer again = context.wait(wrong);
    CHECK(again.result == STEMLINE_CUDA_INVALID_ARGUMENT);
    CHECK(again.reason.find("ticket: expected that of a batch not waited for yet, got ") == 0);
  }
  REQUIRE(context.submit(one_more.call, ticket).result == STEMLINE_CUDA_OK);
  CHECK(context.wait(ticket).result == STEMLINE_CUDA_OK);
  CHECK(one_more.compare() == "");
  CHECK(context.wait(tickets[0]).result == STEMLINE_CUDA_OK);
  CHECK(context.wait(tickets[2]).result == STEMLINE_CUDA_OK);
  CHECK(runs[0]->compare() == "");
  CHECK(runs[2]->compare() == "");
  CHECK(context.usage().under_way == 0);
  CHECK(context.usage().batches == 4);
  CHECK(context.usage().lost == 0);
}

TEST_CASE("of two threads that wait for a batch one gets it") {
  if (!have_device()) return;
  const SlowStreams slow;
  Context context;
  const Batch batch = full_batch();
  Run run(batch);
  uint64_t ticket = 0;
  REQUIRE(context.submit(run.call, ticket).result == STEMLINE_CUDA_OK);
  int32_t other = STEMLINE_CUDA_OK;
  std::thread thread([&] { other = context.wait(ticket).result; });
  const int32_t result = context.wait(ticket).result;
  thread.join();
  CHECK(std::min(result, other) == STEMLINE_CUDA_OK);
  CHECK(std::max(result, other) == STEMLINE_CUDA_INVALID_ARGUMENT);
  CHECK(run.compare() == "");
}

TEST_CASE("results are written by waiting alone") {
  if (!have_device()) return;
  const SlowStreams slow;
  const Batch batch = full_batch();
  std::vector<std::unique_ptr<Run>> runs;
  Context context;
  for (int i = 0; i < STEMLINE_CUDA_SLOTS; ++i) {
    runs.push_back(std::make_unique<Run>(batch));
    uint64_t ticket = 0;
    REQUIRE(context.submit(runs.back()->call, ticket).result == STEMLINE_CUDA_OK);
  }
  context.destroy();
  for (const auto& run : runs) CHECK(run->is_untouched());
}

TEST_CASE("memory grows to what batches need, stays, and is given back") {
  if (!have_device()) return;
  const size_t before = host_blocks();
  {
    Context context;
    CHECK(context.usage().device_bytes == 0);
    CHECK(context.usage().pinned_bytes == 0);
    CHECK(context.usage().max_bytes == uint64_t{1} << 30);
    Random random(case_seed("growing", 0));
    const Batch large = plain_batch(random, 100, 2000), small = plain_batch(random, 10, 50);
    CHECK(compute(context, small) == "");
    const StemlineCudaUsage first = context.usage();
    CHECK(compute(context, large) == "");
    const StemlineCudaUsage second = context.usage();
    CHECK(second.device_bytes >= first.device_bytes + 4 * 100 * 2000 - 4 * 10 * 50 - 65536);
    CHECK(second.pinned_bytes >= 4 * 100 * 2000);
    // Events in memory of the device are used where they are.
    CHECK(compute(context, large, Place::device) == "");
    for (size_t turn = 0; turn < scaled(200); ++turn) CHECK(compute(context, turn % 2 == 0 ? small : large) == "");
    const StemlineCudaUsage last = context.usage();
    CHECK(last.device_bytes == second.device_bytes);
    CHECK(last.pinned_bytes == second.pinned_bytes);
    CHECK(last.batches == 3 + scaled(200));
  }
  CHECK(host_blocks() == before);
}

TEST_CASE("of the slots that are free, the one with the memory for a batch is taken") {
  if (!have_device()) return;
  Random random(case_seed("slots", 0));
  const Batch large = plain_batch(random, 100, 2000), small = plain_batch(random, 10, 50);
  Context context;
  Run small_run(small), large_run(large);
  uint64_t small_ticket = 0, large_ticket = 0;
  REQUIRE(context.submit(small_run.call, small_ticket).result == STEMLINE_CUDA_OK);
  REQUIRE(context.submit(large_run.call, large_ticket).result == STEMLINE_CUDA_OK);
  CHECK(context.wait(small_ticket).result == STEMLINE_CUDA_OK);
  CHECK(context.wait(large_ticket).result == STEMLINE_CUDA_OK);
  const StemlineCudaUsage before = context.usage();
  CHECK(compute(context, large) == "");
  CHECK(context.usage().device_bytes == before.device_bytes);
}

TEST_CASE("events that the device can read itself take no pinned memory, and its own take none") {
  if (!have_device()) return;
  Random random(case_seed("places", 0));
  const Batch batch = plain_batch(random, 100, 2000);
  constexpr uint64_t event_bytes = 4 * 100 * 2000;
  for (const Place place : {Place::pageable, Place::pinned, Place::device}) {
    Context context;
    CHECK(compute(context, batch, place) == "");
    CHECK((context.usage().pinned_bytes > event_bytes) == (place == Place::pageable));
    CHECK((context.usage().device_bytes > event_bytes) == (place != Place::device));
  }
}

TEST_CASE("memory of the device must be aligned") {
  if (!have_device()) return;
  Random random(case_seed("alignment", 0));
  const Batch batch = plain_batch(random, 3, 20);
  Context context;
  for (const size_t shift : {1, 2, 3}) {
    Run run(batch, Place::device, shift);
    uint64_t ticket = 0;
    const Answer answer = context.submit(run.call, ticket);
    CHECK(answer.result == STEMLINE_CUDA_INVALID_ARGUMENT);
    CHECK(answer.reason.find("events: expected device memory at a multiple of 4, got 0x") == 0);
  }
  CHECK(context.usage().under_way == 0);
}

TEST_CASE("no more memory than the context may use") {
  if (!have_device()) return;
  for_random_cases("limits", 40, [&](Random& random) {
    const uint64_t limit = random.pick<uint64_t>({1, 4000, 100'000, 400'000, 1'000'000});
    Context context(limit);
    size_t fitted = 0;
    for (size_t turn = 0; turn < 8; ++turn) {
      const Batch batch = plain_batch(random, random.pick<size_t>({1, 10, 30}), random.pick<size_t>({1, 40, 400}));
      const StemlineCudaUsage before = context.usage();
      Run run(batch);
      uint64_t ticket = 0;
      const Answer answer = context.submit(run.call, ticket);
      const StemlineCudaUsage after = context.usage();
      CHECK(after.device_bytes <= limit);
      CHECK(after.pinned_bytes <= limit);
      if (answer.result == STEMLINE_CUDA_OK) {
        CHECK(context.wait(ticket).result == STEMLINE_CUDA_OK);
        CHECK(run.compare() == "");
        ++fitted;
        continue;
      }
      CHECK(answer.result == STEMLINE_CUDA_TOO_LARGE);
      CHECK(answer.reason.find("expected to take at most " + std::to_string(limit) + " bytes of ") == 0);
      CHECK(after.device_bytes == before.device_bytes);
      CHECK(after.pinned_bytes == before.pinned_bytes);
      CHECK(after.under_way == 0);
    }
    CHECK((fitted == 0) == (limit < 4000));
  });
}

TEST_CASE("a batch that is too large leaves those under way alone") {
  if (!have_device()) return;
  Context context(4 << 20);
  const Batch batch = full_batch();
  Batch large = batch;
  large.rows = large.columns = 65535;
  large.detector_count = 0;
  large.detectors.clear();
  Run run(batch);
  uint64_t ticket = 0;
  REQUIRE(context.submit(run.call, ticket).result == STEMLINE_CUDA_OK);
  large.analysis = false;
  Run refused(large);
  // The result is not written: there is no room for it.
  refused.call.analysis = 1;
  refused.call.event_counts = refused.call.pattern = refused.call.largest;
  uint64_t no_ticket = 0;
  const Answer answer = context.submit(refused.call, no_ticket);
  CHECK(answer.result == STEMLINE_CUDA_TOO_LARGE);
  CHECK(answer.reason.find("expected to take at most 4194304 bytes of device or pinned memory, would need 171") == 0);
  CHECK(context.wait(ticket).result == STEMLINE_CUDA_OK);
  CHECK(run.compare() == "");
  CHECK(refused.is_untouched());
}

TEST_CASE("more events in overlapping frames than can be counted") {
  if (!have_device()) return;
  Context context;
  Batch batch;
  batch.rows = batch.columns = 4;
  batch.events.resize(100'000);
  batch.frames.assign(42'950, {0, 100'000, 0});
  Run run(batch);
  uint64_t ticket = 0;
  const Answer answer = context.submit(run.call, ticket);
  CHECK(answer.result == STEMLINE_CUDA_TOO_LARGE);
  CHECK(answer.reason == "frames: expected at most 4294967295 events in all together, got 4295000000");
  CHECK(context.usage().device_bytes == 0);
}

TEST_CASE("arguments that break a rule are named") {
  if (!have_device()) return;
  Context context;
  const Batch batch = full_batch();
  struct Rule {
    const char* reason;
    void (*break_it)(StemlineCudaBatch&);
  };
  static StemlineCudaFrame frames[2];
  frames[0] = batch.frames[0];
  const std::vector<Rule> rules{
      {"events: expected an address, got null", [](StemlineCudaBatch& b) { b.events = nullptr; }},
      {"event_count: expected at most 4294967295, got 4294967296", [](StemlineCudaBatch& b) { b.event_count = uint64_t{1} << 32; }},
      {"frames: expected an address, got null", [](StemlineCudaBatch& b) { b.frames = nullptr; }},
      {"frame_count: expected 1 to 4294967295, got 0", [](StemlineCudaBatch& b) { b.frame_count = 0; }},
      {"position_count: expected 1 to 16777216, got 0", [](StemlineCudaBatch& b) { b.position_count = 0; }},
      {"position_count: expected 1 to 16777216, got 16777217", [](StemlineCudaBatch& b) { b.position_count = (1 << 24) + 1; }},
      {"frame_columns: expected 1 to 65535, got 0", [](StemlineCudaBatch& b) { b.frame_columns = 0; }},
      {"frame_columns: expected 1 to 65535, got 65536", [](StemlineCudaBatch& b) { b.frame_columns = 65536; }},
      {"frame_rows: expected 1 to 65535, got 0", [](StemlineCudaBatch& b) { b.frame_rows = 0; }},
      {"frame_rows: expected 1 to 65535, got 4294967295", [](StemlineCudaBatch& b) { b.frame_rows = 0xffffffff; }},
      {"crop: expected 0 to 2, got 3", [](StemlineCudaBatch& b) { b.crop = 3; }},
      {"crop: expected 0 to 2, got -1", [](StemlineCudaBatch& b) { b.crop = -1; }},
      {"shape: expected 0 to 1, got 2", [](StemlineCudaBatch& b) { b.shape = 2; }},
      {"analysis: expected 0 to 1, got 2", [](StemlineCudaBatch& b) { b.analysis = 2; }},
      {"detectors: expected an address, got null", [](StemlineCudaBatch& b) { b.detectors = nullptr; }},
      {"detector_count: expected 0 to 32, got 33", [](StemlineCudaBatch& b) { b.detector_count = 33; }},
      {"sums: expected an address, got null", [](StemlineCudaBatch& b) { b.sums = nullptr; }},
      {"largest: expected an address, got null", [](StemlineCudaBatch& b) { b.largest = nullptr; }},
      {"event_counts: expected an address, got null", [](StemlineCudaBatch& b) { b.event_counts = nullptr; }},
      {"detector_counts: expected an address, got null", [](StemlineCudaBatch& b) { b.detector_counts = nullptr; }},
      {"pattern: expected an address, got null", [](StemlineCudaBatch& b) { b.pattern = nullptr; }},
      {"frames[1]: expected begin + count of at most 3000, got 2999 + 2",
       [](StemlineCudaBatch& b) { frames[1] = {2999, 2, 0}; b.frames = frames; b.frame_count = 2; }},
      {"frames[1]: expected begin + count of at most 3000, got 4294967295 + 4294967295",
       [](StemlineCudaBatch& b) { frames[1] = {0xffffffff, 0xffffffff, 0}; b.frames = frames; b.frame_count = 2; }},
      {"frames[1]: expected begin + count of at most 3000, got 4294967295 + 2",
       [](StemlineCudaBatch& b) { frames[1] = {0xffffffff, 2, 0}; b.frames = frames; b.frame_count = 2; }},
      {"frames[1]: expected begin + count of at most 3000, got 3001 + 0",
       [](StemlineCudaBatch& b) { frames[1] = {3001, 0, 0}; b.frames = frames; b.frame_count = 2; }},
      {"frames[1].position: expected below 15, got 15",
       [](StemlineCudaBatch& b) { frames[1] = {0, 1, 15}; b.frames = frames; b.frame_count = 2; }},
  };
  Run run(batch);
  const StemlineCudaBatch good = run.call;
  for (const Rule& rule : rules) {
    StemlineCudaBatch call = good;
    rule.break_it(call);
    uint64_t ticket = 77;
    const Answer answer = context.submit(call, ticket);
    CHECK(answer.result == STEMLINE_CUDA_INVALID_ARGUMENT);
    CHECK(answer.reason == rule.reason);
    CHECK(ticket == 77);
  }
  CHECK(run.is_untouched());
  CHECK(context.usage().under_way == 0);
  CHECK(context.usage().device_bytes == 0);

  // What a batch does not ask for is not looked at.
  StemlineCudaBatch sums_alone = good;
  sums_alone.analysis = 0;
  sums_alone.detectors = nullptr;
  sums_alone.detector_count = 99;
  sums_alone.event_counts = sums_alone.detector_counts = sums_alone.pattern = nullptr;
  uint64_t ticket = 0;
  CHECK(context.submit(sums_alone, ticket).result == STEMLINE_CUDA_OK);
  CHECK(context.wait(ticket).result == STEMLINE_CUDA_OK);

  char reason[64];
  const auto submit = [&](StemlineCudaContext* c, const StemlineCudaBatch* b, uint64_t* t) {
    const int32_t result = CUDA_FUNCTION(stemline_cuda_submit)(c, b, t, reason, sizeof reason);
    CHECK(result == STEMLINE_CUDA_INVALID_ARGUMENT);
    return std::string(reason);
  };
  CHECK(submit(nullptr, &good, &ticket) == "context: expected an address, got null");
  CHECK(submit(context.get(), nullptr, &ticket) == "batch: expected an address, got null");
  CHECK(submit(context.get(), &good, nullptr) == "ticket: expected an address, got null");
  CHECK(CUDA_FUNCTION(stemline_cuda_wait)(nullptr, 1, reason, sizeof reason) == STEMLINE_CUDA_INVALID_ARGUMENT);
  StemlineCudaUsage usage;
  CHECK(CUDA_FUNCTION(stemline_cuda_query)(nullptr, &usage, reason, sizeof reason) == STEMLINE_CUDA_INVALID_ARGUMENT);
  CHECK(CUDA_FUNCTION(stemline_cuda_query)(context.get(), nullptr, reason, sizeof reason) == STEMLINE_CUDA_INVALID_ARGUMENT);
  // A reason without room for it.
  CHECK(CUDA_FUNCTION(stemline_cuda_wait)(context.get(), 99, nullptr, 0) == STEMLINE_CUDA_INVALID_ARGUMENT);
  CHECK(CUDA_FUNCTION(stemline_cuda_wait)(context.get(), 99, reason, 8) == STEMLINE_CUDA_INVALID_ARGUMENT);
  CHECK(std::string(reason) == "ticket:");
}
