// Events of any accepted type as uint32.
#pragma once

#include <span>

#include "batch_header.h"
#include "buffer_pool.h"
#include "status.h"

namespace stemline {

// Events as the backends read them: `bytes` points at uint32, into the message itself where it holds such already
// (also int32: a negative index, read as unsigned, lies outside every detector), else into `storage`. Values that are
// no index at all (a fraction, NaN, beyond uint32) become UINT32_MAX, which lies outside every detector too.
struct EventBytes {
  const uint8_t* bytes = nullptr;
  PooledBuffer storage;
};

EventBytes events_as_uint32(EventDtype dtype, std::span<const uint8_t> data, BufferPool& pool);

// The event at `index` as the message has it, for error texts.
std::string event_text(EventDtype dtype, std::span<const uint8_t> data, uint64_t index);

}  // namespace stemline
