#include "case.h"

#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <vector>

namespace bench {

void register_case(const std::string& name, std::function<Case()> make, int threads) {
  const auto made = std::make_shared<std::vector<std::optional<Case>>>(threads);
  auto* registered = benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
    std::optional<Case>& slot = (*made)[static_cast<size_t>(state.thread_index())];
    if (!slot) slot = make();
    // Untimed: what ran before left its own data in the caches and its branches in the predictors.
    slot->run();
    if (slot->check) {
      if (const std::string wrong = slot->check(); !wrong.empty()) {
        std::fprintf(stderr, "%s: %s\n", name.c_str(), wrong.c_str());
        std::_Exit(EXIT_FAILURE);
      }
      slot->check = nullptr;
    }
    for (auto _ : state) slot->run();
    if (state.thread_index() > 0) return;
    const auto tell = [&](const char* word, double amount) {
      if (amount > 0) state.counters[word] = amount;
    };
    tell("frames", slot->amount.frames);
    tell("events", slot->amount.events);
    tell("bytes", slot->amount.bytes);
  });
  if (threads > 1) registered->Threads(threads);
}

}  // namespace bench
