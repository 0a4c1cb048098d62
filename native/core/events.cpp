#include "events.h"

#include <cstdio>
#include <cstring>
#include <limits>

namespace stemline {

namespace {

template <class T>
T load(const uint8_t* bytes, uint64_t index) {
  T value;
  std::memcpy(&value, bytes + index * sizeof(T), sizeof(T));
  return value;
}

template <class T>
uint32_t as_index(T value) {
  if constexpr (std::numeric_limits<T>::is_integer) {
    return value;
  } else {
    if (!(value >= T{0}) || !(value < T{4294967295.0})) return UINT32_MAX;
    const uint32_t index = static_cast<uint32_t>(value);
    return static_cast<T>(index) == value ? index : UINT32_MAX;
  }
}

template <class T>
EventBytes convert(std::span<const uint8_t> data, BufferPool& pool) {
  const size_t count = data.size() / sizeof(T);
  EventBytes events;
  events.storage = pool.take_array<uint32_t>(count);
  uint32_t* const out = events.storage.as<uint32_t>(count).data();
  for (size_t i = 0; i < count; ++i) out[i] = as_index(load<T>(data.data(), i));
  events.bytes = events.storage.data();
  return events;
}

template <class T>
std::string text_of(std::span<const uint8_t> data, uint64_t index) {
  const T value = load<T>(data.data(), index);
  if constexpr (std::numeric_limits<T>::is_integer) {
    return std::to_string(value);
  } else {
    char text[40];
    std::snprintf(text, sizeof text, "%.10g", static_cast<double>(value));
    return text;
  }
}

}  // namespace

EventBytes events_as_uint32(EventDtype dtype, std::span<const uint8_t> data, BufferPool& pool) {
  switch (dtype) {
    case EventDtype::uint8: return convert<uint8_t>(data, pool);
    case EventDtype::uint16: return convert<uint16_t>(data, pool);
    case EventDtype::float32: return convert<float>(data, pool);
    case EventDtype::float64: return convert<double>(data, pool);
    case EventDtype::uint32:
    case EventDtype::int32: break;
  }
  EventBytes events;
  events.bytes = data.data();
  return events;
}

std::string event_text(EventDtype dtype, std::span<const uint8_t> data, uint64_t index) {
  switch (dtype) {
    case EventDtype::uint8: return text_of<uint8_t>(data, index);
    case EventDtype::uint16: return text_of<uint16_t>(data, index);
    case EventDtype::uint32: return text_of<uint32_t>(data, index);
    case EventDtype::int32: return text_of<int32_t>(data, index);
    case EventDtype::float32: return text_of<float>(data, index);
    case EventDtype::float64: return text_of<double>(data, index);
  }
  return {};
}

}  // namespace stemline
