// How fuzzers take their input apart, and what they do when an invariant fails.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend.h"
#include "buffer_pool.h"

namespace fuzz {

[[noreturn]] inline void fail(const std::string& what) {
  std::fprintf(stderr, "invariant broken: %s\n", what.c_str());
  std::abort();
}

inline void require(bool holds, const std::string& what) {
  if (!holds) fail(what);
}

class Input {
 public:
  Input(const uint8_t* bytes, size_t size) : left_(bytes, size) {}

  // Zeros once the input is used up.
  template <class T>
  T take() {
    T value{};
    const size_t size = std::min(sizeof(T), left_.size());
    std::memcpy(&value, left_.data(), size);
    left_ = left_.subspan(size);
    return value;
  }

  // From 0 to limit - 1.
  uint32_t below(uint32_t limit) { return limit <= 256 ? take<uint8_t>() % limit : take<uint32_t>() % limit; }
  bool flag() { return (take<uint8_t>() & 1) != 0; }

  // A copy in a block of its own, so that a byte read too far is noticed.
  std::vector<uint8_t> take_bytes(size_t size) {
    size = std::min(size, left_.size());
    std::vector<uint8_t> bytes(left_.begin(), left_.begin() + static_cast<std::ptrdiff_t>(size));
    bytes.shrink_to_fit();
    left_ = left_.subspan(size);
    return bytes;
  }

  std::vector<uint8_t> rest() { return take_bytes(left_.size()); }
  size_t left() const { return left_.size(); }

 private:
  std::span<const uint8_t> left_;
};

inline const std::vector<const stemline::Backend*>& backends() {
  static const std::vector<const stemline::Backend*> supported = [] {
    std::vector<const stemline::Backend*> list;
    for (const stemline::Backend* backend : stemline::all_backends()) {
      if (backend->supported()) list.push_back(backend);
    }
    return list;
  }();
  return supported;
}

// Keeps nothing: each buffer is a fresh block, with the sanitizer's guards.
inline stemline::BufferPool& pool() {
  static const std::shared_ptr<stemline::BufferPool> fresh = stemline::BufferPool::create(0);
  return *fresh;
}

// Larger scans only cost time and memory.
inline constexpr uint64_t max_scan_positions = 256;

}  // namespace fuzz
