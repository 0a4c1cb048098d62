// A value as MessagePack or JSON carries it, valid or not: what tests build messages from.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace reference {

using Bytes = std::vector<uint8_t>;

// Wide enough for every integer of the wire, from -2^63 to 2^64 - 1, and for one beyond it.
using Int = __int128;

inline std::string int_text(Int value) {
  if (value < 0) return "-" + int_text(-value);
  std::string text;
  do {
    text.insert(text.begin(), static_cast<char>('0' + static_cast<int>(value % 10)));
    value /= 10;
  } while (value != 0);
  return text;
}

struct Value {
  enum class Kind { nil, boolean, integer, real, string, binary, array, map, raw };

  Kind kind = Kind::nil;
  bool boolean = false;
  Int integer = 0;
  double real = 0;
  std::string text;          // of a string or binary; of raw: the encoded bytes themselves
  std::vector<Value> items;  // of a map: key, value, key, value, ...

  // How MessagePack writes it: bytes of the integer or of the length (0: as few as possible), and signed or not.
  unsigned width = 0;
  bool as_signed = false;

  static Value nil() { return {}; }
  static Value of(Int number) {
    Value value;
    value.kind = Kind::integer;
    value.integer = number;
    return value;
  }
  static Value of_optional(const std::optional<Int>& number) { return number ? of(*number) : nil(); }
  static Value of_bool(bool flag) {
    Value value;
    value.kind = Kind::boolean;
    value.boolean = flag;
    return value;
  }
  static Value of_real(double number) {
    Value value;
    value.kind = Kind::real;
    value.real = number;
    return value;
  }
  static Value of_text(std::string text) { return of_bytes(Kind::string, std::move(text)); }
  static Value of_binary(std::string bytes) { return of_bytes(Kind::binary, std::move(bytes)); }
  static Value of_raw(std::string bytes) { return of_bytes(Kind::raw, std::move(bytes)); }
  static Value of_array(std::vector<Value> items) {
    Value value;
    value.kind = Kind::array;
    value.items = std::move(items);
    return value;
  }
  static Value of_map(std::vector<std::pair<std::string, Value>> members) {
    Value value;
    value.kind = Kind::map;
    for (auto& [key, member] : members) value.add(key, std::move(member));
    return value;
  }

  // Appends a member to a map.
  void add(std::string key, Value member) {
    items.push_back(of_text(std::move(key)));
    items.push_back(std::move(member));
  }

  // The last member of that name; nullptr if there is none.
  Value* find(std::string_view key) {
    for (size_t i = items.size(); i >= 2; i -= 2) {
      if (items[i - 2].text == key) return &items[i - 1];
    }
    return nullptr;
  }
  const Value* find(std::string_view key) const { return const_cast<Value*>(this)->find(key); }
  Value& at(std::string_view key) { return *find(key); }
  const Value& at(std::string_view key) const { return *find(key); }

  void remove(std::string_view key) {
    for (size_t i = 0; i < items.size();) {
      if (items[i].text == key) {
        items.erase(items.begin() + static_cast<std::ptrdiff_t>(i), items.begin() + static_cast<std::ptrdiff_t>(i) + 2);
      } else {
        i += 2;
      }
    }
  }

 private:
  static Value of_bytes(Kind kind, std::string bytes) {
    Value value;
    value.kind = kind;
    value.text = std::move(bytes);
    return value;
  }
};

}  // namespace reference
