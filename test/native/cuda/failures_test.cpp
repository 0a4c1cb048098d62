// Every call that the library makes fails once, in every way, while batches run.
#include <memory>

#include "batch.h"

using namespace cuda_test;
using namespace helpers;

namespace {

struct Fault {
  int code;
  bool sticky;
  std::vector<int32_t> results;  // that a function may return for it
};

// Out of memory; an invalid value; one that leaves no context, said once and said ever after; an invalid value ever after.
const std::vector<Fault> faults{{2, false, {STEMLINE_CUDA_OUT_OF_MEMORY}},
                                {1, false, {STEMLINE_CUDA_FAILED}},
                                {700, false, {STEMLINE_CUDA_LOST}},
                                {719, true, {STEMLINE_CUDA_LOST}},
                                {1, true, {STEMLINE_CUDA_FAILED, STEMLINE_CUDA_LOST}}};

void set_fault(const std::string& text) { setenv("STEMLINE_CUDA_HOST_FAULT", text.c_str(), 1); }

bool is_expected(const Fault& fault, int32_t result) {
  return std::find(fault.results.begin(), fault.results.end(), result) != fault.results.end();
}

}  // namespace

TEST_CASE("failures of every call leave a context that works or is lost") {
  if (!have_faults()) return;
  INFO("STEMLINE_TEST_SEED=", base_seed());
  Random random(case_seed("failures", 0));
  // Two that run at a time, one of them from pinned memory; then a larger one with other detectors.
  std::vector<Batch> batches{plain_batch(random, 6, 30, 16), plain_batch(random, 6, 30, 16), plain_batch(random, 40, 60, 24)};
  std::vector<Results> wanted;
  for (Batch& batch : batches) {
    set_crop(random, batch, STEMLINE_CUDA_CROP_OWN_CENTER);
    set_analysis(random, batch, 3);
    wanted.push_back(expected(batch));
  }

  for (const Fault& fault : faults) {
    bool reached_end = false;
    int nth = 1;
    for (; !reached_end && nth < 500; ++nth) {
      CAPTURE(fault.code);
      CAPTURE(fault.sticky);
      CAPTURE(nth);
      // Before the faults begin, so that these count nothing.
      std::vector<std::unique_ptr<Run>> runs;
      for (size_t i = 0; i < 3; ++i) runs.push_back(std::make_unique<Run>(batches[i], i == 1 ? Place::pinned : Place::pageable));

      set_fault("*:" + std::to_string(nth) + ":" + std::to_string(fault.code) + (fault.sticky ? ":sticky" : ""));
      StemlineCudaContext* made = nullptr;
      int failures = 0;
      const auto see = [&](const Answer& answer) {
        if (answer.result == STEMLINE_CUDA_OK) return true;
        ++failures;
        CAPTURE(answer.reason);
        CHECK(is_expected(fault, answer.result));
        CHECK((answer.reason.find("the device failed: ") == 0) == (answer.result == STEMLINE_CUDA_LOST));
        CHECK((answer.reason.find("cuda") != std::string::npos || answer.reason.find("launch_sums") != std::string::npos));
        return false;
      };
      const Answer creation = ask([&](char* reason, size_t size) {
        return CUDA_FUNCTION(stemline_cuda_create)(0, uint64_t{1} << 30, &made, reason, size);
      });
      if (creation.result != STEMLINE_CUDA_OK) {
        CHECK(made == nullptr);
        // The devices are asked for first, which cannot lose one.
        CHECK((creation.result == STEMLINE_CUDA_FAILED || is_expected(fault, creation.result)));
        unsetenv("STEMLINE_CUDA_HOST_FAULT");
        Context context;
        CHECK(compute(context, batches[0]) == "");
        continue;
      }

      Context context(made);
      std::vector<uint64_t> tickets(3, 0);
      const auto submit = [&](size_t i) { see(context.submit(runs[i]->call, tickets[i])); };
      const auto wait = [&](size_t i) {
        if (tickets[i] != 0 && see(context.wait(tickets[i]))) CHECK(runs[i]->compare(wanted[i]) == "");
      };
      submit(0);
      submit(1);
      wait(1);
      submit(2);
      wait(0);
      wait(2);
      unsetenv("STEMLINE_CUDA_HOST_FAULT");
      const StemlineCudaUsage usage = context.usage();
      CHECK(usage.under_way == 0);
      reached_end = failures == 0;
      if (usage.lost == 0) {
        // One call fails one function, unless all fail.
        if (!fault.sticky) CHECK(failures <= 1);
        for (int turn = 0; turn < 2; ++turn) {
          for (const Batch& batch : batches) CHECK(compute(context, batch) == "");
        }
      } else {
        CHECK(is_expected(fault, STEMLINE_CUDA_LOST));
        uint64_t ticket = 0;
        CHECK(context.submit(runs[0]->call, ticket).result == STEMLINE_CUDA_LOST);
        CHECK(context.wait(1).result == STEMLINE_CUDA_LOST);
        CHECK(context.usage().lost == 1);
      }
    }
    CHECK(reached_end);
    CHECK(nth > 40);
  }
}

TEST_CASE("memory is counted right after it could not be had") {
  if (!have_faults()) return;
  Random random(case_seed("counted", 0));
  Batch small = plain_batch(random, 6, 30, 16), large = plain_batch(random, 8000, 40, 256);
  set_analysis(random, small, 2);
  set_analysis(random, large, 2);
  // All buffers grow: three of the device's, two of pinned memory.
  for (const auto& [function, buffers] : {std::pair{"cudaMalloc", 3}, {"cudaMallocHost", 2}, {"cudaFree", 3}, {"cudaFreeHost", 2}}) {
    for (int nth = 1; nth <= buffers; ++nth) {
      CAPTURE(std::string(function));
      CAPTURE(nth);
      Context context, undisturbed;
      CHECK(compute(context, small) == "");
      CHECK(compute(undisturbed, small) == "");
      const StemlineCudaUsage before = context.usage();
      set_fault(std::string(function) + ":" + std::to_string(nth) + ":2");
      Run run(large);
      uint64_t ticket = 0;
      CHECK(context.submit(run.call, ticket).result == STEMLINE_CUDA_OUT_OF_MEMORY);
      unsetenv("STEMLINE_CUDA_HOST_FAULT");
      CHECK(run.is_untouched());
      const StemlineCudaUsage after = context.usage();
      CHECK(after.device_bytes <= context.usage().max_bytes);
      CHECK(before.lost + after.lost + after.under_way == 0);
      // Nothing of what a buffer held is taken for what the new one holds.
      CHECK(compute(context, small) == "");
      CHECK(compute(context, large) == "");
      CHECK(compute(undisturbed, large) == "");
      CHECK(context.usage().device_bytes == undisturbed.usage().device_bytes);
      CHECK(context.usage().pinned_bytes == undisturbed.usage().pinned_bytes);
    }
  }
}

TEST_CASE("a lost device ends what is under way") {
  if (!have_faults()) return;
  Random random(case_seed("lost", 0));
  const Batch batch = plain_batch(random, 30, 100);
  // Whether or not CUDA says so again.
  for (const char* fault : {"cudaMemcpyAsync:1:214:sticky", "cudaMemcpyAsync:1:214"}) {
    Context context;
    Run first(batch), second(batch), third(batch);
    uint64_t tickets[3];
    REQUIRE(context.submit(first.call, tickets[0]).result == STEMLINE_CUDA_OK);
    REQUIRE(context.submit(second.call, tickets[1]).result == STEMLINE_CUDA_OK);
    set_fault(fault);
    const Answer answer = context.submit(third.call, tickets[2]);
    CHECK(answer.result == STEMLINE_CUDA_LOST);
    CHECK(answer.reason.find("the device failed: cudaMemcpyAsync: ") == 0);
    CHECK(context.usage().lost == 1);
    CHECK(context.usage().under_way == 2);
    for (const size_t i : {0, 1}) {
      const Answer waited = context.wait(tickets[i]);
      CHECK(waited.result == STEMLINE_CUDA_LOST);
      CHECK(waited.reason == answer.reason);
    }
    CHECK(context.usage().under_way == 0);
    CHECK(context.usage().batches == 0);
    unsetenv("STEMLINE_CUDA_HOST_FAULT");
  }
}

TEST_CASE("what a failed call began is over when it returns") {
  // Address sanitizer sees what still reads events that are gone.
  if (!have_faults()) return;
  const SlowStreams slow;
  Random random(case_seed("over", 0));
  const Batch batch = plain_batch(random, 30, 100);
  Context context;
  {
    Run run(batch, Place::pinned);
    uint64_t ticket = 0;
    set_fault("cudaEventRecord:1:1");
    CHECK(context.submit(run.call, ticket).result == STEMLINE_CUDA_FAILED);
  }
  {
    Run run(batch, Place::pinned);
    uint64_t ticket = 0;
    set_fault("cudaSetDevice:2:1");
    CHECK(context.submit(run.call, ticket).result == STEMLINE_CUDA_OK);
    CHECK(context.wait(ticket).result == STEMLINE_CUDA_FAILED);
    CHECK(run.is_untouched());
  }
  unsetenv("STEMLINE_CUDA_HOST_FAULT");
  CHECK(compute(context, batch, Place::pinned) == "");
}

TEST_CASE("where nobody knows what the device still does, it is lost") {
  if (!have_faults()) return;
  Random random(case_seed("unknown", 0));
  const Batch batch = plain_batch(random, 3, 10);
  Context context;
  Run run(batch);
  uint64_t ticket = 0;
  // With the call that waits for it.
  set_fault("cudaEventRecord:1:1:sticky");
  CHECK(context.submit(run.call, ticket).result == STEMLINE_CUDA_LOST);
  unsetenv("STEMLINE_CUDA_HOST_FAULT");
  CHECK(context.usage().lost == 1);
}

TEST_CASE("a device that another process has for itself is not lost") {
  if (!have_faults()) return;
  set_fault("cudaSetDevice:1:46");
  StemlineCudaContext* context = nullptr;
  const Answer answer = ask([&](char* reason, size_t size) { return CUDA_FUNCTION(stemline_cuda_create)(0, 1, &context, reason, size); });
  unsetenv("STEMLINE_CUDA_HOST_FAULT");
  CHECK(answer.result == STEMLINE_CUDA_FAILED);
  CHECK(answer.reason.find("cudaSetDevice: ") == 0);
}
