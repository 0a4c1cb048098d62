// Seeded random numbers, the same on every platform and compiler.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace helpers {

// Of this run: STEMLINE_TEST_SEED if set, else a fresh one. Printed when the tests start and with every failure.
uint64_t base_seed();

// `count` random cases times STEMLINE_TEST_SCALE (default 1), at least 1.
size_t scaled(size_t count);

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  // SplitMix64 (Steele, Lea, Flood 2014).
  uint64_t bits() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }

  // In [0, limit).
  uint64_t below(uint64_t limit) { return bits() % limit; }
  // In [low, high].
  int64_t between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(below(static_cast<uint64_t>(high - low) + 1));
  }
  // In [0, 1).
  double unit() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
  bool chance(double probability) { return unit() < probability; }

  template <class T>
  T pick(const std::vector<T>& choices) {
    return choices[below(choices.size())];
  }

  template <class T>
  void shuffle(std::vector<T>& items) {
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }

 private:
  uint64_t state_;
};

inline uint64_t case_seed(std::string_view name, size_t index) {
  uint64_t seed = base_seed();
  for (const char c : name) seed = Random(seed ^ static_cast<uint8_t>(c)).bits();
  return Random(seed + index).bits();
}

// Calls test(random) `count` times, each with its own numbers, so that a case does not depend on those before it.
template <class Test>
void for_random_cases(std::string_view name, size_t count, Test test) {
  const size_t cases = scaled(count);
  for (size_t i = 0; i < cases; ++i) {
    INFO("STEMLINE_TEST_SEED=", base_seed(), ", case ", i, " of \"", std::string(name), "\"");
    Random random(case_seed(name, i));
    test(random);
  }
}

}  // namespace helpers
