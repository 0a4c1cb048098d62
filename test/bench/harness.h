// Measuring and reporting: candidates of one comparison take turns, so that noise of the machine hits all of them
// alike, and a candidate whose answer is wrong is never timed.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace bench {

struct Timing {
  double best = 0;    // seconds a call
  double median = 0;  // seconds a call
  double spread() const { return median / best - 1; }
};

struct Candidate {
  std::string name;
  std::function<void()> run;
  // Compares the results of a run() with a naive computation; says what is wrong, "" if nothing is. May be absent for
  // what is itself the naive computation.
  std::function<std::string()> check;
};

struct Column {
  std::string title;
  int digits = -1;  // after the point; -1: text
};

using Cell = std::variant<std::monostate, std::string, double>;

struct Section {
  std::string name;  // for choosing
  std::string title;
  std::vector<std::string> notes;
  std::vector<Column> columns;
  std::vector<std::vector<Cell>> rows;
};

// Spread from which a figure is marked as noisy.
inline constexpr double noisy_spread = 0.10;

class Harness {
 public:
  explicit Harness(double seconds_each) : seconds_each_(seconds_each) {}

  // Checks, then times all candidates, about seconds_each long each. Throws std::runtime_error for a wrong answer.
  std::vector<Timing> measure(std::span<const Candidate> candidates);

  // Cell text of a timing's spread, such as "3 %" or "25 % !".
  Cell spread_cell(const Timing& timing);

  size_t figures() const { return figures_; }
  size_t noisy_figures() const { return noisy_; }

 private:
  double seconds_each_;
  size_t figures_ = 0;
  size_t noisy_ = 0;
};

// Makes the compiler believe that memory reachable from `value` is read.
inline void keep(const void* value) { asm volatile("" : : "r"(value) : "memory"); }

using Facts = std::vector<std::pair<std::string, Cell>>;

void print_table(const Section& section);
void print_json(const Facts& facts, std::span<const Section> sections);

}  // namespace bench
