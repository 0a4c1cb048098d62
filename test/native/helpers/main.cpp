#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdlib>
#include <iostream>

#include "backends.h"
#include "random.h"

// Says what runs, and refuses to pass when nothing or less than STEMLINE_TEST_REQUIRE (a comma-separated list) would.
int main(int argc, char** argv) {
  std::cout << "STEMLINE_TEST_SEED=" << helpers::base_seed() << "\nbackends:";
  const char* required = std::getenv("STEMLINE_TEST_REQUIRE");
  std::string missing = required == nullptr ? "" : "," + std::string(required) + ",";
  size_t usable = 0;
  for (const stemline::Backend* backend : stemline::all_backends()) {
    const bool supported = backend->supported();
    std::cout << " " << backend->name << (supported ? "" : " (SKIPPED: not supported by this CPU)");
    if (!supported) continue;
    ++usable;
    const size_t found = missing.find("," + std::string(backend->name) + ",");
    if (found != std::string::npos) missing.erase(found, std::string(backend->name).size() + 1);
  }
  std::cout << std::endl;
  if (usable == 0) {
    std::cerr << "no backend can run on this CPU" << std::endl;
    return 1;
  }
  if (missing.size() > 1) {
    std::cerr << "STEMLINE_TEST_REQUIRE: cannot test" << missing << std::endl;
    return 1;
  }
  doctest::Context context;
  context.applyCommandLine(argc, argv);
  return context.run();
}
