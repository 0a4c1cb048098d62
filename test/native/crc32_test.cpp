#include <algorithm>

#include "helpers/backends.h"
#include "helpers/guarded_bytes.h"
#include "helpers/random.h"
#include "reference/crc32.h"

using namespace helpers;
using stemline::Backend;

TEST_CASE("the check value of CRC-32") {
  for_each_backend([](const Backend& backend) {
    const std::string digits = "123456789";
    CHECK(backend.crc32(0, reinterpret_cast<const uint8_t*>(digits.data()), digits.size()) == 0xcbf43926u);
    CHECK(backend.crc32(0, nullptr, 0) == 0);
    CHECK(backend.copy_crc32(0, nullptr, nullptr, 0) == 0);
    CHECK(backend.crc32(0x12345678, nullptr, 0) == 0x12345678u);
  });
}

TEST_CASE("CRC-32 of every length up to 1200, at every offset of a vector") {
  for_each_backend([](const Backend& backend) {
    INFO("STEMLINE_TEST_SEED=", base_seed());
    Random random(case_seed("crc32", 0));
    std::vector<uint8_t> bytes(1300);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random.bits());
    GuardedBytes guarded;
    for (size_t size = 0; size <= 1200; ++size) {
      const uint32_t before = random.chance(0.5) ? 0 : static_cast<uint32_t>(random.bits());
      const uint32_t expected = reference::crc32(bytes.data(), size, before);
      for (size_t spare = 0; spare < 64; spare += size < 130 ? 1 : size < 300 ? 7 : 31) {
        const std::span<const uint8_t> placed = guarded.place({bytes.data(), size}, spare);
        const uint32_t got = backend.crc32(before, placed.data(), placed.size());
        std::vector<uint8_t> copy(size + 2 * 64, 0xa5);
        const uint32_t got_of_copy = backend.copy_crc32(before, copy.data() + 64, placed.data(), placed.size());
        std::vector<uint8_t> expected_copy(copy.size(), 0xa5);
        std::copy_n(bytes.begin(), size, expected_copy.begin() + 64);
        if (got_of_copy != expected || copy != expected_copy) {
          CAPTURE(size);
          CAPTURE(spare);
          CHECK(got_of_copy == expected);
          CHECK(copy == expected_copy);
        }
        if (got != expected) {
          CAPTURE(size);
          CAPTURE(spare);
          CHECK(got == expected);
        }
      }
    }
  });
}

TEST_CASE("CRC-32 of long inputs, in one piece and in several") {
  for_each_backend([](const Backend& backend) {
    for_random_cases("crc32 pieces", 60, [&](Random& random) {
      std::vector<uint8_t> bytes(random.below(200'000));
      const bool zeros = random.chance(0.2);
      for (uint8_t& byte : bytes) byte = zeros ? 0 : static_cast<uint8_t>(random.bits());
      const uint32_t expected = reference::crc32(bytes.data(), bytes.size());
      CHECK(backend.crc32(0, bytes.data(), bytes.size()) == expected);
      std::vector<uint8_t> copy(bytes.size());
      CHECK(backend.copy_crc32(0, copy.data(), bytes.data(), bytes.size()) == expected);
      CHECK(copy == bytes);
      uint32_t crc = 0;
      for (size_t at = 0; at < bytes.size();) {
        const size_t piece =
            std::min<size_t>(bytes.size() - at, 1 + random.below(random.pick<uint64_t>({3, 70, 5000, 100'000})));
        crc = backend.crc32(crc, bytes.data() + at, piece);
        at += piece;
      }
      CHECK(crc == expected);
    });
  });
}
