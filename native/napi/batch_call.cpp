#include "batch_call.h"

#include "acceleration.h"
#include "convert.h"
#include "exports.h"
#include "native_bytes.h"

namespace stemline {

namespace {

std::optional<BatchOptions::Pair> pair_members(Napi::Object options, const char* x_name, const char* y_name) {
  const std::optional<double> x = number_member(options, x_name);
  const std::optional<double> y = number_member(options, y_name);
  if (!x || !y) return std::nullopt;
  return BatchOptions::Pair{*x, *y};
}

}  // namespace

void read_batch_options(Napi::Object object, BatchOptions& options, Device& device) {
  options.crop_to = pair_members(object, "cropX", "cropY");
  options.init_center = pair_members(object, "centerX", "centerY");
  options.crop_shape = boolean_member(object, "disk").value_or(false) ? CropShape::disk : CropShape::box;
  options.drop_invalid_frames = boolean_member(object, "dropInvalidFrames").value_or(false);
  // Read once: a getter may give another answer the second time.
  const std::optional<std::string> name = string_member(object, "backend");
  device = !name || *name == "auto" ? Device::any : *name == "cuda" ? Device::accelerator : Device::cpu;
  options.backend = &backend_named(object.Env(), name);
}

Status find_accelerator(Device device, BatchOptions& options) {
  if (device == Device::cpu) return {};
  Acceleration& acceleration = Acceleration::process();
  options.accelerator = acceleration.start();
  if (device == Device::any) return {};
  options.accelerate_always = true;
  if (options.accelerator != nullptr) return {};
  const std::string& message = acceleration.report()->status.message;
  return Status::error(StatusCode::backend_unavailable,
                       "backend \"cuda\" cannot be used: " + (message.empty() ? "STEMLINE_BACKEND names another one" : message));
}

uint32_t job_number_member(Napi::Object object) {
  return static_cast<uint32_t>(integer_member(object, "jobNumber", 0, UINT32_MAX).value_or(0));
}

napi_value batch_result(napi_env env, PooledBuffer meta, PooledBuffer data, const BatchFigures& figures) {
  const napi_value js_meta = to_native_bytes(env, SharedBytes(std::move(meta)), Accounting::reported);
  const napi_value js_data = to_native_bytes(env, SharedBytes(std::move(data)), Accounting::reported);
  napi_value frames = nullptr, events = nullptr, dropped = nullptr, reason = nullptr, name = nullptr;
  napi_create_double(env, static_cast<double>(figures.frames), &frames);
  napi_create_double(env, static_cast<double>(figures.events), &events);
  napi_create_double(env, static_cast<double>(figures.dropped_frames), &dropped);
  napi_create_string_utf8(env, figures.dropped_reason.data(), figures.dropped_reason.size(), &reason);
  napi_create_string_utf8(env, figures.computed_by, NAPI_AUTO_LENGTH, &name);
  return make_object(env, {{"meta", js_meta}, {"data", js_data}, {"frames", frames}, {"events", events},
                           {"droppedFrames", dropped}, {"droppedReason", reason}, {"backend", name}});
}

}  // namespace stemline
