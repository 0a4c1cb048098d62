#include "machine.h"

#include <sys/utsname.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <thread>

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

struct CacheSize {
  size_t bytes;
  bool assumed;
  std::string text() const { return std::to_string(bytes >> 10) + " KiB" + (assumed ? " (assumed)" : ""); }
};

// As the kernel tells it; a virtual machine may hide it.
CacheSize cache_size(int level, size_t otherwise) {
  for (int index = 0; index < 8; ++index) {
    const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) + "/";
    if (first_line((folder + "level").c_str()) != std::to_string(level)) continue;
    if (first_line((folder + "type").c_str()) == "Instruction") continue;
    const std::string size = first_line((folder + "size").c_str());  // such as 1024K
    const size_t number = std::strtoul(size.c_str(), nullptr, 10);
    if (number > 0) return {number << (size.ends_with('M') ? 20 : 10), false};
  }
  return {otherwise, true};
}

struct CacheSizes {
  CacheSize l1, l2, l3;
};

const CacheSizes& cache_sizes() {
  static const CacheSizes sizes{cache_size(1, size_t{32} << 10), cache_size(2, size_t{1} << 20),
                                cache_size(3, size_t{32} << 20)};
  return sizes;
}

std::string load_average() {
  double minutes_1 = 0, minutes_5 = 0, minutes_15 = 0;
  std::ifstream("/proc/loadavg") >> minutes_1 >> minutes_5 >> minutes_15;
  char text[64];
  std::snprintf(text, sizeof text, "%.2f, %.2f, %.2f", minutes_1, minutes_5, minutes_15);
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

const char* compiler() { return STEMLINE_BENCH_COMPILER; }

std::string level_name(Level level) {
  switch (level) {
    case Level::l1: return "l1";
    case Level::l2: return "l2";
    case Level::l3: return "l3";
    case Level::dram: return "dram";
  }
  return "";
}

size_t level_bytes(Level level) {
  const CacheSizes& caches = cache_sizes();
  switch (level) {
    case Level::l1: return caches.l1.bytes / 2;
    case Level::l2: return caches.l2.bytes / 2;
    // Others have their share of the L3; half of it is the most that one array keeps.
    case Level::l3: return std::min(std::max(4 * caches.l2.bytes, size_t{4} << 20), caches.l3.bytes / 2);
    case Level::dram: return std::max(4 * caches.l3.bytes, size_t{128} << 20);
  }
  return 0;
}

std::vector<const stemline::Backend*> usable_backends() {
  std::vector<const stemline::Backend*> backends;
  for (const stemline::Backend* backend : stemline::all_backends()) {
    if (backend->supported()) backends.push_back(backend);
  }
  return backends;
}

std::vector<std::pair<std::string, std::string>> machine_facts() {
  utsname system{};
  uname(&system);
  const std::string huge_pages = first_line("/sys/kernel/mm/transparent_hugepage/enabled");
  const CacheSizes& caches = cache_sizes();
  return {
      {"cpu", cpu_model()},
      {"cores", std::to_string(std::thread::hardware_concurrency())},
      {"caches", "L1 " + caches.l1.text() + " and L2 " + caches.l2.text() + " a core, L3 " + caches.l3.text()},
      {"system", std::string(system.sysname) + " " + system.release + " " + system.machine},
      {"hugePages", huge_pages.empty() ? "unknown" : huge_pages},
      {"loadAverage", load_average()},
      {"compiler", compiler()},
      {"build", STEMLINE_BENCH_BUILD},
      {"flags", STEMLINE_BENCH_FLAGS},
      {"backends", backend_names()},
      {"streamReadBy", stream_read_unit()},
  };
}

}  // namespace bench
