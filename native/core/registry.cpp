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

const Backend* find_backend(std::string_view name, std::string& why) {
  std::string names;
  for (const Backend* backend : backends) {
    if (name == backend->name) {
      if (backend->supported()) return backend;
      why = "backend \"" + std::string(name) + "\" needs instructions that this CPU does not have";
      return nullptr;
    }
    names += (names.empty() ? "" : ", ") + std::string(backend->name);
  }
  why = "backend \"" + std::string(name) + "\" is unknown; this build has " + names;
  return nullptr;
}

const Backend* default_backend(std::string& why) {
  // Read once: the choice must not change between two messages.
  static const std::string forced = [] {
    const char* value = std::getenv("STEMLINE_BACKEND");
    return std::string(value == nullptr ? "" : value);
  }();
  if (!forced.empty()) {
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
