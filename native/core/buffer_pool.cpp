#include "buffer_pool.h"

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#endif
#endif
#if defined(ASAN_POISON_MEMORY_REGION)
#define STEMLINE_ADDRESS_SANITIZER 1
#else
#define STEMLINE_ADDRESS_SANITIZER 0
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)0)
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)0)
#endif

namespace stemline {

namespace {

constexpr std::align_val_t alignment{64};
constexpr size_t smallest_block = 4096;

// Capacities grow in steps of an eighth of their power of two: a message a little larger than the last one still finds
// a block, and no block is more than an eighth too large.
size_t block_capacity(size_t bytes) {
  // A block with room to spare would hide from the sanitizer what is written beyond the bytes that were asked for.
  if (STEMLINE_ADDRESS_SANITIZER) return bytes;
  if (bytes <= smallest_block) return smallest_block;
  const size_t step = std::bit_floor(bytes) / 8;
  return (bytes + step - 1) / step * step;
}

// An address that stands for the calling thread.
const void* this_thread() {
  static thread_local char mark;
  return &mark;
}

struct FreeBlock {
  uint8_t* data;
  // The thread that took it last.
  const void* taker;
};

}  // namespace

struct BufferPool::Impl {
  mutable std::mutex mutex;
  // By capacity; of one capacity, the last to come back is the first.
  std::multimap<size_t, FreeBlock> free_blocks;
  size_t free_bytes = 0;
  size_t keep_bytes = 0;
};

std::shared_ptr<BufferPool> BufferPool::create(size_t keep_bytes) {
  return std::shared_ptr<BufferPool>(new BufferPool(keep_bytes));
}

BufferPool::BufferPool(size_t keep_bytes) : impl_(std::make_unique<Impl>()) { impl_->keep_bytes = keep_bytes; }

BufferPool::~BufferPool() {
  for (const auto& [capacity, block] : impl_->free_blocks) {
    ASAN_UNPOISON_MEMORY_REGION(block.data, capacity);
    operator delete(block.data, alignment);
  }
}

PooledBuffer BufferPool::take(size_t bytes) {
  const size_t capacity = block_capacity(bytes);
  PooledBuffer buffer;
  buffer.taker_ = this_thread();
  {
    std::lock_guard lock(impl_->mutex);
    // A block up to twice as large as needed is better than a fresh one; a larger one is kept for larger messages.
    auto found = impl_->free_blocks.lower_bound(capacity);
    if (found != impl_->free_blocks.end() && found->first <= 2 * capacity) {
      // One that this thread had lies in the caches of its core, if it lies in any; from another core's it would come slowly.
      const auto [first, last] = impl_->free_blocks.equal_range(found->first);
      const auto own = std::find_if(first, last, [&](const auto& entry) { return entry.second.taker == buffer.taker_; });
      if (own != last) found = own;
      buffer.data_ = found->second.data;
      buffer.capacity_ = found->first;
      impl_->free_bytes -= found->first;
      impl_->free_blocks.erase(found);
    }
  }
  if (buffer.data_ == nullptr) {
    buffer.data_ = static_cast<uint8_t*>(operator new(capacity, alignment));
    buffer.capacity_ = capacity;
  }
  ASAN_UNPOISON_MEMORY_REGION(buffer.data_, buffer.capacity_);
  buffer.size_ = bytes;
  buffer.pool_ = shared_from_this();
  return buffer;
}

void BufferPool::give_back(uint8_t* data, size_t capacity, const void* taker) noexcept {
  try {
    std::lock_guard lock(impl_->mutex);
    if (impl_->free_bytes + capacity <= impl_->keep_bytes) {
      impl_->free_blocks.emplace_hint(impl_->free_blocks.lower_bound(capacity), capacity, FreeBlock{data, taker});
      impl_->free_bytes += capacity;
      // What waits for reuse is as good as freed.
      ASAN_POISON_MEMORY_REGION(data, capacity);
      return;
    }
  } catch (const std::bad_alloc&) {
    // No memory to remember the block by: it goes back to the system like one too many.
  }
  ASAN_UNPOISON_MEMORY_REGION(data, capacity);
  operator delete(data, alignment);
}

size_t BufferPool::kept_bytes() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->free_bytes;
}

PooledBuffer::~PooledBuffer() {
  if (data_ != nullptr) pool_->give_back(data_, capacity_, taker_);
}

}  // namespace stemline
