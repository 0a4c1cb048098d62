// Strict pull reader of JSON (RFC 8259), with the same calls as MsgpackReader so that one decoder serves both.
#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "status.h"
#include "wire_int.h"

namespace stemline {

class JsonReader {
 public:
  struct Cursor {
    char close = 0;
    bool first = true;
  };

  JsonReader(const uint8_t* begin, size_t size) : begin_(begin), at_(begin), end_(begin + size) {}

  const uint8_t* at() const { return at_; }
  void move_to(const uint8_t* at) { at_ = at; }
  size_t offset() const { return static_cast<size_t>(at_ - begin_); }
  size_t left() const { return static_cast<size_t>(end_ - at_); }
  const Status& status() const { return status_; }

  bool begin_map(Cursor& cursor) { return begin_container('{', '}', "an object", cursor); }
  bool begin_array(Cursor& cursor) { return begin_container('[', ']', "an array", cursor); }

  // `key` stays valid until the next string is read.
  bool next_key(Cursor& cursor, std::string_view& key) {
    if (!next_item(cursor)) return false;
    if (!read_string(key)) return false;
    skip_space();
    if (!need()) return false;
    if (*at_ != ':') return malformed("expected ':' after a key");
    ++at_;
    skip_space();
    return true;
  }

  bool next_item(Cursor& cursor) {
    skip_space();
    if (!need()) return false;
    if (*at_ == cursor.close) {
      ++at_;
      return false;
    }
    if (!cursor.first) {
      if (*at_ != ',') return malformed("expected ',' or the end of an object or array");
      ++at_;
      skip_space();
      if (!need()) return false;
      if (*at_ == cursor.close) return malformed("a comma before the end of an object or array");
    }
    cursor.first = false;
    return true;
  }

  bool next_is_null() const { return left() >= 4 && std::memcmp(at_, "null", 4) == 0; }
  void skip_null() { at_ += 4; }

  bool read_int(WireInt& value) {
    if (!need()) return false;
    const uint8_t* at = at_;
    const bool negative = *at == '-';
    if (negative) ++at;
    if (at == end_) return truncated();
    if (!is_digit(*at)) return wrong_type("an integer");
    if (*at == '0' && at + 1 < end_ && is_digit(at[1])) return malformed("a number with a leading zero");
    uint64_t magnitude = 0;
    for (; at < end_ && is_digit(*at); ++at) {
      const uint64_t digit = static_cast<uint64_t>(*at - '0');
      if (magnitude > (UINT64_MAX - digit) / 10) return fail(StatusCode::wrong_type, "an integer beyond 64 bits at byte " + std::to_string(offset()));
      magnitude = magnitude * 10 + digit;
    }
    if (at < end_ && (*at == '.' || *at == 'e' || *at == 'E')) {
      return fail(StatusCode::wrong_type, "expected an integer, got a float at byte " + std::to_string(offset()));
    }
    if (negative && magnitude > uint64_t{1} << 63) {
      return fail(StatusCode::wrong_type, "an integer beyond 64 bits at byte " + std::to_string(offset()));
    }
    value = negative ? WireInt::of_signed(static_cast<int64_t>(0 - magnitude)) : WireInt::of(magnitude);
    at_ = at;
    return true;
  }

  bool read_string(std::string_view& text) {
    if (!need()) return false;
    if (*at_ != '"') return wrong_type("a string");
    const uint8_t* const start = at_ + 1;
    const uint8_t* at = start;
    while (at < end_ && *at != '"' && *at != '\\' && *at >= 0x20) ++at;
    if (at == end_) return truncated();
    if (*at == '"') {
      text = {reinterpret_cast<const char*>(start), static_cast<size_t>(at - start)};
      at_ = at + 1;
      return true;
    }
    unescaped_.assign(start, at);
    for (; at < end_; ++at) {
      if (*at == '"') {
        text = unescaped_;
        at_ = at + 1;
        return true;
      }
      if (*at < 0x20) return malformed("a control character in a string");
      if (*at != '\\') {
        unescaped_.push_back(static_cast<char>(*at));
        continue;
      }
      if (++at == end_) break;
      static constexpr std::string_view from = "\"\\/bfnrt", to = "\"\\/\b\f\n\r\t";
      if (const size_t found = from.find(static_cast<char>(*at)); found != from.npos) {
        unescaped_.push_back(to[found]);
      } else if (*at == 'u') {
        uint32_t unit = 0;
        for (int i = 0; i < 4; ++i) {
          if (++at == end_) return truncated();
          const int digit = hex_digit(*at);
          if (digit < 0) return malformed("a \\u escape without four hexadecimal digits");
          unit = unit << 4 | static_cast<uint32_t>(digit);
        }
        // Field names and types are ASCII: any other character only has to differ from them.
        unescaped_.push_back(unit < 0x80 ? static_cast<char>(unit) : '\x7f');
      } else {
        return malformed("an unknown escape in a string");
      }
    }
    return truncated();
  }

  bool skip() {
    std::vector<Cursor> open;
    for (;;) {
      if (!need()) return false;
      switch (*at_) {
        case '{':
        case '[':
          if (open.size() == max_depth) return malformed("values nest deeper than 512");
          open.push_back({*at_ == '{' ? '}' : ']', true});
          ++at_;
          break;
        case '"': {
          std::string_view text;
          if (!read_string(text)) return false;
          break;
        }
        default:
          if (!skip_scalar()) return false;
      }
      // Close what ends here, then move to the next member or element.
      for (;;) {
        if (open.empty()) return true;
        std::string_view key;
        const bool more = open.back().close == '}' ? next_key(open.back(), key) : next_item(open.back());
        if (!status_.ok()) return false;
        if (more) break;
        open.pop_back();
      }
    }
  }

  bool finish() {
    skip_space();
    if (at_ == end_) return true;
    return fail(StatusCode::trailing_bytes, std::to_string(left()) + " bytes follow the header, which ends at byte " +
                                                std::to_string(offset()));
  }

  void skip_space() {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
  }

  bool fail(StatusCode code, std::string message) {
    if (status_.ok()) status_ = Status::error(code, std::move(message));
    return false;
  }

 private:
  static constexpr size_t max_depth = 512;

  static bool is_digit(uint8_t byte) { return byte >= '0' && byte <= '9'; }
  static int hex_digit(uint8_t byte) {
    if (is_digit(byte)) return byte - '0';
    const uint8_t lower = byte | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
  }

  bool truncated() { return fail(StatusCode::truncated, "the header ends too early, at byte " + std::to_string(end_ - begin_)); }
  bool need() { return at_ < end_ || truncated(); }
  bool malformed(const char* what) {
    return fail(StatusCode::malformed, std::string("not JSON: ") + what + ", at byte " + std::to_string(offset()));
  }
  bool wrong_type(const char* expected) {
    const char* got = nullptr;
    switch (*at_) {
      case '{': got = "an object"; break;
      case '[': got = "an array"; break;
      case '"': got = "a string"; break;
      case 't':
      case 'f': got = "a boolean"; break;
      case 'n': got = "null"; break;
      default:
        if (*at_ != '-' && !is_digit(*at_)) return malformed("an unexpected character");
        got = "a number";
    }
    return fail(StatusCode::wrong_type,
                std::string("expected ") + expected + ", got " + got + " at byte " + std::to_string(offset()));
  }

  bool begin_container(char open, char close, const char* expected, Cursor& cursor) {
    if (!need()) return false;
    if (*at_ != open) return wrong_type(expected);
    ++at_;
    cursor = {close, true};
    return true;
  }

  bool skip_scalar() {
    for (const std::string_view word : {std::string_view("null"), std::string_view("true"), std::string_view("false")}) {
      if (left() >= word.size() && std::memcmp(at_, word.data(), word.size()) == 0) {
        at_ += word.size();
        return true;
      }
    }
    const uint8_t* at = at_;
    const auto digits = [&] {
      const uint8_t* const start = at;
      while (at < end_ && is_digit(*at)) ++at;
      return at > start;
    };
    if (at < end_ && *at == '-') ++at;
    const bool leading_zero = at + 1 < end_ && *at == '0' && is_digit(at[1]);
    if (leading_zero || !digits()) return malformed("not a value");
    if (at < end_ && *at == '.') {
      ++at;
      if (!digits()) return malformed("a number without digits after the point");
    }
    if (at < end_ && (*at == 'e' || *at == 'E')) {
      ++at;
      if (at < end_ && (*at == '+' || *at == '-')) ++at;
      if (!digits()) return malformed("a number without digits in the exponent");
    }
    at_ = at;
    return true;
  }

  const uint8_t* begin_;
  const uint8_t* at_;
  const uint8_t* end_;
  Status status_;
  std::string unescaped_;
};

}  // namespace stemline
