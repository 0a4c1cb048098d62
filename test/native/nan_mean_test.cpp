#include "nan_mean.h"

#include "helpers/partial.h"
#include "helpers/random.h"

using namespace helpers;

namespace {

std::vector<float> replaced(std::vector<float> plane) {
  stemline::replace_nans_by_mean(plane);
  return plane;
}

}  // namespace

TEST_CASE("means of planes of 1 to 2000 values") {
  INFO("STEMLINE_TEST_SEED=", base_seed());
  Random random(case_seed("nan mean", 0));
  for (size_t length = 1; length <= 2000; ++length) {
    // Magnitudes far apart make every change of the order of additions visible.
    std::vector<float> plane(length);
    const double spread = random.pick<double>({0, 8, 20});
    for (float& value : plane)
      value =
          static_cast<float>(std::exp2(random.unit() * spread) * random.pick<double>({576, 576, -30}) * random.unit());
    const double holes = random.pick<double>({0.01, 0.3, 0.95});
    for (float& value : plane) {
      if (random.chance(holes)) value = NAN;
    }
    if (random.chance(0.9)) plane[random.below(length)] = NAN;
    CAPTURE(length);
    CHECK(difference(replaced(plane), reference::without_nans(plane)) == "");
  }
}

TEST_CASE("the order of additions matters in these planes") {
  // If the naive sum gave the same, the comparison above would prove nothing.
  Random random(7);
  size_t different = 0;
  for (size_t length = 100; length < 400; ++length) {
    std::vector<float> plane(length);
    float naive = 0;
    for (float& value : plane) naive += value = static_cast<float>(random.unit() * 576);
    different += reference::pairwise_sum(plane) != naive ? 1 : 0;
  }
  CHECK(different > 100);
}

TEST_CASE("planes without NaN and of nothing stay as they are") {
  CHECK(difference(replaced({}), std::vector<float>{}) == "");
  CHECK(difference(replaced({1, 2, 0.1f}), {1, 2, 0.1f}) == "");
  CHECK(difference(replaced({NAN, 4, 5}), {4.5f, 4, 5}) == "");
}

TEST_CASE("a plane of NaN only becomes 0 / 0 as the peer records it") {
  for (const size_t length : {1, 7, 300}) {
    for (const float value : replaced(std::vector<float>(length, NAN))) {
      uint32_t bits;
      std::memcpy(&bits, &value, sizeof bits);
      CHECK(bits == 0xffc00000u);
    }
  }
}
