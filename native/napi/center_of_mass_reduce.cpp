#include "../core/center_of_mass_reduce.h"

#include <mutex>

#include "convert.h"
#include "error.h"
#include "exports.h"
#include "job.h"
#include "native_bytes.h"

namespace stemline {

namespace {

// Shared by the JavaScript object and its jobs, whichever lives longer.
struct SharedReducer {
  std::mutex mutex;
  ComReducer reducer;
};

ComReduceOptions options_argument(Napi::Value value) {
  const Napi::Object object = object_argument(value, "options");
  ComReduceOptions options;
  constexpr int64_t highest = INT32_MAX;
  options.emit_every = integer_member(object, "emitEvery", -highest, highest).value_or(options.emit_every);
  options.max_concurrent_scans = static_cast<uint64_t>(
      integer_member(object, "maxConcurrentScans", 1, highest).value_or(static_cast<int64_t>(options.max_concurrent_scans)));
  options.include_headers = boolean_member(object, "includeHeaders").value_or(options.include_headers);
  options.replace_nans = boolean_member(object, "replaceNaNs").value_or(options.replace_nans);
  options.backend = &backend_member(object);
  return options;
}

class ReduceJob : public Job {
 public:
  ReduceJob(std::shared_ptr<SharedReducer> shared, const ComReduceOptions& options) : shared_(std::move(shared)), options_(options) {}
  ReduceJob(std::shared_ptr<SharedReducer> shared, const ComReduceOptions& options, SharedBytes meta, SharedBytes data)
      : shared_(std::move(shared)), options_(options), meta_(std::move(meta)), data_(std::move(data)), adds_(true) {}

 protected:
  Status execute() override {
    const std::lock_guard lock(shared_->mutex);
    if (adds_) return shared_->reducer.add(meta_.bytes, data_.bytes, options_, buffer_pool(), emissions_);
    shared_->reducer.flush(options_, buffer_pool(), emissions_);
    return {};
  }

  napi_value result(napi_env env) override {
    napi_value array = nullptr;
    if (napi_create_array_with_length(env, emissions_.size(), &array) != napi_ok) return nullptr;
    for (size_t i = 0; i < emissions_.size(); ++i) {
      ComEmission& emission = emissions_[i];
      napi_value messages = nullptr, frames = nullptr, seen = nullptr, positions = nullptr, complete = nullptr, evicted = nullptr;
      napi_create_double(env, static_cast<double>(emission.messages), &messages);
      napi_create_double(env, static_cast<double>(emission.frames), &frames);
      napi_create_double(env, static_cast<double>(emission.positions_seen), &seen);
      napi_create_double(env, static_cast<double>(emission.positions), &positions);
      napi_get_boolean(env, emission.complete, &complete);
      napi_get_boolean(env, emission.evicted, &evicted);
      const napi_value meta = to_native_bytes(env, SharedBytes(std::move(emission.meta)), Accounting::reported);
      const napi_value data = to_native_bytes(env, SharedBytes(std::move(emission.data)), Accounting::reported);
      const napi_value object = make_object(
          env, {{"meta", meta}, {"data", data}, {"scanNumber", to_js_integer(env, emission.scan_number)}, {"messages", messages},
                {"frames", frames}, {"positionsSeen", seen}, {"positions", positions}, {"complete", complete}, {"evicted", evicted}});
      if (object == nullptr || napi_set_element(env, array, static_cast<uint32_t>(i), object) != napi_ok) return nullptr;
    }
    return array;
  }

 private:
  std::shared_ptr<SharedReducer> shared_;
  ComReduceOptions options_;
  SharedBytes meta_;
  SharedBytes data_;
  bool adds_ = false;
  std::vector<ComEmission> emissions_;
};

class JsComReducer : public Napi::ObjectWrap<JsComReducer> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "ComReducer", {InstanceMethod<&JsComReducer::add>("add"), InstanceMethod<&JsComReducer::flush>("flush")});
  }

  explicit JsComReducer(const Napi::CallbackInfo& info) : Napi::ObjectWrap<JsComReducer>(info) {}

 private:
  Napi::Value add(const Napi::CallbackInfo& info) {
    // First the options: reading them may run JavaScript, which could detach the arrays.
    const ComReduceOptions options = options_argument(info[2]);
    SharedBytes meta = bytes_argument(info[0], "meta");
    SharedBytes data = bytes_argument(info[1], "data");
    return Job::start(std::make_unique<ReduceJob>(shared_, options, std::move(meta), std::move(data)), info.Env(),
                      {info[0], info[1]}, 0);
  }

  Napi::Value flush(const Napi::CallbackInfo& info) {
    return Job::start(std::make_unique<ReduceJob>(shared_, options_argument(info[0])), info.Env(), {}, 0);
  }

  std::shared_ptr<SharedReducer> shared_ = std::make_shared<SharedReducer>();
};

}  // namespace

Napi::Function define_com_reducer(Napi::Env env) { return JsComReducer::define(env); }

}  // namespace stemline
