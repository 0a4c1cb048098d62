// MessagePack, written from the format's specification one value at a time.
#pragma once

#include <cstring>

#include "wire_value.h"

namespace reference {

namespace detail {

inline void put_big_endian(Bytes& out, unsigned __int128 bits, unsigned width) {
  for (unsigned i = width; i > 0; --i) out.push_back(static_cast<uint8_t>(bits >> (8 * (i - 1))));
}

inline void put_length(Bytes& out, size_t length, unsigned wanted,
                       const std::vector<std::pair<unsigned, uint8_t>>& tags) {
  for (const auto& [width, tag] : tags) {
    if (width < wanted) continue;
    if (width < 8 && length >> (8 * width) != 0) continue;
    out.push_back(tag);
    put_big_endian(out, length, width);
    return;
  }
}

inline void put_int(Bytes& out, Int value, unsigned wanted, bool as_signed) {
  if (wanted == 0 && value >= 0 && value < 128) return out.push_back(static_cast<uint8_t>(value));
  if (wanted == 0 && value < 0 && value >= -32) return out.push_back(static_cast<uint8_t>(value));
  for (unsigned log = 0; log < 4; ++log) {
    const unsigned width = 1u << log;
    if (width < wanted) continue;
    const Int one = 1;
    if (value < 0 || as_signed) {
      const Int limit = one << (8 * width - 1);
      if (value < -limit || value >= limit) continue;
      out.push_back(static_cast<uint8_t>(0xd0 + log));
    } else {
      if (value >= one << (8 * width)) continue;
      out.push_back(static_cast<uint8_t>(0xcc + log));
    }
    return put_big_endian(out, static_cast<unsigned __int128>(value), width);
  }
  // A signed width that cannot hold it: unsigned then.
  if (as_signed) put_int(out, value, wanted, false);
}

inline void put_msgpack(Bytes& out, const Value& value) {
  switch (value.kind) {
    case Value::Kind::nil: out.push_back(0xc0); break;
    case Value::Kind::boolean: out.push_back(value.boolean ? 0xc3 : 0xc2); break;
    case Value::Kind::integer: put_int(out, value.integer, value.width, value.as_signed); break;
    case Value::Kind::real: {
      uint64_t bits;
      std::memcpy(&bits, &value.real, sizeof bits);
      out.push_back(0xcb);
      put_big_endian(out, bits, 8);
      break;
    }
    case Value::Kind::string:
      if (value.width == 0 && value.text.size() < 32) {
        out.push_back(static_cast<uint8_t>(0xa0 + value.text.size()));
      } else {
        put_length(out, value.text.size(), value.width, {{1, 0xd9}, {2, 0xda}, {4, 0xdb}});
      }
      out.insert(out.end(), value.text.begin(), value.text.end());
      break;
    case Value::Kind::binary:
      put_length(out, value.text.size(), value.width, {{1, 0xc4}, {2, 0xc5}, {4, 0xc6}});
      out.insert(out.end(), value.text.begin(), value.text.end());
      break;
    case Value::Kind::array:
      if (value.width == 0 && value.items.size() < 16) {
        out.push_back(static_cast<uint8_t>(0x90 + value.items.size()));
      } else {
        put_length(out, value.items.size(), value.width, {{2, 0xdc}, {4, 0xdd}});
      }
      for (const Value& item : value.items) put_msgpack(out, item);
      break;
    case Value::Kind::map: {
      const size_t count = value.items.size() / 2;
      if (value.width == 0 && count < 16) {
        out.push_back(static_cast<uint8_t>(0x80 + count));
      } else {
        put_length(out, count, value.width, {{2, 0xde}, {4, 0xdf}});
      }
      for (const Value& item : value.items) put_msgpack(out, item);
      break;
    }
    case Value::Kind::raw: out.insert(out.end(), value.text.begin(), value.text.end()); break;
  }
}

}  // namespace detail

inline Bytes msgpack(const Value& value) {
  Bytes out;
  detail::put_msgpack(out, value);
  return out;
}

}  // namespace reference
