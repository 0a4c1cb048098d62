// Bytes that several holders read, wherever they lie. The memory goes back to where it came from with the last holder,
// on whatever thread that lets go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "buffer_pool.h"

namespace stemline {

struct SharedBytes {
  std::shared_ptr<const void> owner;
  std::span<const uint8_t> bytes;

  SharedBytes() = default;
  SharedBytes(std::shared_ptr<const void> owner_of, std::span<const uint8_t> span) : owner(std::move(owner_of)), bytes(span) {}
  explicit SharedBytes(PooledBuffer buffer) {
    auto shared = std::make_shared<const PooledBuffer>(std::move(buffer));
    bytes = shared->bytes();
    owner = std::move(shared);
  }

  bool empty() const { return owner == nullptr; }
};

}  // namespace stemline
