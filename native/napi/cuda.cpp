#include "acceleration.h"
#include "convert.h"
#include "error.h"
#include "exports.h"
#include "job.h"

namespace stemline {

namespace {

Napi::Object to_js(Napi::Env env, const StemlineCudaDevice& device) {
  Napi::Array capability = Napi::Array::New(env, 2);
  capability.Set(0u, device.compute_major);
  capability.Set(1u, device.compute_minor);
  Napi::Object object = Napi::Object::New(env);
  object.Set("name", text_of(device.name));
  object.Set("pciBusId", text_of(device.pci_bus_id));
  object.Set("computeCapability", capability);
  object.Set("memoryBytes", static_cast<double>(device.total_memory));
  return object;
}

Napi::Object to_js(Napi::Env env, const std::string& library, const CudaStatus& status) {
  Napi::Array devices = Napi::Array::New(env, status.devices.size());
  for (size_t i = 0; i < status.devices.size(); ++i) devices.Set(static_cast<uint32_t>(i), to_js(env, status.devices[i]));
  Napi::Object object = Napi::Object::New(env);
  object.Set("library", library);
  object.Set("reason", status.reason == nullptr ? env.Null() : Napi::Value(Napi::String::New(env, status.reason)));
  object.Set("message", status.message);
  object.Set("driverVersion", status.versions.driver);
  object.Set("runtimeVersion", status.versions.runtime);
  object.Set("devices", devices);
  return object;
}

const char* operation_name(BatchOperation operation) {
  switch (operation) {
    case BatchOperation::no_crop: return "no-crop";
    case BatchOperation::fixed_crop: return "fixed-crop";
    case BatchOperation::own_center_crop: return "own-center-crop";
    case BatchOperation::analysis: break;
  }
  return "analysis";
}

Napi::Object to_js(Napi::Env env, const Acceleration::Report& report) {
  Napi::Array calibration = Napi::Array::New(env);
  for (const CalibrationPoint& point : report.calibration) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("operation", operation_name(point.operation));
    object.Set("events", static_cast<double>(point.events));
    object.Set("cpuMs", point.cpu_ms);
    object.Set("cudaMs", point.device_ms);
    object.Set("chosen", point.device_chosen ? "cuda" : "cpu");
    calibration.Set(calibration.Length(), object);
  }
  const char* const modes[] = {"cpu", "auto", "cuda"};
  Napi::Object object = Napi::Object::New(env);
  object.Set("mode", modes[static_cast<size_t>(report.settings.mode)]);
  object.Set("cuda", to_js(env, report.settings.library, report.status));
  object.Set("device", report.device ? Napi::Value(Napi::Number::New(env, static_cast<double>(*report.device))) : env.Null());
  object.Set("startMs", report.start_ms);
  object.Set("calibration", calibration);
  object.Set("calibrationMs", report.calibration_ms);
  object.Set("figures", env.Null());
  if (report.accelerator != nullptr) {
    const CudaAccelerator::Figures figures = report.accelerator->figures();
    const StemlineCudaUsage usage = report.accelerator->usage();
    Napi::Object counts = Napi::Object::New(env);
    counts.Set("batches", static_cast<double>(figures.batches));
    counts.Set("busy", static_cast<double>(figures.busy));
    counts.Set("tooLarge", static_cast<double>(figures.too_large));
    counts.Set("failures", static_cast<double>(figures.failures));
    counts.Set("failure", figures.failure);
    counts.Set("off", figures.off);
    counts.Set("deviceBytes", static_cast<double>(usage.device_bytes));
    counts.Set("pinnedBytes", static_cast<double>(usage.pinned_bytes));
    counts.Set("maxBytes", static_cast<double>(usage.max_bytes));
    object.Set("figures", counts);
  }
  return object;
}

class StartJob : public Job {
 protected:
  Status execute() override {
    Acceleration::process().start();
    return {};
  }

  napi_value result(napi_env env) override {
    napi_value nothing = nullptr;
    napi_get_undefined(env, &nothing);
    return nothing;
  }
};

}  // namespace

Napi::Value js_cuda_status(const Napi::CallbackInfo& info) {
  const std::string path = path_argument(info[0], "library");
  return to_js(info.Env(), path, CudaLibrary(path).status());
}

void js_configure_acceleration(const Napi::CallbackInfo& info) {
  const Napi::Object object = object_argument(info[0], "settings");
  Acceleration::Settings settings;
  const std::string mode = string_member(object, "mode").value_or("cpu");
  if (mode == "auto") settings.mode = Acceleration::Mode::automatic;
  if (mode == "cuda") settings.mode = Acceleration::Mode::cuda;
  settings.library = path_argument(object.Get("library"), "library");
  settings.device = string_member(object, "device").value_or("");
  settings.replica = static_cast<uint32_t>(integer_member(object, "replica", 0, UINT32_MAX).value_or(0));
  Acceleration::process().configure(std::move(settings));
}

Napi::Value js_start_acceleration(const Napi::CallbackInfo& info) {
  return Job::start(std::make_unique<StartJob>(), info.Env(), {}, 0);
}

Napi::Value js_acceleration_report(const Napi::CallbackInfo& info) {
  const Acceleration::Report* const report = Acceleration::process().report();
  return report == nullptr ? info.Env().Null() : Napi::Value(to_js(info.Env(), *report));
}

}  // namespace stemline
