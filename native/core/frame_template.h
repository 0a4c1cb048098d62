// Fast path through the frames of a batch header. Frames of one message are the same bytes but for a few integers, so
// the first frame, once parsed, serves as a template: compare the bytes between the integers, read the integers.
// A frame that does not match goes through the parser, which is the only judge of what is valid.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include "json_reader.h"
#include "msgpack_reader.h"

namespace stemline {

// The integers that differ between frames.
enum class FrameSlot : uint8_t { column, row, size, frame_number };
inline constexpr size_t frame_slot_count = 4;

struct FrameInts {
  uint32_t column = 0;
  uint32_t row = 0;
  uint32_t size = 0;
  uint32_t frame_number = 0;
};

namespace detail {

// Reads an integer from 0 to 2^32 - 1 at `at`, where max_bytes may be read; false for anything else.
template <class Reader>
struct ShortInt;

template <>
struct ShortInt<MsgpackReader> {
  static constexpr size_t max_bytes = 9;

  static bool read(const uint8_t*& at, uint32_t& value) {
    const uint8_t tag = *at;
    if (tag < 0x80) {
      value = tag;
      at += 1;
      return true;
    }
    if (tag == 0xcd) {
      value = static_cast<uint32_t>(at[1] << 8 | at[2]);
      at += 3;
      return true;
    }
    if (tag == 0xcc) {
      value = at[1];
      at += 2;
      return true;
    }
    if (tag == 0xce) {
      value = static_cast<uint32_t>(load_big_endian(at + 1, 4));
      at += 5;
      return true;
    }
    if (tag < 0xcf || tag > 0xd3) return false;
    // Wider than needed, or signed: allowed, though no writer of ours does it.
    MsgpackReader reader(at, max_bytes);
    WireInt wide;
    if (!reader.read_int(wide) || !wide.at_most(UINT32_MAX)) return false;
    value = static_cast<uint32_t>(wide.bits);
    at = reader.at();
    return true;
  }
};

template <>
struct ShortInt<JsonReader> {
  static constexpr size_t max_bytes = 11;  // ten digits and what ends them

  static bool read(const uint8_t*& at, uint32_t& value) {
    uint64_t sum = 0;
    size_t digits = 0;
    for (; digits < 10; ++digits) {
      const unsigned digit = static_cast<unsigned>(at[digits]) - '0';
      if (digit > 9) break;
      sum = sum * 10 + digit;
    }
    // No digit, a leading zero and more than ten digits are the parser's to judge; a fraction or exponent fails the
    // comparison of the bytes that follow.
    if (digits == 0 || (digits > 1 && *at == '0') || sum > UINT32_MAX) return false;
    value = static_cast<uint32_t>(sum);
    at += digits;
    return true;
  }
};

inline bool equal_bytes(const uint8_t* a, const uint8_t* b, size_t length) {
  const auto differ16 = [&](size_t i) {
    uint64_t a0, a1, b0, b1;
    std::memcpy(&a0, a + i, 8);
    std::memcpy(&a1, a + i + 8, 8);
    std::memcpy(&b0, b + i, 8);
    std::memcpy(&b1, b + i + 8, 8);
    return (a0 ^ b0) | (a1 ^ b1);
  };
  if (length < 16) return std::memcmp(a, b, length) == 0;
  uint64_t different = differ16(length - 16);
  for (size_t i = 0; i + 16 < length; i += 16) different |= differ16(i);
  return different == 0;
}

}  // namespace detail

class FrameTemplate {
 public:
  // Collects where the parser found each integer of one frame.
  class Builder {
   public:
    void add(FrameSlot slot, const uint8_t* begin, const uint8_t* end) {
      if (count_ == frame_slot_count || used_[static_cast<size_t>(slot)]) {
        usable_ = false;  // a repeated key: the last one counts, which a template cannot say
        return;
      }
      used_[static_cast<size_t>(slot)] = true;
      ints_[count_++] = {slot, begin, end};
    }

   private:
    friend class FrameTemplate;
    struct Int {
      FrameSlot slot;
      const uint8_t* begin;
      const uint8_t* end;
    };
    std::array<Int, frame_slot_count> ints_{};
    std::array<bool, frame_slot_count> used_{};
    size_t count_ = 0;
    bool usable_ = true;
  };

  // Learns from the frame in [begin, end). False if it cannot serve as a template.
  bool learn(const Builder& builder, const uint8_t* begin, const uint8_t* end, uint32_t modules) {
    if (!builder.usable_) return false;
    bytes_.clear();
    int_count_ = builder.count_;
    const uint8_t* at = begin;
    for (size_t i = 0; i < int_count_; ++i) {
      slots_[i] = builder.ints_[i].slot;
      append(i, at, builder.ints_[i].begin);
      at = builder.ints_[i].end;
    }
    append(int_count_, at, end);
    modules_ = modules;
    has_frame_number_ = builder.used_[static_cast<size_t>(FrameSlot::frame_number)];
    return true;
  }

  template <class Reader>
  const uint8_t* match(const uint8_t* at, size_t left, FrameInts& ints) const {
    if (left < bytes_.size() + frame_slot_count * detail::ShortInt<Reader>::max_bytes) return nullptr;
    std::array<uint32_t, frame_slot_count> values{};
    const uint8_t* expected = bytes_.data();
    for (size_t i = 0;; ++i) {
      const size_t length = lengths_[i];
      if (!detail::equal_bytes(at, expected, length)) return nullptr;
      at += length;
      expected += length;
      if (i == int_count_) break;
      if (!detail::ShortInt<Reader>::read(at, values[static_cast<size_t>(slots_[i])])) return nullptr;
    }
    ints = {values[0], values[1], values[2], values[3]};
    return at;
  }

  uint32_t modules() const { return modules_; }
  bool has_frame_number() const { return has_frame_number_; }

 private:
  void append(size_t index, const uint8_t* begin, const uint8_t* end) {
    lengths_[index] = static_cast<size_t>(end - begin);
    bytes_.insert(bytes_.end(), begin, end);
  }

  std::vector<uint8_t> bytes_;  // all bytes between the integers
  std::array<size_t, frame_slot_count + 1> lengths_{};
  std::array<FrameSlot, frame_slot_count> slots_{};
  size_t int_count_ = 0;
  uint32_t modules_ = 0;
  bool has_frame_number_ = false;
};

// A few templates, the last one that matched tried first.
template <class Reader>
class FrameTemplates {
 public:
  void clear() { count_ = current_ = next_ = 0; }

  // Reads the frame at `at` if it fits a template, and returns its end; nullptr if it does not.
  const uint8_t* match(const uint8_t* at, size_t left, FrameInts& ints) {
    for (size_t tried = 0; tried < count_; ++tried) {
      const size_t index = current_ + tried < count_ ? current_ + tried : current_ + tried - count_;
      if (const uint8_t* end = templates_[index].template match<Reader>(at, left, ints); end != nullptr) {
        current_ = index;
        return end;
      }
    }
    return nullptr;
  }

  void learn(const FrameTemplate::Builder& builder, const uint8_t* begin, const uint8_t* end, uint32_t modules) {
    if (!templates_[next_].learn(builder, begin, end, modules)) return;
    current_ = next_;
    count_ = std::max(count_, next_ + 1);
    next_ = (next_ + 1) % templates_.size();
  }

  // The template that matched last.
  const FrameTemplate& current() const { return templates_[current_]; }

 private:
  std::array<FrameTemplate, 4> templates_;
  size_t count_ = 0;
  size_t current_ = 0;
  size_t next_ = 0;
};

}  // namespace stemline
