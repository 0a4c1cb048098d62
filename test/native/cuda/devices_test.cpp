#include "library.h"

#include <algorithm>
#include <cstring>
#include <iostream>
#include <vector>

using namespace cuda_test;

namespace {

struct Devices {
  int32_t result;
  size_t count = 77;
  StemlineCudaVersions versions{-1, -1};
  std::string reason;
  std::vector<StemlineCudaDevice> devices;
};

constexpr char guard = 0x5a;

// Room for `capacity` devices and a reason of `reason_size` bytes, both followed by bytes that must stay as they are.
Devices ask_devices(size_t capacity, size_t reason_size) {
  Devices answer;
  std::vector<char> devices((capacity + 1) * sizeof(StemlineCudaDevice), guard), reason(reason_size + 64, guard);
  auto* const query = CUDA_FUNCTION(stemline_cuda_devices);
  answer.result = query(capacity == 0 ? nullptr : reinterpret_cast<StemlineCudaDevice*>(devices.data()), capacity, &answer.count,
                        &answer.versions, reason.data(), reason_size);
  const size_t written = std::min(answer.count, capacity) * sizeof(StemlineCudaDevice);
  const auto is_guard = [](char byte) { return byte == guard; };
  CHECK(std::all_of(devices.begin() + static_cast<ptrdiff_t>(written), devices.end(), is_guard));
  CHECK(std::all_of(reason.begin() + static_cast<ptrdiff_t>(reason_size), reason.end(), is_guard));
  if (answer.result == STEMLINE_CUDA_OK) {
    CHECK(std::all_of(reason.begin(), reason.end(), is_guard));
    answer.devices.resize(std::min(answer.count, capacity));
    std::memcpy(answer.devices.data(), devices.data(), written);
  } else if (reason_size > 0) {
    const auto end = std::find(reason.begin(), reason.begin() + static_cast<ptrdiff_t>(reason_size), '\0');
    REQUIRE(end != reason.begin() + static_cast<ptrdiff_t>(reason_size));
    answer.reason.assign(reason.begin(), end);
  }
  return answer;
}

}  // namespace

TEST_CASE("the version is that of the header") {
  CHECK(CUDA_FUNCTION(stemline_cuda_abi_version)() == STEMLINE_CUDA_ABI_VERSION);
}

TEST_CASE("nothing but the functions of the header is offered") {
  CHECK(symbol("cudaGetDeviceCount") == nullptr);
}

TEST_CASE("devices or the reason why there are none") {
  const Devices answer = ask_devices(16, 512);
  CHECK(answer.versions.runtime > 0);
  if (answer.result == STEMLINE_CUDA_OK) {
    REQUIRE(answer.count > 0);
    CHECK(answer.versions.driver >= answer.versions.runtime / 1000 * 1000);
    for (const StemlineCudaDevice& device : answer.devices) {
      CHECK(device.name[0] != '\0');
      CHECK(std::strchr(device.pci_bus_id, ':') != nullptr);
      CHECK(device.compute_major >= 7);
      CHECK(device.total_memory > uint64_t{1} << 28);
      std::cout << "device: " << device.name << "\n";
    }
  } else {
    std::cout << "no device: " << answer.reason << "\n";
    CHECK(answer.count == 0);
    CHECK(answer.reason.size() > 10);
    CHECK(answer.result >= STEMLINE_CUDA_DRIVER_MISSING);
    CHECK(answer.result <= STEMLINE_CUDA_FAILED);
    CHECK((answer.result == STEMLINE_CUDA_DRIVER_MISSING) == (answer.versions.driver == 0));
  }
}

TEST_CASE("a driver that is too old, and one without devices, are told apart") {
  const char* const expected = std::getenv("STEMLINE_TEST_RESULT");
  if (expected == nullptr) return;  // the machine's own driver, or none: the test above
  const Devices answer = ask_devices(16, 512);
  CHECK(answer.result == std::atoi(expected));
  CHECK(answer.versions.driver == std::atoi(std::getenv("STEMLINE_FAKE_DRIVER")));
  const bool too_old = answer.result == STEMLINE_CUDA_DRIVER_TOO_OLD;
  CHECK((answer.reason.find("runs CUDA up to 12.4, ") != std::string::npos) == too_old);
  CHECK((answer.reason.find("cudaErrorNoDevice") != std::string::npos) == !too_old);
}

TEST_CASE("arrays of any size are respected") {
  const Devices whole = ask_devices(16, 512);
  for (const size_t capacity : {0, 1, 2}) {
    for (const size_t reason_size : {0, 1, 2, 20}) {
      CAPTURE(capacity);
      CAPTURE(reason_size);
      const Devices answer = ask_devices(capacity, reason_size);
      CHECK(answer.result == whole.result);
      CHECK(answer.count == whole.count);
      CHECK(answer.versions.driver == whole.versions.driver);
      CHECK(answer.reason == whole.reason.substr(0, reason_size == 0 ? 0 : reason_size - 1));
    }
  }
}
