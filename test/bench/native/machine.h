// What a figure depends on: the CPU, its caches, the compiler.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "backend.h"

namespace bench {

// Levels of the memory that data of a benchmark lie in when it is read again and again.
enum class Level { l1, l2, l3, dram };
std::string level_name(Level level);

// Bytes that stay in that level and not in the one before.
size_t level_bytes(Level level);

// Name and version.
const char* compiler();

// Name and value of each fact.
std::vector<std::pair<std::string, std::string>> machine_facts();

// Best first.
std::vector<const stemline::Backend*> usable_backends();

// Sum of 64-bit words (wrapping) by the widest vector unit of this CPU, in the way that is fastest for the level in
// which so many bytes lie; `size` is a multiple of 2048 bytes. We know nothing that reads memory faster on one thread,
// which makes it the limit that kernels are compared with.
uint64_t stream_read(const uint8_t* bytes, size_t size);
std::string stream_read_unit();

}  // namespace bench
