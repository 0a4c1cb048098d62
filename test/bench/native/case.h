// A case is one named benchmark: its inputs are made when it is first wanted, and its answer is checked before it is
// timed.
#pragma once

#include <functional>
#include <string>

namespace bench {

// What one run works on. Figures are told by these; 0 where the word has no meaning.
struct Amount {
  double frames = 0;
  double events = 0;
  double bytes = 0;  // read by what reads its input once; written by what only writes
};

struct Case {
  Amount amount;
  std::function<void()> run;
  // Compares the results of a run() with a naive computation; says what is wrong, "" if nothing is. Absent for what is
  // itself the naive computation.
  std::function<std::string()> check;
};

// Registers a benchmark with the library. `make` is called when it first runs, once for each thread. A wrong answer
// ends the program. With two threads or more the library adds "/threads:N" to the name.
void register_case(const std::string& name, std::function<Case()> make, int threads = 1);

// Makes the compiler believe that memory reachable from `value` is read.
inline void keep(const void* value) { asm volatile("" : : "r"(value) : "memory"); }

// One function a file.
void register_limits();
void register_center_of_mass();
void register_wire();
void register_operators();

}  // namespace bench
