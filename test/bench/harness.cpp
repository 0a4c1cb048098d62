#include "harness.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <stdexcept>

namespace bench {

namespace {

using Clock = std::chrono::steady_clock;

// A sample is at least this long, far above the clock's own cost.
constexpr double sample_seconds = 200e-6;
constexpr size_t least_rounds = 9;
constexpr size_t most_rounds = 500;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double timed(const Candidate& candidate, size_t calls) {
  const Clock::time_point start = Clock::now();
  for (size_t i = 0; i < calls; ++i) candidate.run();
  return seconds_since(start) / static_cast<double>(calls);
}

std::string cell_text(const Cell& cell, int digits) {
  if (const auto* text = std::get_if<std::string>(&cell)) return *text;
  const auto* number = std::get_if<double>(&cell);
  if (number == nullptr) return "";
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", std::max(digits, 0), *number);
  return text;
}

std::string json_string(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) out += c;
  }
  return out + "\"";
}

std::string json_cell(const Cell& cell) {
  if (const auto* text = std::get_if<std::string>(&cell)) return json_string(*text);
  const auto* number = std::get_if<double>(&cell);
  if (number == nullptr || !std::isfinite(*number)) return "null";
  char text[64];
  std::snprintf(text, sizeof text, "%.6g", *number);
  return text;
}

template <class Items, class Text>
std::string json_list(const Items& items, Text text) {
  std::string out = "[";
  for (const auto& item : items) out += (out.size() > 1 ? "," : "") + text(item);
  return out + "]";
}

}  // namespace

std::vector<Timing> Harness::measure(std::span<const Candidate> candidates) {
  std::vector<size_t> calls;
  for (const Candidate& candidate : candidates) {
    candidate.run();
    if (candidate.check) {
      if (const std::string wrong = candidate.check(); !wrong.empty())
        throw std::runtime_error(candidate.name + ": " + wrong);
    }
    const double once = std::max(std::min(timed(candidate, 1), timed(candidate, 1)), 1e-9);
    calls.push_back(static_cast<size_t>(std::ceil(sample_seconds / once)));
  }
  std::vector<std::vector<double>> samples(candidates.size());
  const double budget = seconds_each_ * static_cast<double>(candidates.size());
  const Clock::time_point start = Clock::now();
  for (size_t round = 0; round < least_rounds || (round < most_rounds && seconds_since(start) < budget); ++round) {
    for (size_t i = 0; i < candidates.size(); ++i) {
      // The candidate before left its own data in the caches and its branches in the predictors.
      candidates[i].run();
      samples[i].push_back(timed(candidates[i], calls[i]));
    }
  }
  std::vector<Timing> timings;
  for (std::vector<double>& times : samples) {
    std::sort(times.begin(), times.end());
    timings.push_back({times.front(), times[times.size() / 2]});
  }
  return timings;
}

Cell Harness::spread_cell(const Timing& timing) {
  ++figures_;
  const bool noisy = timing.spread() > noisy_spread;
  if (noisy) ++noisy_;
  char text[32];
  std::snprintf(text, sizeof text, "%.0f %%%s", 100 * timing.spread(), noisy ? " !" : "");
  return std::string(text);
}

void print_table(const Section& section) {
  std::printf("\n%s\n", section.title.c_str());
  for (const std::string& note : section.notes) std::printf("  %s\n", note.c_str());
  std::vector<std::vector<std::string>> lines(1);
  std::vector<size_t> widths;
  for (const Column& column : section.columns) {
    lines[0].push_back(column.title);
    widths.push_back(column.title.size());
  }
  for (const std::vector<Cell>& row : section.rows) {
    std::vector<std::string> line;
    for (size_t i = 0; i < row.size(); ++i) {
      line.push_back(cell_text(row[i], section.columns[i].digits));
      widths[i] = std::max(widths[i], line.back().size());
    }
    lines.push_back(std::move(line));
  }
  for (size_t l = 0; l < lines.size(); ++l) {
    std::string text;
    for (size_t i = 0; i < lines[l].size(); ++i) {
      const std::string padding(widths[i] - lines[l][i].size(), ' ');
      text += "  " + (section.columns[i].digits < 0 ? lines[l][i] + padding : padding + lines[l][i]);
    }
    std::printf("%s\n", text.c_str());
    if (l == 0) std::printf("  %s\n", std::string(text.size() - 2, '-').c_str());
  }
  std::fflush(stdout);
}

void print_json(const Facts& facts, std::span<const Section> sections) {
  std::string out = "{\"machine\":{";
  for (const auto& [name, value] : facts)
    out += (out.back() == '{' ? "" : ",") + json_string(name) + ":" + json_cell(value);
  out += "},\"sections\":" + json_list(sections, [](const Section& section) {
           return "{\"name\":" + json_string(section.name) + ",\"title\":" + json_string(section.title) +
                  ",\"notes\":" + json_list(section.notes, json_string) + ",\"columns\":" +
                  json_list(section.columns,
                            [](const Column& column) {
                              return "{\"title\":" + json_string(column.title) + ",\"digits\":" +
                                     (column.digits < 0 ? std::string("null") : std::to_string(column.digits)) + "}";
                            }) +
                  ",\"rows\":" +
                  json_list(section.rows, [](const std::vector<Cell>& row) { return json_list(row, json_cell); }) + "}";
         });
  std::printf("%s}\n", out.c_str());
}

}  // namespace bench
