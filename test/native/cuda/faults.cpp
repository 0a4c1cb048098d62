#include "faults.h"

#include <cstdlib>
#include <mutex>
#include <string>

namespace stemline::cuda {

namespace {

struct Plan {
  std::string text;
  std::string function;
  long nth = 0;
  cudaError_t code = cudaSuccess;
  bool sticky = false;

  long calls = 0;
  bool failed = false;

  explicit Plan(const std::string& variable) : text(variable) {
    size_t at = 0;
    const auto field = [&] {
      const size_t end = std::min(text.find(':', at), text.size());
      const std::string part = text.substr(at, end - at);
      at = std::min(end + 1, text.size());
      return part;
    };
    function = field();
    nth = std::atol(field().c_str());
    code = static_cast<cudaError_t>(std::atoi(field().c_str()));
    sticky = field() == "sticky";
  }

  cudaError_t next(const char* called) {
    if (failed && sticky) return code;
    if (function != "*" && function != called) return cudaSuccess;
    if (++calls != nth) return cudaSuccess;
    failed = true;
    return code;
  }
};

}  // namespace

cudaError_t next_fault(const char* function) {
  static std::mutex mutex;
  static Plan plan("");
  const char* const variable = std::getenv("STEMLINE_CUDA_HOST_FAULT");
  const std::lock_guard<std::mutex> lock(mutex);
  if (plan.text != (variable == nullptr ? "" : variable)) plan = Plan(variable == nullptr ? "" : variable);
  return plan.next(function);
}

}  // namespace stemline::cuda
