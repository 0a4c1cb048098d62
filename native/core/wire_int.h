// An integer as the wire carries it: anything from -2^63 to 2^64 - 1.
#pragma once

#include <cstdint>
#include <string>

namespace stemline {

struct WireInt {
  uint64_t bits = 0;      // two's complement if negative
  bool negative = false;  // then bits, read as int64_t, is below 0

  static WireInt of(uint64_t value) { return {value, false}; }
  static WireInt of_signed(int64_t value) { return {static_cast<uint64_t>(value), value < 0}; }

  bool operator==(const WireInt&) const = default;

  // True if the value lies in [0, limit].
  bool at_most(uint64_t limit) const { return !negative && bits <= limit; }

  std::string text() const {
    return negative ? std::to_string(static_cast<int64_t>(bits)) : std::to_string(bits);
  }
};

}  // namespace stemline
