// Benchmarks of the native core. See docs/benchmarks.md.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>

#include "machine.h"
#include "sections.h"

namespace {

constexpr const char* usage =
    "stemline_bench [--json] [--seconds S] [--only NAME]...\n"
    "  --json       machine-readable output\n"
    "  --seconds S  measuring time of each figure, default 0.3\n"
    "  --only NAME  only this part: stream, kernels, headers, npz, partial, reduce\n";

using SectionFunction = bench::Section (*)(bench::Harness&);

constexpr std::pair<std::string_view, SectionFunction> all_sections[] = {
    {"stream", bench::bench_stream_read}, {"kernels", bench::bench_center_of_mass},
    {"headers", bench::bench_headers},    {"npz", bench::bench_npz},
    {"partial", bench::bench_partial},    {"reduce", bench::bench_reduce},
};

int fail(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  return 1;
}

int run(std::span<char*> arguments) {
  bool json = false;
  double seconds = 0.3;
  std::vector<SectionFunction> chosen;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view argument = arguments[i];
    const bool has_value = i + 1 < arguments.size();
    if (argument == "--json") {
      json = true;
    } else if (argument == "--seconds" && has_value) {
      seconds = std::atof(arguments[++i]);
      if (!(seconds > 0)) return fail("--seconds: expected a number above 0, got " + std::string(arguments[i]));
    } else if (argument == "--only" && has_value) {
      const std::string_view name = arguments[++i];
      const size_t before = chosen.size();
      for (const auto& [section, function] : all_sections) {
        if (section == name) chosen.push_back(function);
      }
      if (chosen.size() == before) return fail("--only: there is no part " + std::string(name) + "\n" + usage);
    } else {
      return fail(usage);
    }
  }
  if (chosen.empty()) {
    for (const auto& section : all_sections) chosen.push_back(section.second);
  }
  const bench::Facts facts = bench::machine_facts();
  if (!json) {
    for (const auto& [name, value] : facts) {
      const auto* number = std::get_if<double>(&value);
      std::printf(
          "%-15s %s\n", name.c_str(),
          number == nullptr ? std::get<std::string>(value).c_str() : std::to_string(static_cast<int>(*number)).c_str());
    }
  }
  bench::Harness harness(seconds);
  std::vector<bench::Section> sections;
  for (const SectionFunction section : chosen) {
    sections.push_back(section(harness));
    if (!json) bench::print_table(sections.back());
  }
  if (harness.noisy_figures() > 0) {
    std::fprintf(stderr,
                 "\nNoisy: the median of %zu of %zu figures is more than %.0f %% above the best (marked !). Close "
                 "other work and run again.\n",
                 harness.noisy_figures(), harness.figures(), 100 * bench::noisy_spread);
  }
  if (json) bench::print_json(facts, sections);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv + 1, static_cast<size_t>(argc - 1)});
  } catch (const std::exception& error) {
    return fail(std::string("stemline_bench: ") + error.what());
  }
}
