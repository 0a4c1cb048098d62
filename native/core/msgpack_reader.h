// Strict pull reader of MessagePack. Every call checks what is left before it touches a byte.
#pragma once

#include <bit>
#include <cstring>
#include <string_view>
#include <vector>

#include "status.h"
#include "wire_int.h"

namespace stemline {

inline uint64_t load_big_endian(const uint8_t* bytes, unsigned width) {
  uint64_t value = 0;
  for (unsigned i = 0; i < width; ++i) value = value << 8 | bytes[i];
  return value;
}

class MsgpackReader {
 public:
  // Position within a map or an array that is being read.
  struct Cursor {
    uint64_t left = 0;
  };

  MsgpackReader(const uint8_t* begin, size_t size) : begin_(begin), at_(begin), end_(begin + size) {}

  const uint8_t* at() const { return at_; }
  void move_to(const uint8_t* at) { at_ = at; }
  size_t offset() const { return static_cast<size_t>(at_ - begin_); }
  size_t left() const { return static_cast<size_t>(end_ - at_); }
  const Status& status() const { return status_; }

  void skip_space() {}  // MessagePack has none

  bool begin_map(Cursor& cursor) { return begin_container("a map", 0x80, 0xde, cursor); }
  bool begin_array(Cursor& cursor) { return begin_container("an array", 0x90, 0xdc, cursor); }

  // Moves to the next key; `key` stays valid as long as the message. False at the end of the map and on error.
  bool next_key(Cursor& cursor, std::string_view& key) {
    if (cursor.left == 0) return false;
    --cursor.left;
    return read_string(key);
  }

  // Moves to the next element. False at the end of the array.
  bool next_item(Cursor& cursor) {
    if (cursor.left == 0) return false;
    --cursor.left;
    return true;
  }

  bool next_is_null() const { return at_ < end_ && *at_ == 0xc0; }
  void skip_null() { ++at_; }

  bool read_int(WireInt& value) {
    if (!need(1)) return false;
    const uint8_t tag = *at_;
    if (tag < 0x80) {
      value = WireInt::of(tag);
      ++at_;
      return true;
    }
    if (tag >= 0xe0) {
      value = WireInt::of_signed(static_cast<int8_t>(tag));
      ++at_;
      return true;
    }
    if (tag < 0xcc || tag > 0xd3) return wrong_type("an integer");
    const bool is_signed = tag >= 0xd0;
    const unsigned width = 1u << (is_signed ? tag - 0xd0 : tag - 0xcc);
    if (!need(1 + width)) return false;
    const uint64_t bits = load_big_endian(at_ + 1, width);
    if (is_signed) {
      const unsigned unused = 64 - 8 * width;
      value = WireInt::of_signed(static_cast<int64_t>(bits << unused) >> unused);
    } else {
      value = WireInt::of(bits);
    }
    at_ += 1 + width;
    return true;
  }

  bool read_string(std::string_view& text) {
    if (!need(1)) return false;
    const uint8_t tag = *at_;
    uint64_t length = 0;
    size_t head = 1;
    if (tag >= 0xa0 && tag <= 0xbf) {
      length = tag & 0x1f;
    } else if (tag >= 0xd9 && tag <= 0xdb) {
      const unsigned width = 1u << (tag - 0xd9);
      if (!need(1 + width)) return false;
      length = load_big_endian(at_ + 1, width);
      head = 1 + width;
    } else {
      return wrong_type("a string");
    }
    if (!need(head + length)) return false;
    text = {reinterpret_cast<const char*>(at_ + head), static_cast<size_t>(length)};
    at_ += head + length;
    return true;
  }

  // Passes over one value of any type.
  bool skip() {
    // Open containers, each with the values still to come; a message cannot nest deeper than it has bytes, but a
    // hostile one could nest a million deep, which no honest one does.
    std::vector<uint64_t> open{1};
    while (!open.empty()) {
      if (open.back() == 0) {
        open.pop_back();
        continue;
      }
      --open.back();
      uint64_t children = 0;
      if (!skip_head(children)) return false;
      if (children > left()) return truncated();
      if (children > 0) {
        if (open.size() == max_depth) return fail(StatusCode::malformed, "values nest deeper than 512");
        open.push_back(children);
      }
    }
    return true;
  }

  // Checks that the message ends here.
  bool finish() {
    if (at_ == end_) return true;
    return fail(StatusCode::trailing_bytes, std::to_string(left()) + " bytes follow the header, which ends at byte " +
                                                std::to_string(offset()));
  }

  bool fail(StatusCode code, std::string message) {
    if (status_.ok()) status_ = Status::error(code, std::move(message));
    return false;
  }

 private:
  static constexpr size_t max_depth = 512;

  bool truncated() { return fail(StatusCode::truncated, "the header ends too early, at byte " + std::to_string(end_ - begin_)); }

  bool need(uint64_t bytes) { return bytes <= left() || truncated(); }

  bool wrong_type(const char* expected) {
    if (*at_ == 0xc1) return fail(StatusCode::malformed, "byte 0xc1 is not MessagePack, at byte " + std::to_string(offset()));
    return fail(StatusCode::wrong_type,
                std::string("expected ") + expected + ", got " + type_name(*at_) + " at byte " + std::to_string(offset()));
  }

  static const char* type_name(uint8_t tag) {
    if (tag < 0x80 || tag >= 0xe0 || (tag >= 0xcc && tag <= 0xd3)) return "an integer";
    if (tag < 0x90 || tag == 0xde || tag == 0xdf) return "a map";
    if (tag < 0xa0 || tag == 0xdc || tag == 0xdd) return "an array";
    if (tag < 0xc0 || (tag >= 0xd9 && tag <= 0xdb)) return "a string";
    if (tag == 0xc0) return "nil";
    if (tag == 0xc2 || tag == 0xc3) return "a boolean";
    if (tag >= 0xc4 && tag <= 0xc6) return "binary data";
    if (tag == 0xca || tag == 0xcb) return "a float";
    return "an extension value";
  }

  bool begin_container(const char* expected, uint8_t fix_tag, uint8_t wide_tag, Cursor& cursor) {
    if (!need(1)) return false;
    const uint8_t tag = *at_;
    if ((tag & 0xf0) == fix_tag) {
      cursor.left = tag & 0x0f;
      ++at_;
      return true;
    }
    if (tag != wide_tag && tag != wide_tag + 1) return wrong_type(expected);
    const unsigned width = tag == wide_tag ? 2 : 4;
    if (!need(1 + width)) return false;
    cursor.left = load_big_endian(at_ + 1, width);
    at_ += 1 + width;
    return true;
  }

  // Passes over a value's head and payload; `children` is how many values it contains.
  bool skip_head(uint64_t& children) {
    if (!need(1)) return false;
    const uint8_t tag = *at_;
    uint64_t payload = 0;
    unsigned length_width = 0;
    if (tag < 0x80 || tag >= 0xe0) {
    } else if (tag < 0x90) {
      children = 2u * (tag & 0x0f);
    } else if (tag < 0xa0) {
      children = tag & 0x0f;
    } else if (tag < 0xc0) {
      payload = tag & 0x1f;
    } else if (tag == 0xc1) {
      return wrong_type("a value");
    } else if (tag <= 0xc3) {
    } else if (tag <= 0xc6) {
      length_width = 1u << (tag - 0xc4);
    } else if (tag <= 0xc9) {
      length_width = 1u << (tag - 0xc7);
      payload = 1;  // the extension's type
    } else if (tag <= 0xcb) {
      payload = tag == 0xca ? 4 : 8;
    } else if (tag <= 0xd3) {
      payload = 1u << ((tag - 0xcc) & 3);
    } else if (tag <= 0xd8) {
      payload = 1 + (1u << (tag - 0xd4));
    } else if (tag <= 0xdb) {
      length_width = 1u << (tag - 0xd9);
    } else {
      const unsigned width = tag & 1 ? 4 : 2;
      if (!need(1 + width)) return false;
      children = load_big_endian(at_ + 1, width) * (tag >= 0xde ? 2 : 1);
      at_ += 1 + width;
      return true;
    }
    if (length_width != 0) {
      if (!need(1 + length_width)) return false;
      payload += load_big_endian(at_ + 1, length_width);
    }
    if (!need(1 + length_width + payload)) return false;
    at_ += 1 + length_width + payload;
    return true;
  }

  const uint8_t* begin_;
  const uint8_t* at_;
  const uint8_t* end_;
  Status status_;
};

}  // namespace stemline
