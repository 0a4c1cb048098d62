#include "buffer_pool.h"

#include <thread>

#include "helpers/random.h"

using namespace helpers;
using stemline::BufferPool;
using stemline::PooledBuffer;

TEST_CASE("a block is aligned, large enough and of the size asked for") {
  const auto pool = BufferPool::create(1 << 20);
  for_random_cases("pool sizes", 500, [&](Random& random) {
    const size_t size = random.below(uint64_t{1} << random.between(0, 23));
    PooledBuffer buffer = pool->take(size);
    CHECK(buffer.size() == size);
    CHECK(buffer.capacity() >= size);
    CHECK(reinterpret_cast<uintptr_t>(buffer.data()) % 64 == 0);
    if (size > 0) {
      buffer.data()[0] = 1;
      buffer.data()[size - 1] = 2;
      CHECK(buffer.bytes().size() == size);
    }
    // The whole capacity is there.
    std::fill(buffer.data(), buffer.data() + buffer.capacity(), uint8_t{7});
  });
}

TEST_CASE("a fresh block is at most an eighth too large") {
  const auto pool = BufferPool::create(0);
  for (size_t size = 4097; size < 3'000'000; size += 1 + size / 13) {
    const PooledBuffer buffer = pool->take(size);
    CAPTURE(size);
    CHECK(buffer.capacity() <= size + size / 8);
  }
}

TEST_CASE("a returned block is used again, for the same size and for a little less") {
  const auto pool = BufferPool::create(1 << 20);
  const uint8_t* first;
  {
    const PooledBuffer buffer = pool->take(100'000);
    first = buffer.data();
    CHECK(pool->kept_bytes() == 0);
  }
  const size_t kept = pool->kept_bytes();
  CHECK(kept >= 100'000);
  {
    const PooledBuffer buffer = pool->take(100'000);
    CHECK(buffer.data() == first);
    CHECK(pool->kept_bytes() == 0);
  }
  {
    const PooledBuffer buffer = pool->take(60'000);
    CHECK(buffer.data() == first);
    CHECK(buffer.size() == 60'000);
    CHECK(buffer.capacity() == kept);
  }
  // Neither a larger request nor a much smaller one gets it.
  const PooledBuffer larger = pool->take(200'000);
  const PooledBuffer smaller = pool->take(20'000);
  CHECK(larger.data() != first);
  CHECK(smaller.data() != first);
  CHECK(pool->kept_bytes() == kept);
}

TEST_CASE("of several blocks, the last to come back is used first") {
  const auto pool = BufferPool::create(1 << 20);
  std::vector<PooledBuffer> buffers;
  for (size_t i = 0; i < 4; ++i) buffers.push_back(pool->take(100'000));
  std::vector<const uint8_t*> returned;
  while (!buffers.empty()) {
    returned.push_back(buffers.back().data());
    buffers.pop_back();
  }
  for (; !returned.empty(); returned.pop_back()) {
    buffers.push_back(pool->take(100'000));
    CHECK(buffers.back().data() == returned.back());
  }
}

TEST_CASE("a thread gets a block that it had before, whoever gave it back") {
  const auto pool = BufferPool::create(1 << 20);
  PooledBuffer own = pool->take(100'000);
  PooledBuffer others;
  std::thread([&] { others = pool->take(100'000); }).join();
  const uint8_t* const own_data = own.data();
  const uint8_t* const others_data = others.data();
  std::thread([block = std::move(own)] {}).join();
  others = {};
  CHECK(pool->kept_bytes() >= 200'000);
  own = pool->take(100'000);
  CHECK(own.data() == own_data);
  // What others had is better than a fresh one.
  others = pool->take(100'000);
  CHECK(others.data() == others_data);
}

TEST_CASE("a pool keeps no more than its limit") {
  const auto pool = BufferPool::create(50'000);
  {
    std::vector<PooledBuffer> buffers;
    for (size_t i = 0; i < 20; ++i) buffers.push_back(pool->take(8192));
  }
  CHECK(pool->kept_bytes() <= 50'000);
  CHECK(pool->kept_bytes() >= 40'000);
  { const PooledBuffer large = pool->take(60'000); }
  CHECK(pool->kept_bytes() <= 50'000);
  const auto none = BufferPool::create(0);
  { const PooledBuffer buffer = none->take(10); }
  CHECK(none->kept_bytes() == 0);
}

TEST_CASE("buffers move, and outlive the last reference to their pool") {
  auto pool = BufferPool::create(1 << 20);
  PooledBuffer a = pool->take(5000), b = pool->take(6000);
  uint8_t* const data = a.data();
  PooledBuffer c = std::move(a);
  CHECK(c.data() == data);
  CHECK(a.data() == nullptr);
  CHECK(a.size() == 0);
  b = std::move(c);
  CHECK(b.data() == data);
  CHECK(b.size() == 5000);
  CHECK(pool->kept_bytes() >= 6000);
  PooledBuffer& self = b;
  b = std::move(self);
  CHECK(b.data() == data);
  pool.reset();
  b.data()[4999] = 1;
  b = PooledBuffer{};
  CHECK(b.data() == nullptr);
}

TEST_CASE("sizes that no machine has are refused as bad_alloc") {
  const auto pool = BufferPool::create(0);
  CHECK_THROWS_AS(pool->take(SIZE_MAX / 2), std::bad_alloc);
  CHECK(pool->kept_bytes() == 0);
}

TEST_CASE("threads share a pool without sharing a block") {
  const auto pool = BufferPool::create(1 << 20);
  std::atomic<size_t> broken{0};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Random random(case_seed("pool threads", t));
      std::vector<std::pair<PooledBuffer, uint8_t>> held;
      for (size_t i = 0; i < scaled(4000); ++i) {
        if (held.size() < 8 && random.chance(0.6)) {
          PooledBuffer buffer = pool->take(1 + random.below(30'000));
          const uint8_t mark = static_cast<uint8_t>(random.bits());
          std::fill(buffer.data(), buffer.data() + buffer.size(), mark);
          held.emplace_back(std::move(buffer), mark);
        } else if (!held.empty()) {
          const size_t at = random.below(held.size());
          for (const uint8_t byte : held[at].first.bytes()) broken += byte == held[at].second ? 0 : 1;
          held.erase(held.begin() + static_cast<std::ptrdiff_t>(at));
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(broken == 0);
  CHECK(pool->kept_bytes() <= 1 << 20);
}
