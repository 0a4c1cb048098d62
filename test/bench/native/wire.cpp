// Reading and writing of headers and archives.
#include <cstring>

#include "batch_header.h"
#include "case.h"
#include "machine.h"
#include "message.h"
#include "npz.h"

namespace bench {

namespace {

using stemline::Backend;
using stemline::BatchHeader;
using stemline::BufferPool;
using stemline::HeaderFormat;
using stemline::PooledBuffer;

struct Codec {
  explicit Codec(const MessagePlan& plan) : message(shared_message(plan)), json(naive_json(*message)) {}

  std::span<const uint8_t> json_bytes() const { return {reinterpret_cast<const uint8_t*>(json.data()), json.size()}; }
  std::span<const uint8_t> bytes(HeaderFormat format) const {
    return format == HeaderFormat::json ? json_bytes() : std::span<const uint8_t>(message->meta);
  }
  void decode(HeaderFormat format) { status = decode_batch_header(format, bytes(format), *pool, header); }
  void encode() {
    encoded = PooledBuffer();  // a message that was sent has given its buffer back
    encoded = encode_batch_header_json(header, *pool);
  }
  Amount amount(size_t size) const {
    return {static_cast<double>(message->counts.size()), 0, static_cast<double>(size)};
  }

  std::string check_header() const {
    if (!status.ok()) return status.message;
    if (header.frame_count != message->counts.size()) return "wrong number of frames";
    if (header.batch_size_bytes != message->data_bytes()) return "wrong batch_size_bytes";
    if (header.scan_columns != message->plan.scan_columns || header.scan_rows != message->plan.scan_rows)
      return "wrong scan shape";
    uint64_t offset = 0;
    for (size_t i = 0; i < header.frame_count; ++i) {
      const stemline::FrameRecord& frame = header.frames()[i];
      if (header.position(frame) != message->positions[i] || frame.size != 4 * message->counts[i] ||
          frame.offset != offset || (frame.has_frame_number == 1) != message->plan.numbered) {
        return "wrong frame " + std::to_string(i);
      }
      offset += frame.size;
    }
    return "";
  }

  std::shared_ptr<const Message> message;
  std::string json;
  std::shared_ptr<BufferPool> pool = BufferPool::create(size_t{256} << 20);
  BatchHeader header;
  stemline::Status status;
  PooledBuffer encoded;
};

Case decode_case(HeaderFormat format, const MessagePlan& plan) {
  const auto codec = std::make_shared<Codec>(plan);
  return {codec->amount(codec->bytes(format).size()), [=] { codec->decode(format); },
          [=] { return codec->check_header(); }};
}

Case encode_case(const MessagePlan& plan) {
  const auto codec = std::make_shared<Codec>(plan);
  codec->decode(HeaderFormat::msgpack);
  return {codec->amount(codec->json.size()), [=] { codec->encode(); },
          [=] {
            const auto got = codec->encoded.bytes(), expected = codec->json_bytes();
            return std::equal(got.begin(), got.end(), expected.begin(), expected.end()) ? "" : "wrong JSON";
          }};
}

// Arrays of a partial result: com float32 (2, rows, columns) and count uint32 (rows, columns).
struct Archive {
  explicit Archive(uint32_t scan_side) : side(scan_side), arrays(size_t{3} * side * side) {
    Random random(44);
    for (uint32_t& word : arrays) word = static_cast<uint32_t>(random.next());
  }

  const uint8_t* bytes() const { return reinterpret_cast<const uint8_t*>(arrays.data()); }
  size_t size() const { return 4 * arrays.size(); }
  Amount amount() const { return {.bytes = static_cast<double>(size())}; }

  void write(const Backend& backend) {
    written = PooledBuffer();
    const stemline::NpzWriter::Member members[] = {{"com", "<f4", 4, {2, side, side}},
                                                   {"count", "<u4", 4, {side, side}}};
    stemline::NpzWriter writer(members, *pool);
    writer.copy(0, bytes(), backend);
    writer.copy(1, bytes() + size() / 3 * 2, backend);
    written = writer.finish(backend);
  }

  std::string check_written() const {
    std::vector<uint8_t> both = naive_npz_member(written.data(), written.size(), "com");
    const std::vector<uint8_t> count = naive_npz_member(written.data(), written.size(), "count");
    both.insert(both.end(), count.begin(), count.end());
    return both.size() == size() && std::memcmp(both.data(), bytes(), size()) == 0 ? "" : "wrong archive";
  }

  uint32_t side;
  std::vector<uint32_t> arrays;
  std::shared_ptr<BufferPool> pool = BufferPool::create(size_t{64} << 20);
  PooledBuffer written;
  uint32_t crc = 0;
};

Case npz_case(const Backend& backend, uint32_t side) {
  const auto archive = std::make_shared<Archive>(side);
  return {archive->amount(), [archive, &backend] { archive->write(backend); },
          [=] { return archive->check_written(); }};
}

Case npz_memcpy_case(uint32_t side) {
  const auto archive = std::make_shared<Archive>(side);
  archive->written = archive->pool->take(archive->size());
  return {archive->amount(),
          [=] {
            std::memcpy(archive->written.data(), archive->bytes(), archive->size());
            keep(archive->written.data());
          },
          [=] {
            return std::memcmp(archive->written.data(), archive->bytes(), archive->size()) == 0 ? "" : "wrong copy";
          }};
}

Case crc_case(const Backend& backend, uint32_t side) {
  const auto archive = std::make_shared<Archive>(side);
  return {archive->amount(),
          [archive, &backend] {
            archive->crc = backend.crc32(0, archive->bytes(), archive->size());
            keep(&archive->crc);
          },
          [=] { return archive->crc == naive_crc32(archive->bytes(), archive->size()) ? "" : "wrong checksum"; }};
}

// The same with so many sources and destinations, one after the other, that each is read from and written to DRAM.
Case from_dram(const std::function<Case()>& make) {
  auto cases = std::make_shared<std::vector<Case>>();
  const double enough = static_cast<double>(level_bytes(Level::dram));
  for (double bytes = 0; bytes < enough; bytes += 2 * cases->back().amount.bytes) {
    cases->push_back(make());
    cases->back().run();  // its pages exist from now on
  }
  const auto next = std::make_shared<size_t>(0);
  return {cases->front().amount, [=] { (*cases)[(*next)++ % cases->size()].run(); },
          [=] { return cases->front().check(); }};
}

}  // namespace

void register_wire() {
  const MessagePlan plan = real_message(10, 512);
  MessagePlan numbered = plan;
  numbered.numbered = true;
  for (const MessagePlan& header : {plan, numbered}) {
    const std::string axes = header.numbered ? "/32768/numbered" : "/32768";
    register_case("decode/msgpack" + axes, [=] { return decode_case(HeaderFormat::msgpack, header); });
    register_case("decode/json" + axes, [=] { return decode_case(HeaderFormat::json, header); });
    register_case("encode/json" + axes, [=] { return encode_case(header); });
  }
  for (const uint32_t side : {128u, 512u}) {
    const std::string axis = "/" + std::to_string(side);
    register_case("npz/memcpy" + axis, [=] { return npz_memcpy_case(side); });
    for (const Backend* backend : usable_backends()) {
      register_case(std::string("npz/") + backend->name + axis, [=] { return npz_case(*backend, side); });
      register_case(std::string("crc/") + backend->name + axis, [=] { return crc_case(*backend, side); });
    }
  }
  register_case("npz/memcpy/512/dram", [] { return from_dram([] { return npz_memcpy_case(512); }); });
  const Backend* const best = usable_backends().front();
  register_case(std::string("npz/") + best->name + "/512/dram",
                [=] { return from_dram([=] { return npz_case(*best, 512); }); });
}

}  // namespace bench
