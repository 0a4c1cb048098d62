#include "random.h"

#include <cstdlib>
#include <random>

namespace helpers {

uint64_t base_seed() {
  static const uint64_t seed = [] {
    if (const char* text = std::getenv("STEMLINE_TEST_SEED"); text != nullptr && *text != '\0')
      return std::strtoull(text, nullptr, 0);
    std::random_device device;
    return static_cast<unsigned long long>(uint64_t{device()} << 32 | device());
  }();
  return seed;
}

size_t scaled(size_t count) {
  static const double scale = [] {
    const char* text = std::getenv("STEMLINE_TEST_SCALE");
    return text != nullptr && *text != '\0' ? std::strtod(text, nullptr) : 1.0;
  }();
  const double cases = static_cast<double>(count) * scale;
  return cases < 1 ? 1 : static_cast<size_t>(cases);
}

}  // namespace helpers
