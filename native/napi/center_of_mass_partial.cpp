#include "../core/center_of_mass_partial.h"

#include "convert.h"
#include "error.h"
#include "exports.h"
#include "job.h"
#include "native_bytes.h"

namespace stemline {

namespace {

std::optional<ComPartialOptions::Pair> pair_members(Napi::Object options, const char* x_name, const char* y_name) {
  const std::optional<double> x = number_member(options, x_name);
  const std::optional<double> y = number_member(options, y_name);
  if (!x || !y) return std::nullopt;
  return ComPartialOptions::Pair{*x, *y};
}

class PartialJob : public Job {
 public:
  PartialJob(SharedBytes meta, SharedBytes data, const ComPartialOptions& options)
      : meta_(std::move(meta)), data_(std::move(data)), options_(options) {}

 protected:
  Status execute() override {
    options_.cancelled = cancelled();
    return center_of_mass_partial(meta_.bytes, data_.bytes, options_, buffer_pool(), result_);
  }

  napi_value result(napi_env env) override {
    const napi_value meta = to_native_bytes(env, SharedBytes(std::move(result_.meta)), Accounting::reported);
    const napi_value data = to_native_bytes(env, SharedBytes(std::move(result_.data)), Accounting::reported);
    napi_value frames = nullptr, events = nullptr, dropped = nullptr, reason = nullptr, backend = nullptr;
    napi_create_double(env, static_cast<double>(result_.frames), &frames);
    napi_create_double(env, static_cast<double>(result_.events), &events);
    napi_create_double(env, static_cast<double>(result_.dropped_frames), &dropped);
    napi_create_string_utf8(env, result_.dropped_reason.data(), result_.dropped_reason.size(), &reason);
    napi_create_string_utf8(env, options_.backend->name, NAPI_AUTO_LENGTH, &backend);
    return make_object(env, {{"meta", meta}, {"data", data}, {"frames", frames}, {"events", events},
                             {"droppedFrames", dropped}, {"droppedReason", reason}, {"backend", backend}});
  }

 private:
  SharedBytes meta_;
  SharedBytes data_;
  ComPartialOptions options_;
  ComPartialResult result_;
};

}  // namespace

Napi::Value js_center_of_mass_partial(const Napi::CallbackInfo& info) {
  const Napi::Object object = object_argument(info[2], "options");
  ComPartialOptions options;
  options.crop_to = pair_members(object, "cropX", "cropY");
  options.init_center = pair_members(object, "centerX", "centerY");
  options.crop_shape = boolean_member(object, "disk").value_or(false) ? CropShape::disk : CropShape::box;
  options.form = boolean_member(object, "positions").value_or(false) ? ComPartialForm::positions : ComPartialForm::scan;
  options.replace_nans = boolean_member(object, "replaceNaNs").value_or(false);
  options.drop_invalid_frames = boolean_member(object, "dropInvalidFrames").value_or(false);
  options.backend = &backend_member(object);
  const auto number = static_cast<uint32_t>(integer_member(object, "jobNumber", 0, UINT32_MAX).value_or(0));
  // After the options: reading those may run JavaScript, which could detach the arrays.
  SharedBytes meta = bytes_argument(info[0], "meta");
  SharedBytes data = bytes_argument(info[1], "data");
  return Job::start(std::make_unique<PartialJob>(std::move(meta), std::move(data), options), info.Env(),
                    {info[0], info[1]}, number);
}

}  // namespace stemline
