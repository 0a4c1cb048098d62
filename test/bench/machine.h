// What a figure depends on: the CPU, its caches, the compiler.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "harness.h"

namespace bench {

struct CacheSizes {
  size_t l2 = 0;  // bytes; of one core
  size_t l3 = 0;
};

CacheSizes cache_sizes();

// Where `bytes` of data that are read again and again lie: "L2", "L3" or "DRAM".
std::string memory_level(size_t bytes);

Facts machine_facts();

// Sum of 64-bit words (wrapping) by the widest vector unit of this CPU; `size` is a multiple of 512 bytes. Nothing
// reads memory faster on one thread, which makes it the limit that kernels are compared with.
uint64_t stream_read(const uint8_t* bytes, size_t size);
std::string stream_read_unit();

}  // namespace bench
