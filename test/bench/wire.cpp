// Reading and writing of headers and archives.
#include <cstring>

#include "batch_header.h"
#include "machine.h"
#include "npz.h"
#include "sections.h"

namespace bench {

namespace {

using stemline::Backend;
using stemline::BatchHeader;
using stemline::BufferPool;
using stemline::HeaderFormat;
using stemline::PooledBuffer;

std::string check_header(const Message& message, const BatchHeader& header, const stemline::Status& status) {
  if (!status.ok()) return status.message;
  if (header.frame_count != message.counts.size()) return "wrong number of frames";
  if (header.batch_size_bytes != message.data_bytes()) return "wrong batch_size_bytes";
  if (header.scan_columns != message.plan.scan_columns || header.scan_rows != message.plan.scan_rows)
    return "wrong scan shape";
  uint64_t offset = 0;
  for (size_t i = 0; i < header.frame_count; ++i) {
    const stemline::FrameRecord& frame = header.frames()[i];
    if (header.position(frame) != message.positions[i] || frame.size != 4 * message.counts[i] ||
        frame.offset != offset || (frame.has_frame_number == 1) != message.plan.numbered) {
      return "wrong frame " + std::to_string(i);
    }
    offset += frame.size;
  }
  return "";
}

}  // namespace

Section bench_headers(Harness& harness) {
  Section section{
      "headers",
      "Batch headers: message bytes to columns and back, 512 x 512 scan",
      {"Numbered frames carry a frame_number. GB/s of header bytes; stream read of that level stands above."},
      {{"events/frame"},
       {"frames"},
       {"numbered"},
       {"what"},
       {"bytes/frame", 0},
       {"ns/frame best", 1},
       {"ns/frame median", 1},
       {"spread"},
       {"Mframes/s", 1},
       {"GB/s", 2},
       {"x detector", 0}},
      {}};
  const std::shared_ptr<BufferPool> pool = BufferPool::create(size_t{256} << 20);
  for (const bool numbered : {false, true}) {
    for (const double events : events_per_frame) {
      if (numbered && events != 10) continue;
      const Message message = make_message({.frames = frames_of_message(events),
                                            .events_per_frame = events,
                                            .first_frame = 100000,
                                            .numbered = numbered,
                                            .seed = 43});
      const std::string json = naive_json(message);
      const std::span<const uint8_t> json_bytes(reinterpret_cast<const uint8_t*>(json.data()), json.size());
      BatchHeader from_msgpack, from_json;
      stemline::Status msgpack_status, json_status;
      PooledBuffer encoded;
      const Candidate candidates[] = {
          {"decode MessagePack",
           [&] { msgpack_status = decode_batch_header(HeaderFormat::msgpack, message.meta, *pool, from_msgpack); },
           [&] { return check_header(message, from_msgpack, msgpack_status); }},
          {"decode JSON", [&] { json_status = decode_batch_header(HeaderFormat::json, json_bytes, *pool, from_json); },
           [&] { return check_header(message, from_json, json_status); }},
          {"encode JSON",
           [&] {
             encoded = PooledBuffer();  // a message that was sent has given its buffer back
             encoded = encode_batch_header_json(from_msgpack, *pool);
           },
           [&] {
             return encoded.size() == json.size() && std::memcmp(encoded.data(), json.data(), json.size()) == 0
                        ? ""
                        : "wrong JSON";
           }},
      };
      const double bytes[] = {static_cast<double>(message.meta.size()), static_cast<double>(json.size()),
                              static_cast<double>(json.size())};
      const std::vector<Timing> timings = harness.measure(candidates);
      const double frames = static_cast<double>(message.counts.size());
      for (size_t i = 0; i < std::size(candidates); ++i) {
        const Timing& timing = timings[i];
        section.rows.push_back({std::to_string(static_cast<int>(events)), std::to_string(message.counts.size()),
                                numbered ? "yes" : "no", candidates[i].name, bytes[i] / frames,
                                timing.best * 1e9 / frames, timing.median * 1e9 / frames, harness.spread_cell(timing),
                                frames / timing.best * 1e-6, bytes[i] / timing.best * 1e-9,
                                frames / timing.best / detector_frames_per_second});
      }
    }
  }
  return section;
}

Section bench_npz(Harness& harness) {
  Section section{
      "npz",
      "Archives: .npz of one partial result, com float32 (2, rows, columns) and count uint32 (rows, columns)",
      {"crc: checksum of the arrays' bytes alone; npz: layout, copy of the arrays into it, checksums."},
      {{"scan"},
       {"backend"},
       {"what"},
       {"MB", 2},
       {"us best", 1},
       {"us median", 1},
       {"spread"},
       {"GB/s", 2},
       {"of stream %", 0}},
      {}};
  const std::shared_ptr<BufferPool> pool = BufferPool::create(size_t{256} << 20);
  for (const uint32_t side : {128u, 512u}) {
    const size_t positions = size_t{side} * side;
    std::vector<uint32_t> arrays(3 * positions);
    Random random(44);
    for (uint32_t& word : arrays) word = static_cast<uint32_t>(random.next());
    const uint8_t* const bytes = reinterpret_cast<const uint8_t*>(arrays.data());
    const size_t size = 4 * arrays.size();
    const uint32_t crc = naive_crc32(bytes, size);
    const stemline::NpzWriter::Member members[] = {{"com", "<f4", 4, {2, side, side}},
                                                   {"count", "<u4", 4, {side, side}}};
    uint64_t word_sum = 0;
    std::vector<Candidate> candidates{{"stream read",
                                       [&] {
                                         word_sum = stream_read(bytes, size);
                                         keep(&word_sum);
                                       },
                                       nullptr}};
    std::vector<std::string> backend_of{"-"};
    uint32_t got_crc = 0;
    PooledBuffer archive;
    for (const Backend* backend : usable_backends()) {
      candidates.push_back({"crc",
                            [&, backend] {
                              got_crc = backend->crc32(0, bytes, size);
                              keep(&got_crc);
                            },
                            [&] { return got_crc == crc ? "" : "wrong checksum"; }});
      candidates.push_back(
          {"npz",
           [&, backend] {
             archive = PooledBuffer();
             stemline::NpzWriter writer(members, *pool);
             std::memcpy(writer.data(0), bytes, 8 * positions);
             std::memcpy(writer.data(1), bytes + 8 * positions, 4 * positions);
             archive = writer.finish(*backend);
           },
           [&] {
             std::vector<uint8_t> both = naive_npz_member(archive.data(), archive.size(), "com");
             const std::vector<uint8_t> count = naive_npz_member(archive.data(), archive.size(), "count");
             both.insert(both.end(), count.begin(), count.end());
             return both.size() == size && std::memcmp(both.data(), bytes, size) == 0 ? "" : "wrong archive";
           }});
      backend_of.insert(backend_of.end(), 2, backend->name);
    }
    const std::vector<Timing> timings = harness.measure(candidates);
    for (size_t i = 0; i < candidates.size(); ++i) {
      const Timing& timing = timings[i];
      section.rows.push_back({std::to_string(side) + " x " + std::to_string(side), backend_of[i], candidates[i].name,
                              static_cast<double>(size) * 1e-6, timing.best * 1e6, timing.median * 1e6,
                              harness.spread_cell(timing), static_cast<double>(size) / timing.best * 1e-9,
                              100 * timings[0].best / timing.best});
    }
  }
  return section;
}

}  // namespace bench
