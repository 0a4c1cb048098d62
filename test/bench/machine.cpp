#include "machine.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <thread>

#include "backend.h"

namespace bench {

namespace {

std::string first_line(const char* path) {
  std::string line;
  std::getline(std::ifstream(path), line);
  return line;
}

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  std::string line, model, family, number, implementer, part;
  while (std::getline(file, line) && !line.empty()) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos || colon + 2 > line.size()) continue;
    const std::string value = line.substr(colon + 2);
    if (line.starts_with("model name"))
      model = value;
    else if (line.starts_with("cpu family"))
      family = value;
    else if (line.starts_with("model"))
      number = value;
    else if (line.starts_with("CPU implementer"))
      implementer = value;
    else if (line.starts_with("CPU part"))
      part = value;
  }
  if (!model.empty()) return model + " (family " + family + ", model " + number + ")";
  if (!part.empty()) return "implementer " + implementer + ", part " + part;
  return "unknown";
}

size_t cache_size(int level, size_t otherwise) {
  for (int index = 0; index < 8; ++index) {
    const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) + "/";
    if (first_line((folder + "level").c_str()) != std::to_string(level)) continue;
    if (first_line((folder + "type").c_str()) == "Instruction") continue;
    const std::string size = first_line((folder + "size").c_str());  // such as 1024K
    const size_t number = std::strtoul(size.c_str(), nullptr, 10);
    if (number > 0) return number << (size.ends_with('M') ? 20 : 10);
  }
  return otherwise;
}

std::string load_average() {
  double minutes_1 = 0, minutes_5 = 0, minutes_15 = 0;
  std::ifstream("/proc/loadavg") >> minutes_1 >> minutes_5 >> minutes_15;
  char text[64];
  std::snprintf(text, sizeof text, "%.2f, %.2f, %.2f", minutes_1, minutes_5, minutes_15);
  return text;
}

std::string now_utc() {
  const std::time_t now = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", std::gmtime(&now));
  return text;
}

std::string backend_names() {
  std::string names;
  for (const stemline::Backend* backend : stemline::all_backends()) {
    names +=
        (names.empty() ? "" : ", ") + std::string(backend->name) + (backend->supported() ? "" : " (not on this CPU)");
  }
  return names;
}

}  // namespace

CacheSizes cache_sizes() {
  static const CacheSizes sizes{cache_size(2, size_t{1} << 20), cache_size(3, size_t{32} << 20)};
  return sizes;
}

std::string memory_level(size_t bytes) {
  // A cache never holds its whole size of one array: others live there too.
  if (bytes <= cache_sizes().l2 / 4 * 3) return "L2";
  if (bytes <= cache_sizes().l3 / 4 * 3) return "L3";
  return "DRAM";
}

Facts machine_facts() {
  utsname system{};
  uname(&system);
  std::string huge_pages = first_line("/sys/kernel/mm/transparent_hugepage/enabled");
  const auto kib = [](size_t bytes) { return std::to_string(bytes >> 10) + " KiB"; };
  return {
      {"date", now_utc()},
      {"cpu", cpu_model()},
      {"cores", static_cast<double>(std::thread::hardware_concurrency())},
      {"caches", "L2 " + kib(cache_sizes().l2) + " a core, L3 " + kib(cache_sizes().l3)},
      {"system", std::string(system.sysname) + " " + system.release + " " + system.machine},
      {"huge pages", huge_pages.empty() ? "unknown" : huge_pages},
      {"load average", load_average()},
      {"compiler", STEMLINE_BENCH_COMPILER},
      {"build", STEMLINE_BENCH_BUILD},
      {"flags", STEMLINE_BENCH_FLAGS},
      {"backends", backend_names()},
      {"stream read by", stream_read_unit()},
  };
}

}  // namespace bench
