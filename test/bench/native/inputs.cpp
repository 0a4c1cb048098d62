// Writes messages of the benchmarks to files, so that other languages are given the same.
//   stemline_bench_inputs FOLDER KEY...
// KEY is one of
//   real/EVENTS/SIDE, small/EVENTS/SIDE, paired/EVENTS/SIDE, scan/EVENTS/SIDE/INDEX   messages of a scan of SIDE x SIDE
//   com/EVENTS/LEVEL                                                                 events as the kernels get them
// Each gives NAME.events, NAME.counts and NAME.positions, uint32, and NAME.meta, MessagePack, in which NAME is the key
// with dashes; com also NAME.none and NAME.box, the naive sums of each frame: rows, columns and events kept, uint64.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>

#include "message.h"

namespace {

using bench::MessagePlan;

std::optional<MessagePlan> plan_of(const std::string& key) {
  unsigned events = 0, side = 0, index = 0;
  char level[8] = "";
  if (std::sscanf(key.c_str(), "real/%u/%u", &events, &side) == 2) return bench::real_message(events, side);
  if (std::sscanf(key.c_str(), "small/%u/%u", &events, &side) == 2) return bench::small_message(events, side);
  if (std::sscanf(key.c_str(), "paired/%u/%u", &events, &side) == 2) return bench::paired_message(events, side);
  if (std::sscanf(key.c_str(), "scan/%u/%u/%u", &events, &side, &index) == 3)
    return bench::scan_message(events, side, index);
  if (std::sscanf(key.c_str(), "com/%u/%7s", &events, level) == 2) {
    for (const bench::Level one : {bench::Level::l2, bench::Level::l3, bench::Level::dram}) {
      if (bench::level_name(one) == level) return bench::message_in(one, events);
    }
  }
  return std::nullopt;
}

template <class T>
bool write(const std::string& path, const std::vector<T>& items) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(items.data()), static_cast<std::streamsize>(sizeof(T) * items.size()));
  return file.good();
}

int fail(const std::string& message) {
  std::fprintf(stderr, "stemline_bench_inputs: %s\n", message.c_str());
  return EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 2; i < argc; ++i) {
    std::string name = argv[i];
    const bool for_kernels = name.starts_with("com/");
    const std::optional<MessagePlan> plan = plan_of(name);
    if (!plan) return fail("no such message: " + name);
    for (char& letter : name) letter = letter == '/' ? '-' : letter;
    const bench::Message message = bench::make_message(*plan);
    const std::string path = std::string(argv[1]) + "/" + name;
    if (!write(path + ".events", message.events) || !write(path + ".counts", message.counts) ||
        !write(path + ".positions", message.positions) || !write(path + ".meta", message.meta))
      return fail("cannot write " + path);
    if (!for_kernels) continue;
    for (const bench::Crop crop : {bench::Crop::none, bench::Crop::box}) {
      std::vector<bench::NaiveSums> sums;
      bench::naive_frame_sums(message, message.counts, crop, sums);
      if (!write(path + "." + bench::crop_name(crop), sums)) return fail("cannot write " + path);
    }
  }
  return EXIT_SUCCESS;
}
