// Reusable memory for results and scratch. A fresh buffer of some MB costs milliseconds in page faults, more than the
// arithmetic on it; a buffer that comes back to the pool has its pages already.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

namespace stemline {

class BufferPool;

// Owns one block of memory until destroyed, then gives it back to its pool. Move-only. 64-byte aligned.
class PooledBuffer {
 public:
  PooledBuffer() = default;
  PooledBuffer(PooledBuffer&& other) noexcept { swap(other); }
  PooledBuffer& operator=(PooledBuffer&& other) noexcept {
    PooledBuffer taken(std::move(other));
    swap(taken);
    return *this;
  }
  PooledBuffer(const PooledBuffer&) = delete;
  PooledBuffer& operator=(const PooledBuffer&) = delete;
  ~PooledBuffer();

  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  std::span<const uint8_t> bytes() const { return {data_, size_}; }

  // Sets how many bytes are in use; `size` is at most capacity().
  void resize(size_t size) { size_ = size; }

  // The block as an array of `count` T; contents are whatever the last user left.
  template <class T>
  std::span<T> as(size_t count) const {
    return {reinterpret_cast<T*>(data_), count};
  }

 private:
  friend class BufferPool;
  void swap(PooledBuffer& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    std::swap(taker_, other.taker_);
  }

  std::shared_ptr<BufferPool> pool_;
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
  // Stands for the thread that took it.
  const void* taker_ = nullptr;
};

// Thread-safe. Keeps at most `keep_bytes` of returned blocks; what is beyond goes back to the system.
class BufferPool : public std::enable_shared_from_this<BufferPool> {
 public:
  static std::shared_ptr<BufferPool> create(size_t keep_bytes);
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // A block of at least `bytes`, contents undefined; size() is `bytes`. Throws std::bad_alloc. Of blocks that fit alike, one
  // that this thread had before, and of those the last to come back: it is likely to lie in the caches still.
  PooledBuffer take(size_t bytes);

  template <class T>
  PooledBuffer take_array(size_t count) {
    return take(count * sizeof(T));
  }

  // Bytes waiting for reuse.
  size_t kept_bytes() const;

 private:
  explicit BufferPool(size_t keep_bytes);
  friend class PooledBuffer;
  void give_back(uint8_t* data, size_t capacity, const void* taker) noexcept;

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace stemline
