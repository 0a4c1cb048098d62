#include <algorithm>
#include <array>
#include <cstdlib>

#include "backend.h"

namespace stemline {

namespace {

#if defined(__x86_64__)
constexpr std::array<const Backend*, 3> backends{&avx512_backend, &avx2_backend, &scalar_backend};
#elif defined(__aarch64__)
constexpr std::array<const Backend*, 2> backends{&neon_backend, &scalar_backend};
#else
constexpr std::array<const Backend*, 1> backends{&scalar_backend};
#endif

}  // namespace

std::span<const Backend* const> all_backends() { return backends; }

bool is_backend_choice(std::string_view name) {
  return std::find(backend_choices.begin(), backend_choices.end(), name) != backend_choices.end();
}

const Backend* find_backend(std::string_view name, std::string& why) {
  std::string names;
  for (const Backend* backend : backends) {
    if (name == backend->name) {
      if (backend->supported()) return backend;
      why = "backend \"" + std::string(name) + "\" needs instructions that this CPU does not have";
      return nullptr;
    }
    names += std::string(backend->name) + ", ";
  }
  for (const std::string_view choice : backend_choices) names += std::string(choice) + (choice == backend_choices.back() ? "" : ", ");
  why = "backend \"" + std::string(name) + "\" is unknown; expected one of " + names;
  return nullptr;
}

const Backend* default_backend(std::string& why) {
  // Read once: the choice must not change between two messages.
  static const std::string forced = [] {
    const char* value = std::getenv("STEMLINE_BACKEND");
    return std::string(value == nullptr ? "" : value);
  }();
  if (!forced.empty() && !is_backend_choice(forced)) {
    const Backend* backend = find_backend(forced, why);
    if (backend == nullptr) why = "STEMLINE_BACKEND: " + why;
    return backend;
  }
  for (const Backend* backend : backends) {
    if (backend->supported()) return backend;
  }
  return &scalar_backend;
}

}  // namespace stemline
