// Fast path through the frames of a batch header. Frames of one message are the same bytes but for a few integers, and
// those mostly have the same width: a parsed frame serves as a template, compared as a whole under a mask that leaves out
// the integers, which are then read at known places. A frame that matches no template goes through the parser, which is
// the only judge of what is valid.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
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

inline uint64_t load_word(const uint8_t* at) {
  uint64_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

// An integer from 0 to 2^32 - 1 of a known width. `mask` says which bits of its bytes must be as in the template.
template <class Reader>
struct ShortInt;

template <>
struct ShortInt<MsgpackReader> {
  // False if an integer such as the one in [begin, end) cannot be part of a template.
  static bool make_mask(const uint8_t* begin, const uint8_t* end, uint8_t* mask) {
    const size_t payload = static_cast<size_t>(end - begin) - 1;
    if (payload == 0) {
      mask[0] = 0x80;  // 0 to 127
      return *begin < 0x80;
    }
    std::fill(mask, mask + payload + 1, uint8_t{0});
    mask[0] = 0xff;
    // Sign bit, and what is beyond 32 bits: zero in the template, so zero in what matches it.
    if (*begin >= 0xd0) mask[1] = 0x80;
    for (size_t i = 4; i < payload; ++i) mask[payload - i] = 0xff;
    for (size_t i = 0; i < payload; ++i) {
      if ((begin[1 + i] & mask[1 + i]) != 0) return false;
    }
    return true;
  }

  // Where a byte tells an integer's width, given where it ends here and its width: its first byte.
  static size_t tag_at(size_t end, size_t width) { return end - width; }

  // Bits of the value in the eight bytes that end with it.
  static uint64_t make_bits(size_t width) {
    const size_t bytes = width == 1 ? 1 : std::min(width - 1, size_t{4});
    return (uint64_t{1} << 8 * bytes) - 1;
  }

  static bool read(const uint8_t* end, uint64_t bits, uint32_t& value) {
    value = static_cast<uint32_t>(__builtin_bswap64(load_word(end - 8)) & bits);
    return true;
  }
};

template <>
struct ShortInt<JsonReader> {
  static bool make_mask(const uint8_t* begin, const uint8_t* end, uint8_t* mask) {
    // More digits could mean more than 32 bits.
    if (end - begin > 8) return false;
    std::fill(mask, mask + (end - begin), uint8_t{0xf0});
    return *begin >= '0' && *begin <= '9';
  }

  // What follows the last digit.
  static size_t tag_at(size_t end, size_t) { return end; }

  // Low halves of the digits' bytes.
  static uint64_t make_bits(size_t width) { return uint64_t{0x0f0f0f0f0f0f0f0f} << (64 - 8 * width); }

  static bool read(const uint8_t* end, uint64_t bits, uint32_t& value) {
    static_assert(std::endian::native == std::endian::little);
    // First digit in the lowest byte that is used. The mask has seen to it that every byte is from '0' to '?'.
    const uint64_t digits = load_word(end - 8) & bits;
    const uint64_t lowest = bits & (0 - bits);
    // A leading zero, unless it is the only digit, is not JSON.
    const bool leading_zero = (digits & lowest * 0x0f) == 0 && bits != uint64_t{0x0f} << 56;
    if (((digits + 0x0606060606060606) & 0xf0f0f0f0f0f0f0f0) != 0 || leading_zero) return false;
    const uint64_t pairs = digits * 10 + (digits >> 8);
    const uint64_t even = pairs & 0x000000ff000000ff, odd = pairs >> 16 & 0x000000ff000000ff;
    value = static_cast<uint32_t>((even * (100 + (uint64_t{1000000} << 32)) + odd * (1 + (uint64_t{10000} << 32))) >> 32);
    return true;
  }
};

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
  template <class Reader>
  bool learn(const Builder& builder, const uint8_t* begin, const uint8_t* end, uint32_t modules) {
    if (!builder.usable_) return false;
    length_ = 0;
    const size_t length = static_cast<size_t>(end - begin);
    const size_t blocks = (length + sizeof(Block) - 1) / sizeof(Block);
    std::vector<uint8_t> mask(blocks * sizeof(Block));
    std::fill(mask.begin(), mask.begin() + static_cast<std::ptrdiff_t>(length), uint8_t{0xff});
    ints_.fill({});
    size_t size_width = 0;
    for (size_t i = 0; i < builder.count_; ++i) {
      const Builder::Int& found = builder.ints_[i];
      const size_t at = static_cast<size_t>(found.begin - begin);
      if (found.slot == FrameSlot::size) size_width = static_cast<size_t>(found.end - found.begin);
      if (!Int<Reader>::make_mask(found.begin, found.end, mask.data() + at)) return false;
      // Its key comes before it, so eight bytes that end where it ends are the frame's.
      ints_[static_cast<size_t>(found.slot)] = {static_cast<uint32_t>(found.end - begin),
                                                Int<Reader>::make_bits(static_cast<size_t>(found.end - found.begin))};
    }
    size_tag_at_ = Int<Reader>::tag_at(ints_[static_cast<size_t>(FrameSlot::size)].end, size_width);
    size_tag_ = size_tag_at_ < length ? begin[size_tag_at_] : 0;
    size_tag_mask_ = size_tag_at_ < length ? mask[size_tag_at_] : 0;
    blocks_.assign(blocks, MaskedBlock{});
    for (size_t i = 0; i < blocks; ++i) {
      const size_t at = i * sizeof(Block);
      std::memcpy(&blocks_[i].bytes, begin + at, std::min(sizeof(Block), length - at));
      std::memcpy(&blocks_[i].mask, mask.data() + at, sizeof(Block));
    }
    length_ = length;
    modules_ = modules;
    has_frame_number_ = builder.used_[static_cast<size_t>(FrameSlot::frame_number)];
    return true;
  }

  template <class Reader>
  const uint8_t* match(const uint8_t* at, size_t left, FrameInts& ints) const {
    if (left < blocks_.size() * sizeof(Block) || length_ == 0) return nullptr;
    const MaskedBlock* block = blocks_.data();
    const uint8_t* from = at;
    Block different = block[0].differs(from);
    for (size_t i = 1; i < blocks_.size(); ++i) different |= block[i].differs(from + i * sizeof(Block));
    if ((different[0] | different[1]) != 0) return nullptr;
    bool good = Int<Reader>::read(at + ints_[0].end, ints_[0].bits, ints.column);
    good &= Int<Reader>::read(at + ints_[1].end, ints_[1].bits, ints.row);
    good &= Int<Reader>::read(at + ints_[2].end, ints_[2].bits, ints.size);
    if (has_frame_number_) good &= Int<Reader>::read(at + ints_[3].end, ints_[3].bits, ints.frame_number);
    return good ? at + length_ : nullptr;
  }

  // True if the size of the frame at `at` has another width than here, all before it being the same.
  bool size_differs(const uint8_t* at, size_t left) const { return size_tag_at_ < left && ((at[size_tag_at_] ^ size_tag_) & size_tag_mask_) != 0; }

  // Matches nothing from now on.
  void forget() { length_ = 0; }

  uint32_t modules() const { return modules_; }
  bool has_frame_number() const { return has_frame_number_; }

 private:
  template <class Reader>
  using Int = detail::ShortInt<Reader>;
  using Block = uint64_t __attribute__((vector_size(16)));

  struct MaskedBlock {
    Block bytes;
    Block mask;  // bits that must be the same; none beyond the frame's end

    Block differs(const uint8_t* at) const {
      Block here;
      std::memcpy(&here, at, sizeof here);
      return (here ^ bytes) & mask;
    }
  };

  struct Place {
    uint32_t end = 8;   // of the integer, from the start of the frame
    uint64_t bits = 0;  // see make_bits
  };

  std::vector<MaskedBlock> blocks_;
  size_t length_ = 0;
  std::array<Place, frame_slot_count> ints_{};  // by slot
  // A byte that tells the width of the size.
  size_t size_tag_at_ = 0;
  uint8_t size_tag_ = 0;
  uint8_t size_tag_mask_ = 0;
  uint32_t modules_ = 0;
  bool has_frame_number_ = false;
};

// One template for each combination of widths, the last one that matched tried first.
template <class Reader>
class FrameTemplates {
 public:
  void clear() { count_ = current_ = previous_ = next_ = 0; }

  // Reads the frame at `at` if it fits a template, and returns its end; nullptr if it does not.
  const uint8_t* match(const uint8_t* at, size_t left, FrameInts& ints) {
    if (count_ == 0) return nullptr;
    // Sizes around a change of width go to and fro between two templates.
    if (templates_[current_].size_differs(at, left)) return match_other(at, left, ints);
    if (const uint8_t* end = templates_[current_].template match<Reader>(at, left, ints); end != nullptr) return end;
    return match_other(at, left, ints);
  }

  void learn(const FrameTemplate::Builder& builder, const uint8_t* begin, const uint8_t* end, uint32_t modules) {
    if (!templates_[next_].template learn<Reader>(builder, begin, end, modules)) {
      // The place may have held another one, which is gone.
      if (next_ < count_) templates_[next_].forget();
      return;
    }
    previous_ = current_;
    current_ = next_;
    count_ = std::max(count_, next_ + 1);
    next_ = (next_ + 1) % templates_.size();
  }

  // The template that matched last.
  const FrameTemplate& current() const { return templates_[current_]; }

 private:
  [[gnu::noinline]] const uint8_t* match_other(const uint8_t* at, size_t left, FrameInts& ints) {
    if (const uint8_t* end = templates_[previous_].template match<Reader>(at, left, ints); end != nullptr) {
      std::swap(current_, previous_);
      return end;
    }
    for (size_t index = 0; index < count_; ++index) {
      if (templates_[index].size_differs(at, left)) continue;
      if (const uint8_t* end = templates_[index].template match<Reader>(at, left, ints); end != nullptr) {
        previous_ = current_;
        current_ = index;
        return end;
      }
    }
    return nullptr;
  }

  std::array<FrameTemplate, 16> templates_;
  size_t count_ = 0;
  size_t current_ = 0;
  size_t previous_ = 0;
  size_t next_ = 0;
};

}  // namespace stemline
