#if defined(__aarch64__)

#include <arm_acle.h>
#include <arm_neon.h>
#include <sys/auxv.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "../backend.h"

namespace stemline::neon {
namespace {

#include "simd.h"

#include "../generic/center_of_mass.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("crc"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("+crc")
#endif

uint32_t crc32(uint32_t crc, const uint8_t* bytes, size_t size) {
  crc = ~crc;
  for (; size >= 8; size -= 8, bytes += 8) {
    uint64_t word;
    std::memcpy(&word, bytes, sizeof word);
    crc = __crc32d(crc, word);
  }
  for (; size > 0; --size) crc = __crc32b(crc, *bytes++);
  return ~crc;
}

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

uint32_t copy_crc32(uint32_t crc, uint8_t* to, const uint8_t* bytes, size_t size) {
  // In pieces that are still in the cache when the checksum reads them.
  constexpr size_t piece = 8192;
  for (; size > piece; to += piece, bytes += piece, size -= piece) {
    std::memcpy(to, bytes, piece);
    crc = crc32(crc, bytes, piece);
  }
  if (size > 0) std::memcpy(to, bytes, size);
  return crc32(crc, bytes, size);
}

// Every 64-bit Arm has NEON; HWCAP_CRC32 is bit 7 of the kernel's list.
bool supported() { return (getauxval(AT_HWCAP) & (1ul << 7)) != 0; }

}  // namespace
}  // namespace stemline::neon

namespace stemline {

const Backend neon_backend = {"neon", neon::supported, neon::sum_frames, neon::sum_in_window, neon::sum_in_windows, neon::crc32, neon::copy_crc32};

}  // namespace stemline

#endif  // __aarch64__
