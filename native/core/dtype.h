// Types of one event on the wire, as the peer's NumpyDtype.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace stemline {

enum class EventDtype : uint8_t { uint8, uint16, uint32, int32, float32, float64 };

struct DtypeInfo {
  EventDtype dtype;
  std::string_view name;
  size_t size;  // bytes an event
};

inline constexpr DtypeInfo dtypes[] = {
    {EventDtype::uint8, "uint8", 1}, {EventDtype::uint16, "uint16", 2},   {EventDtype::uint32, "uint32", 4},
    {EventDtype::int32, "int32", 4}, {EventDtype::float32, "float32", 4}, {EventDtype::float64, "float64", 8},
};

inline const DtypeInfo& dtype_info(EventDtype dtype) { return dtypes[static_cast<size_t>(dtype)]; }

inline const DtypeInfo* find_dtype(std::string_view name) {
  for (const DtypeInfo& info : dtypes) {
    if (info.name == name) return &info;
  }
  return nullptr;
}

}  // namespace stemline
