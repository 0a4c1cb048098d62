#include "events.h"

#include "helpers/partial.h"
#include "helpers/random.h"

using namespace helpers;
using stemline::EventDtype;

namespace {

template <class T>
Bytes bytes_as(const std::vector<T>& values) {
  Bytes bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

template <class T>
std::vector<uint32_t> converted(EventDtype dtype, const std::vector<T>& values) {
  static const auto pool = stemline::BufferPool::create(1 << 20);
  GuardedBytes data(bytes_as(values), 1);
  const stemline::EventBytes events = events_as_uint32(dtype, data.span(), *pool);
  std::vector<uint32_t> out(values.size());
  if (!out.empty()) std::memcpy(out.data(), events.bytes, 4 * out.size());
  return out;
}

}  // namespace

TEST_CASE("whole numbers of every type keep their value") {
  CHECK(converted<uint8_t>(EventDtype::uint8, {0, 1, 255}) == std::vector<uint32_t>{0, 1, 255});
  CHECK(converted<uint16_t>(EventDtype::uint16, {0, 256, 65535}) == std::vector<uint32_t>{0, 256, 65535});
  CHECK(converted<uint32_t>(EventDtype::uint32, {0, 65536, 4294967295u}) ==
        std::vector<uint32_t>{0, 65536, 4294967295u});
  CHECK(converted<int32_t>(EventDtype::int32, {0, 2147483647}) == std::vector<uint32_t>{0, 2147483647});
  CHECK(converted<float>(EventDtype::float32, {0, -0.0f, 1, 16777216, 4294967040.0f}) ==
        std::vector<uint32_t>{0, 0, 1, 16777216, 4294967040u});
  CHECK(converted<double>(EventDtype::float64, {0, -0.0, 1, 4294836224.0, 4294967294.0}) ==
        std::vector<uint32_t>{0, 0, 1, 4294836224u, 4294967294u});
}

TEST_CASE("what is no index lies outside every frame") {
  for (const float wrong : {-1.0f, -0.5f, 0.5f, 1.5f, NAN, INFINITY, -INFINITY, 4294967296.0f, 1e38f, -1e38f, 1e-45f}) {
    CAPTURE(wrong);
    CHECK(converted<float>(EventDtype::float32, {wrong}) == std::vector<uint32_t>{0xffffffffu});
    CHECK(converted<double>(EventDtype::float64, {static_cast<double>(wrong)}) == std::vector<uint32_t>{0xffffffffu});
  }
  for (const double wrong :
       {0.9999999999, 4294967295.5, 4294967295.0, 4294967296.0, 18446744073709551616.0, 1e300, -1e-300}) {
    CAPTURE(wrong);
    CHECK(converted<double>(EventDtype::float64, {wrong}) == std::vector<uint32_t>{0xffffffffu});
  }
}

TEST_CASE("events are told as the message has them") {
  const auto text = [](EventDtype dtype, const Bytes& bytes) { return event_text(dtype, bytes, 1); };
  CHECK(text(EventDtype::uint8, bytes_as<uint8_t>({1, 200})) == "200");
  CHECK(text(EventDtype::uint16, bytes_as<uint16_t>({1, 60000})) == "60000");
  CHECK(text(EventDtype::uint32, bytes_as<uint32_t>({1, 4000000000u})) == "4000000000");
  CHECK(text(EventDtype::int32, bytes_as<int32_t>({1, -5})) == "-5");
  CHECK(text(EventDtype::float32, bytes_as<float>({1, 2.5f})) == "2.5");
  CHECK(text(EventDtype::float64, bytes_as<double>({1, -1e300})) == "-1e+300");
}
