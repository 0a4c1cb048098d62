// Runs a test on every backend that this machine supports.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "backend.h"

namespace helpers {

inline std::vector<const stemline::Backend*> supported_backends() {
  std::vector<const stemline::Backend*> supported;
  for (const stemline::Backend* backend : stemline::all_backends()) {
    if (backend->supported()) supported.push_back(backend);
  }
  return supported;
}

template <class Test>
void for_each_backend(Test test) {
  const std::vector<const stemline::Backend*> backends = supported_backends();
  REQUIRE(!backends.empty());
  for (const stemline::Backend* backend : backends) {
    INFO("backend ", std::string(backend->name));
    test(*backend);
  }
}

}  // namespace helpers
