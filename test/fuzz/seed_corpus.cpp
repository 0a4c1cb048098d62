// Writes the fuzzers' first inputs from the recorded messages: seed_corpus GOLDEN_FOLDER CORPUS_FOLDER
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "reference/com_positions.h"
#include "reference/event_counts.h"
#include "reference/npz.h"

namespace fs = std::filesystem;
using reference::Bytes;

namespace {

Bytes read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void put(Bytes& out, uint64_t value, unsigned width) {
  for (unsigned i = 0; i < width; ++i) out.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

void append(Bytes& out, const Bytes& more) { out.insert(out.end(), more.begin(), more.end()); }

size_t write_file(const fs::path& folder, const Bytes& bytes) {
  fs::create_directories(folder);
  // By content, so that a second run adds nothing.
  uint64_t hash = 14695981039346656037u;
  for (const uint8_t byte : bytes) hash = (hash ^ byte) * 1099511628211u;
  std::ofstream file(folder / std::to_string(hash), std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: seed_corpus GOLDEN_FOLDER CORPUS_FOLDER\n");
    return 2;
  }
  const fs::path golden = argv[1], corpus = argv[2];
  size_t partial = 0, reduce = 0;
  for (const fs::directory_entry& batch : fs::directory_iterator(golden / "batches")) {
    const Bytes meta = read_file(batch.path() / "part1.msgpack"), data = read_file(batch.path() / "part2.bin");
    if (meta.empty() || meta.size() + data.size() > 6000) continue;
    // Options: none; a box of its own centre; a disk with a centre, NaN replaced, frames dropped.
    for (const uint8_t flags : {0, 1, 31}) {
      Bytes input;
      put(input, 0, 1);
      put(input, flags, 1);
      for (int coordinate = (flags & 1 ? 2 : 0) + (flags & 2 ? 2 : 0); coordinate > 0; --coordinate) put(input, 10, 2);
      put(input, 0, 1);
      put(input, meta.size(), 4);
      append(input, meta);
      append(input, data);
      partial += write_file(corpus / "center_of_mass_partial", input);
    }
    const fs::path results = batch.path() / "partial";
    if (!fs::exists(results)) continue;
    for (const fs::directory_entry& result : fs::directory_iterator(results)) {
      const Bytes json = read_file(result.path() / "part1.json"), npz = read_file(result.path() / "part2.npz");
      if (json.empty() || json.size() + npz.size() > 6000) continue;
      // The recorded archive, then values to make one of.
      Bytes input;
      put(input, 7, 1);
      put(input, 16, 1);
      put(input, 4, 1);
      put(input, json.size(), 2);
      put(input, npz.size(), 2);
      append(input, json);
      append(input, npz);
      put(input, 3, 1);
      put(input, json.size(), 2);
      put(input, 8, 2);
      append(input, json);
      append(input, {0, 0, 128, 63, 0, 0, 32, 65});
      reduce += write_file(corpus / "center_of_mass_reduce", input);
    }
  }
  // The form that has positions alone: with one list of modules and without numbers, with numbers, with all columns.
  for (int kind = 0; kind < 3; ++kind) {
    reference::Batch batch;
    batch.scan_rows = 3;
    batch.scan_columns = 2;
    batch.frame_rows = batch.frame_columns = 8;
    for (int i = 0; i < 5; ++i) {
      reference::Frame frame;
      frame.row = i % 3;
      frame.column = i % 2;
      if (i > 0) frame.events = {9, static_cast<double>(10 * i)};
      if (kind > 0) frame.frame_number = 10 - i;
      if (kind > 1 && i % 2 == 1) frame.frame_number = -i;
      if (kind > 1 && i == 2) frame.modules = {1};
      batch.frames.push_back(std::move(frame));
    }
    const reference::ComPositionsMessage message = com_positions(batch, center_of_mass(batch, {}));
    const std::string meta = reference::json_text(message.meta);
    // Headers are asked for, every message is emitted.
    Bytes input{7, 16};
    for (int repeat = 0; repeat < 2; ++repeat) {
      put(input, 0, 1);
      put(input, meta.size(), 2);
      put(input, message.data.size(), 2);
      append(input, {meta.begin(), meta.end()});
      append(input, message.data);
    }
    reduce += write_file(corpus / "center_of_mass_reduce", input);
  }
  // Analyses: a scan in two messages, then one with a detector less, and the same made of values.
  {
    reference::Batch batch;
    batch.scan_rows = 2;
    batch.scan_columns = 3;
    batch.frame_rows = 4;
    batch.frame_columns = 8;
    for (int i = 0; i < 4; ++i) {
      reference::Frame frame;
      frame.row = i % 2;
      frame.column = i % 3;
      frame.events = {9, static_cast<double>(7 * i), 31};
      batch.frames.push_back(std::move(frame));
    }
    const std::vector<reference::Detector> detectors{{"bright_field", true, 1, 3, 0, 2, {}}, {"dark_field", true, 1, 3, 2, 9, {}}};
    const reference::ComArrays com = center_of_mass(batch, {});
    const reference::EventCounts counts = count_events(batch, detectors);
    const auto scan_shaped = [](const std::vector<uint32_t>& values) { return write_npy(reference::npy_array("<u4", {2, 3}, values)); };
    std::vector<std::pair<std::string, Bytes>> members{{"com.npy", write_npy(reference::npy_array("<f4", {2, 2, 3}, com.com))},
                                                       {"count.npy", scan_shaped(com.count)},
                                                       {"events.npy", scan_shaped(counts.events)},
                                                       {"pattern.npy", write_npy(reference::npy_array("<u4", {4, 8}, counts.pattern))},
                                                       {"bright_field.npy", scan_shaped(counts.detectors[0])},
                                                       {"dark_field.npy", scan_shaped(counts.detectors[1])}};
    const std::string meta = reference::json_text(batch_value(batch));
    Bytes input{6, 16};
    const auto put_message = [&](uint8_t kind, const Bytes& data) {
      put(input, kind, 1);
      put(input, meta.size(), 2);
      put(input, data.size(), 2);
      append(input, {meta.begin(), meta.end()});
      append(input, data);
    };
    put_message(4, reference::write_zip(members));
    members.pop_back();
    put_message(0, reference::write_zip(members));
    reduce += write_file(corpus / "center_of_mass_reduce", input);
    input = {6, 16};
    put_message(1 | 2 | 4 | 8 | 16 | 32, {0, 0, 128, 63, 0, 0, 32, 65});
    put_message(1 | 2 | 8 | 32, {255, 255, 255, 255});
    reduce += write_file(corpus / "center_of_mass_reduce", input);
  }
  // Steers the generator of batches.
  for (uint32_t seed = 1; seed <= 30; ++seed) {
    Bytes input{1};
    uint32_t state = seed * 2654435761u;
    for (uint32_t i = 0; i < 100 * seed; ++i) {
      state = state * 1664525u + 1013904223u;
      input.push_back(static_cast<uint8_t>(state >> 24));
    }
    partial += write_file(corpus / "center_of_mass_partial", input);
  }
  for (const fs::directory_entry& reduction : fs::directory_iterator(golden / "reduce")) {
    if (!reduction.is_directory()) continue;
    // A whole sequence in one input.
    Bytes input;
    put(input, 7, 1);
    put(input, 32, 1);
    for (int step = 0; step < 12; ++step) {
      char name[8];
      std::snprintf(name, sizeof name, "in%02d", step);
      const Bytes json = read_file(reduction.path() / name / "part1.json"),
                  npz = read_file(reduction.path() / name / "part2.npz");
      if (json.empty() || json.size() > 65535 || npz.size() > 65535 || input.size() + json.size() + npz.size() > 8000)
        break;
      put(input, 0, 1);
      put(input, json.size(), 2);
      put(input, npz.size(), 2);
      append(input, json);
      append(input, npz);
    }
    if (input.size() > 2) reduce += write_file(corpus / "center_of_mass_reduce", input);
  }
  std::printf("%zu inputs for center_of_mass_partial, %zu for center_of_mass_reduce\n", partial, reduce);
  return partial > 30 && reduce > 20 ? 0 : 1;
}
