#include "../core/center_of_mass_partial.h"

#include "batch_call.h"
#include "convert.h"
#include "exports.h"
#include "job.h"

namespace stemline {

namespace {

class PartialJob : public Job {
 public:
  PartialJob(SharedBytes meta, SharedBytes data, const ComPartialOptions& options, Device device)
      : meta_(std::move(meta)), data_(std::move(data)), options_(options), device_(device) {}

 protected:
  Status execute() override {
    if (Status status = find_accelerator(device_, options_); !status.ok()) return status;
    options_.cancelled = cancelled();
    return center_of_mass_partial(meta_.bytes, data_.bytes, options_, buffer_pool(), result_);
  }

  napi_value result(napi_env env) override {
    return batch_result(env, std::move(result_.meta), std::move(result_.data), result_);
  }

 private:
  SharedBytes meta_;
  SharedBytes data_;
  ComPartialOptions options_;
  Device device_;
  ComPartialResult result_;
};

}  // namespace

Napi::Value js_center_of_mass_partial(const Napi::CallbackInfo& info) {
  const Napi::Object object = object_argument(info[2], "options");
  ComPartialOptions options;
  Device device = Device::any;
  read_batch_options(object, options, device);
  options.form = boolean_member(object, "positions").value_or(false) ? ComPartialForm::positions : ComPartialForm::scan;
  options.replace_nans = boolean_member(object, "replaceNaNs").value_or(false);
  const uint32_t number = job_number_member(object);
  // After the options: reading those may run JavaScript, which could detach the arrays.
  SharedBytes meta = bytes_argument(info[0], "meta");
  SharedBytes data = bytes_argument(info[1], "data");
  return Job::start(std::make_unique<PartialJob>(std::move(meta), std::move(data), options, device), info.Env(),
                    {info[0], info[1]}, number);
}

}  // namespace stemline
