// Benchmarks of the native core, on Google Benchmark, whose options it takes. See docs/benchmarks.md.
#include <benchmark/benchmark.h>

#include "case.h"
#include "machine.h"

int main(int argc, char** argv) {
  bench::register_limits();
  bench::register_center_of_mass();
  bench::register_wire();
  bench::register_operators();
  for (const auto& [name, value] : bench::machine_facts()) benchmark::AddCustomContext(name, value);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
