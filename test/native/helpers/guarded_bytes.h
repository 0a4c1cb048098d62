// Input bytes that end where readable memory ends, so that one byte read too far is a crash.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <new>
#include <span>

namespace helpers {

class GuardedBytes {
 public:
  GuardedBytes() = default;
  explicit GuardedBytes(std::span<const uint8_t> bytes, size_t spare = 0) { place(bytes, spare); }
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;
  ~GuardedBytes() { release(); }

  // Copies `bytes` so that they end `spare` bytes before the guard; valid until the next call.
  std::span<const uint8_t> place(std::span<const uint8_t> bytes, size_t spare = 0) {
    const size_t needed = bytes.size() + spare;
    if (needed > capacity_ || block_ == nullptr) {
      release();
      const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
      capacity_ = (needed + page) / page * page;
      void* const block = mmap(nullptr, capacity_ + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (block == MAP_FAILED) throw std::bad_alloc();
      block_ = static_cast<uint8_t*>(block);
      mapped_ = capacity_ + page;
      mprotect(block_ + capacity_, page, PROT_NONE);
    }
    uint8_t* const at = block_ + capacity_ - needed;
    if (!bytes.empty()) std::memcpy(at, bytes.data(), bytes.size());
    span_ = {at, bytes.size()};
    return span_;
  }

  std::span<const uint8_t> span() const { return span_; }

 private:
  void release() {
    if (block_ != nullptr) munmap(block_, mapped_);
    block_ = nullptr;
  }

  uint8_t* block_ = nullptr;
  size_t mapped_ = 0;
  size_t capacity_ = 0;
  std::span<const uint8_t> span_;
};

}  // namespace helpers
