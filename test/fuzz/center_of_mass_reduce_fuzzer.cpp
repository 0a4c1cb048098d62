// The reduce kernel on sequences of hostile COMPartial messages in either form: JSON header and .npz, or columns. Input: options, then messages,
// each a kind, the lengths of header and data, and their bytes. Kind bit 0: the data is no archive but values from
// which one that fits the header is made, for few changed archives have a valid checksum; bit 1: with count, bits 3 to 5: with
// counts as analyses have them.
#include "center_of_mass_reduce.h"

#include "batch_header.h"
#include "com_positions.h"
#include "input.h"
#include "reference/json.h"
#include "reference/npz.h"

using fuzz::require;
using namespace stemline;

namespace {

struct Message {
  std::vector<uint8_t> meta, data;
};

std::vector<uint8_t> archive_of(const BatchHeader& header, std::vector<uint8_t> values, uint8_t kind) {
  const auto fill = [&](size_t size) {
    const size_t given = values.size();
    std::vector<uint8_t> bytes(size);
    for (size_t i = 0; given > 0 && i < size; ++i) bytes[i] = values[i % given];
    return bytes;
  };
  const size_t positions = header.scan_positions();
  std::vector<std::pair<std::string, reference::Bytes>> members;
  members.emplace_back("com.npy",
                       reference::write_npy({"<f4", {2, header.scan_rows, header.scan_columns}, fill(8 * positions)}));
  const auto add_counts = [&](const char* name, uint32_t rows, uint32_t columns) {
    members.emplace_back(name, reference::write_npy({"<u4", {rows, columns}, fill(size_t{4} * rows * columns)}));
  };
  if (kind & 2) add_counts("count.npy", header.scan_rows, header.scan_columns);
  if (kind & 8) add_counts("events.npy", header.scan_rows, header.scan_columns);
  if ((kind & 16) && header.frame_pixels() <= 4096) add_counts("pattern.npy", header.frame_rows, header.frame_columns);
  if (kind & 32) add_counts("bright_field.npy", header.scan_rows, header.scan_columns);
  return reference::write_zip(members);
}

// Runs the sequence on one backend and returns all that it said.
std::string play(const std::vector<Message>& messages, ComReduceOptions options, const Backend& backend) {
  options.backend = &backend;
  ComReducer reducer;
  std::string said;
  const auto say = [&](std::vector<ComEmission>& emissions) {
    for (const ComEmission& emission : emissions) {
      const std::string meta(emission.meta.data(), emission.meta.data() + emission.meta.size());
      const reference::Bytes data(emission.data.data(), emission.data.data() + emission.data.size());
      const reference::Value value = reference::JsonParser(meta).parse();
      const auto& shape = value.at("scan_shape").items;
      const auto arrays = reference::read_npz(data);
      const reference::NpyArray& com = arrays.at("com.npy");
      const auto& frame_shape = value.at("frame_shape").items;
      for (const auto& member : arrays) {
        if (member.first == "com.npy") continue;
        const reference::NpyArray& counts = member.second;
        const auto has_shape = [&](const auto& sides) {
          return counts.shape == std::vector<uint64_t>{static_cast<uint64_t>(sides[0].integer), static_cast<uint64_t>(sides[1].integer)};
        };
        require(counts.descr == "<u8" && (has_shape(shape) || has_shape(frame_shape)), "sums of counts: " + member.first);
      }
      require(com.shape == std::vector<uint64_t>{2, static_cast<uint64_t>(shape[0].integer),
                                                 static_cast<uint64_t>(shape[1].integer)},
              "shape");
      require(com.shape[1] * com.shape[2] == emission.positions, "positions");
      require(emission.positions_seen <= emission.positions && emission.messages >= 1 &&
                  emission.frames >= emission.messages,
              "counts");
      require(!(emission.complete && emission.evicted), "complete or evicted");
      said += meta + std::string(data.begin(), data.end());
    }
    emissions.clear();
  };
  std::vector<ComEmission> emissions;
  for (const Message& message : messages) {
    const size_t before = reducer.scans_under_way();
    const Status status = reducer.add(message.meta, message.data, options, fuzz::pool(), emissions);
    if (!status.ok()) {
      require(emissions.empty() && reducer.scans_under_way() == before, "a refused message changes nothing");
      require(!status.message.empty(), "a refusal has a message");
      said += status.message;
    }
    require(reducer.scans_under_way() <= options.max_concurrent_scans, "bounded");
    say(emissions);
  }
  reducer.flush(options, fuzz::pool(), emissions);
  require(reducer.scans_under_way() == 0, "flushed");
  say(emissions);
  return said;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  fuzz::Input input(bytes, size);
  ComReduceOptions options;
  const uint8_t flags = input.take<uint8_t>();
  options.include_headers = flags & 1;
  options.replace_nans = flags & 2;
  options.max_concurrent_scans = 1 + (flags >> 2 & 3);
  options.emit_every = static_cast<int8_t>(input.take<uint8_t>()) / 16;
  std::vector<Message> messages;
  while (input.left() > 0 && messages.size() < 12) {
    Message message;
    const uint8_t kind = input.take<uint8_t>();
    const uint16_t meta_size = input.take<uint16_t>(), data_size = input.take<uint16_t>();
    message.meta = input.take_bytes(meta_size);
    message.data = input.take_bytes(data_size);
    ComPositions positions;
    if (read_com_positions(message.meta, message.data, false, fuzz::pool(), positions).ok() &&
        positions.header.scan_positions() > fuzz::max_scan_positions) {
      continue;
    }
    BatchHeader header;
    if (decode_batch_header(HeaderFormat::json, message.meta, fuzz::pool(), header).ok()) {
      if (header.scan_positions() > fuzz::max_scan_positions) continue;
      if (kind & 1) message.data = archive_of(header, std::move(message.data), kind);
    }
    messages.push_back(std::move(message));
    // The same once more: positions that come back, scans that start anew.
    if (kind & 4) messages.push_back(messages.back());
  }
  const std::string first = play(messages, options, *fuzz::backends().front());
  for (const Backend* backend : fuzz::backends()) {
    require(play(messages, options, *backend) == first, std::string("backends agree: ") + backend->name);
  }
  return 0;
}
