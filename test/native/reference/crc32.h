// CRC-32 as the polynomial division it is, one bit at a time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace reference {

inline uint32_t crc32(const uint8_t* bytes, size_t size, uint32_t before = 0) {
  uint32_t remainder = before ^ 0xffffffffu;
  for (size_t i = 0; i < size; ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      const bool carry = ((remainder ^ (bytes[i] >> bit)) & 1) != 0;
      remainder >>= 1;
      if (carry) remainder ^= 0xedb88320u;
    }
  }
  return remainder ^ 0xffffffffu;
}

}  // namespace reference
