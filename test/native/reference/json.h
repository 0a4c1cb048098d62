// JSON text from values, and values from JSON text.
#pragma once

#include <cstdlib>
#include <functional>
#include <stdexcept>

#include "wire_value.h"

namespace reference {

// What a writer may choose freely; the default is compact.
struct JsonStyle {
  std::function<std::string()> space = [] { return std::string(); };
  std::function<std::string(const std::string&)> quote = [](const std::string& text) {
    std::string quoted = "\"";
    for (const char c : text) {
      if (c == '"' || c == '\\') quoted += '\\';
      quoted += c;
    }
    return quoted + "\"";
  };
};

inline std::string json_text(const Value& value, const JsonStyle& style = {}) {
  switch (value.kind) {
    case Value::Kind::nil: return "null";
    case Value::Kind::boolean: return value.boolean ? "true" : "false";
    case Value::Kind::integer: return int_text(value.integer);
    case Value::Kind::real: {
      std::string text = std::to_string(value.real);
      return text;
    }
    case Value::Kind::string:
    case Value::Kind::binary: return style.quote(value.text);
    case Value::Kind::raw: return value.text;
    case Value::Kind::array: {
      std::string text = "[" + style.space();
      for (size_t i = 0; i < value.items.size(); ++i) {
        text += (i == 0 ? "" : "," + style.space()) + json_text(value.items[i], style) + style.space();
      }
      return text + "]";
    }
    case Value::Kind::map: {
      std::string text = "{" + style.space();
      for (size_t i = 0; i < value.items.size(); i += 2) {
        text += (i == 0 ? "" : "," + style.space()) + json_text(value.items[i], style) + style.space() + ":" +
                style.space() + json_text(value.items[i + 1], style) + style.space();
      }
      return text + "}";
    }
  }
  return {};
}

// Strict enough to check that a text is JSON at all; throws std::runtime_error if it is not.
class JsonParser {
 public:
  explicit JsonParser(std::string text) : text_(std::move(text)) {}

  Value parse() {
    Value value = parse_value();
    space();
    if (at_ != text_.size()) fail("trailing text");
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error("JSON: " + what + " at " + std::to_string(at_));
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void space() {
    while (at_ < text_.size() && std::string_view(" \n\r\t").find(text_[at_]) != std::string_view::npos) ++at_;
  }
  bool take(char c) {
    space();
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  bool take_word(std::string_view word) {
    if (text_.compare(at_, word.size(), word) != 0) return false;
    at_ += word.size();
    return true;
  }
  void expect(char c) {
    if (!take(c)) fail(std::string("expected ") + c);
  }

  Value parse_value() {
    space();
    if (take_word("null")) return Value::nil();
    if (take_word("true")) return Value::of_bool(true);
    if (take_word("false")) return Value::of_bool(false);
    if (peek() == '"') return Value::of_text(parse_string());
    if (take('[')) {
      Value array = Value::of_array({});
      if (take(']')) return array;
      do array.items.push_back(parse_value());
      while (take(','));
      expect(']');
      return array;
    }
    if (take('{')) {
      Value map = Value::of_map({});
      if (take('}')) return map;
      do {
        space();
        std::string key = parse_string();
        expect(':');
        map.add(std::move(key), parse_value());
      } while (take(','));
      expect('}');
      return map;
    }
    return parse_number();
  }

  Value parse_number() {
    const size_t begin = at_;
    while (at_ < text_.size() && std::string_view("+-0123456789.eE").find(text_[at_]) != std::string_view::npos) ++at_;
    const std::string number = text_.substr(begin, at_ - begin);
    if (number.empty()) fail("expected a value");
    if (number.find_first_of(".eE") != std::string::npos) return Value::of_real(std::strtod(number.c_str(), nullptr));
    Int value = 0;
    for (const char c : number) {
      if (c != '-') value = value * 10 + (c - '0');
    }
    return Value::of(number[0] == '-' ? -value : value);
  }

  std::string parse_string() {
    if (peek() != '"') fail("expected a string");
    std::string text;
    for (++at_; peek() != '"'; ++at_) {
      if (at_ >= text_.size()) fail("unterminated string");
      if (text_[at_] != '\\') {
        text += text_[at_];
        continue;
      }
      ++at_;
      const std::string from = "\"\\/bfnrt", to = "\"\\/\b\f\n\r\t";
      if (const size_t found = from.find(peek()); found != std::string::npos) {
        text += to[found];
      } else if (peek() == 'u') {
        const long unit = std::strtol(text_.substr(at_ + 1, 4).c_str(), nullptr, 16);
        text += unit < 0x80 ? static_cast<char>(unit) : '?';
        at_ += 4;
      } else {
        fail("unknown escape");
      }
    }
    ++at_;
    return text;
  }

  std::string text_;
  size_t at_ = 0;
};

}  // namespace reference
