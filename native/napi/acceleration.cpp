#include "acceleration.h"

#include <algorithm>
#include <charconv>
#include <chrono>

#include "../core/backend.h"
#include "convert.h"

namespace stemline {

Acceleration& Acceleration::process() {
  // Never destroyed: at exit, other threads may still compute, and the driver goes its own way.
  static Acceleration& acceleration = *new Acceleration();
  return acceleration;
}

void Acceleration::configure(Settings settings) {
  const std::lock_guard lock(mutex_);
  settings_ = std::move(settings);
}

CudaAccelerator* Acceleration::start() {
  if (!over_.load(std::memory_order_acquire)) {
    const std::lock_guard lock(starting_);
    if (!over_.load(std::memory_order_relaxed)) open();
  }
  return accelerator_.get();
}

const Acceleration::Report* Acceleration::report() const { return over_.load(std::memory_order_acquire) ? &report_ : nullptr; }

void Acceleration::open() {
  {
    const std::lock_guard lock(mutex_);
    report_.settings = settings_;
  }
  if (report_.settings.mode != Mode::cpu) open_device();
  report_.accelerator = accelerator_.get();
  over_.store(true, std::memory_order_release);
}

void Acceleration::open_device() {
  const Settings& settings = report_.settings;
  library_ = std::make_unique<CudaLibrary>(settings.library);
  report_.status = library_->status();
  if (report_.status.reason != nullptr) return;
  const auto fail = [&](const char* reason, const std::string& message) {
    report_.status.reason = reason;
    report_.status.message = settings.library + ": " + message;
  };
  const size_t count = report_.status.devices.size();
  size_t device = settings.replica % count;
  if (!settings.device.empty()) {
    const char* const end = settings.device.data() + settings.device.size();
    const auto [parsed, error] = std::from_chars(settings.device.data(), end, device);
    if (error != std::errc{} || parsed != end || device >= count) {
      return fail("no-such-device", "STEMLINE_CUDA_DEVICE: expected a whole number from 0 to " + std::to_string(count - 1) + ", got \"" +
                                        settings.device + "\"");
    }
  }
  report_.device = device;

  const auto begin = std::chrono::steady_clock::now();
  const Status status = CudaAccelerator::create(library_->functions(), static_cast<int32_t>(device), accelerator_);
  report_.start_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  if (!status.ok()) return fail("failed", status.message);
  std::string why;
  const Backend* const cpu = default_backend(why);
  if (settings.mode != Mode::automatic || cpu == nullptr) return;

  accelerator_->calibrate(*cpu, buffer_pool());
  report_.calibration = accelerator_->calibration();
  report_.calibration_ms = accelerator_->calibration_ms();
  const auto chosen = [](const CalibrationPoint& point) { return point.device_chosen; };
  if (std::any_of(report_.calibration.begin(), report_.calibration.end(), chosen)) return;
  const CudaAccelerator::Figures figures = accelerator_->figures();
  // Memory of the device that nothing is going to use.
  accelerator_.reset();
  if (figures.failures > 0) return fail("failed", figures.failure);
  fail("slower", "the CPU is faster at everything that was compared");
}

}  // namespace stemline
