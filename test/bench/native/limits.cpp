// The machine's own limits, with which all else is compared: reading and copying memory of each level, and the clock.
#include <cstring>
#include <memory>
#include <vector>

#include "case.h"
#include "machine.h"
#include "message.h"

namespace bench {

namespace {

struct Buffers {
  explicit Buffers(size_t size) : from(size / 8), to(size / 8) {
    Random random(7);
    for (uint64_t& word : from) expected += word = random.next();
  }
  const uint8_t* bytes() const { return reinterpret_cast<const uint8_t*>(from.data()); }
  size_t size() const { return 8 * from.size(); }

  std::vector<uint64_t> from, to;
  uint64_t sum = 0, expected = 0;
};

Case stream_case(Level level) {
  const auto buffers = std::make_shared<Buffers>(level_bytes(level) / 4096 * 4096);
  return {{.bytes = static_cast<double>(buffers->size())},
          [=] {
            buffers->sum = stream_read(buffers->bytes(), buffers->size());
            keep(&buffers->sum);
          },
          [=] { return buffers->sum == buffers->expected ? "" : "wrong sum"; }};
}

// Source and destination lie in the level together.
Case memcpy_case(Level level) {
  const auto buffers = std::make_shared<Buffers>(level_bytes(level) / 8192 * 4096);
  return {{.bytes = static_cast<double>(buffers->size())},
          [=] {
            std::memcpy(buffers->to.data(), buffers->bytes(), buffers->size());
            keep(buffers->to.data());
          },
          [=] { return buffers->to == buffers->from ? "" : "wrong copy"; }};
}

// Additions of which each needs the one before: one a cycle on every CPU that we know. Each counts as an event.
Case clock_case() {
  constexpr int additions = 100000;
  const auto total = std::make_shared<uint64_t>(0);
  return {{.events = additions},
          [=] {
            uint64_t sum = 0;
            for (int i = 0; i < additions / 10; ++i) {
#if defined(__x86_64__)
              asm volatile(".rept 10\n\tadd $1, %0\n\t.endr" : "+r"(sum) : : "cc");
#else
              asm volatile(".rept 10\n\tadd %0, %0, #1\n\t.endr" : "+r"(sum));
#endif
            }
            *total = sum;
          },
          [=] { return *total == additions ? "" : "wrong sum"; }};
}

}  // namespace

void register_limits() {
  register_case("limit/clock", clock_case);
  for (const Level level : {Level::l1, Level::l2, Level::l3, Level::dram}) {
    register_case("limit/stream/" + level_name(level), [=] { return stream_case(level); });
    register_case("limit/memcpy/" + level_name(level), [=] { return memcpy_case(level); });
  }
}

}  // namespace bench
