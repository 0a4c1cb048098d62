#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <iostream>

#include "helpers/random.h"
#include "library.h"

namespace cuda_test {

bool have_device() {
  static const bool found = [] {
    size_t count = 0;
    StemlineCudaVersions versions;
    const Answer answer = ask([&](char* reason, size_t size) {
      return CUDA_FUNCTION(stemline_cuda_devices)(nullptr, 0, &count, &versions, reason, size);
    });
    if (answer.result == STEMLINE_CUDA_OK) return true;
    std::cout << "SKIPPED batches: " << answer.reason << std::endl;
    return false;
  }();
  return found;
}

bool have_faults() {
  if (!have_device()) return false;
  static const bool found = [] {
    StemlineCudaContext* context = nullptr;
    char reason[512];
    setenv("STEMLINE_CUDA_HOST_FAULT", "cudaSetDevice:1:1", 1);
    const int32_t result = CUDA_FUNCTION(stemline_cuda_create)(0, 1, &context, reason, sizeof reason);
    unsetenv("STEMLINE_CUDA_HOST_FAULT");
    if (result != STEMLINE_CUDA_OK) return true;
    CUDA_FUNCTION(stemline_cuda_destroy)(context);
    std::cout << "SKIPPED failures: built without faults" << std::endl;
    return false;
  }();
  return found;
}

}  // namespace cuda_test

int main(int argc, char** argv) {
  std::cout << "STEMLINE_TEST_SEED=" << helpers::base_seed() << "\nlibrary: " << cuda_test::library_path() << std::endl;
  doctest::Context context;
  context.applyCommandLine(argc, argv);
  return context.run();
}
