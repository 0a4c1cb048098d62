#include "job.h"

#include <exception>
#include <new>

#include "addon_data.h"
#include "error.h"

namespace stemline {

std::shared_ptr<std::atomic<bool>> CancelRegistry::add(uint32_t number) {
  auto flag = std::make_shared<std::atomic<bool>>(false);
  flags_[number] = flag;
  return flag;
}

void CancelRegistry::cancel(uint32_t number) {
  if (const auto found = flags_.find(number); found != flags_.end()) found->second->store(true, std::memory_order_relaxed);
}

Napi::Value Job::start(std::unique_ptr<Job> job, Napi::Env env, std::initializer_list<Napi::Value> kept, uint32_t number) {
  const auto check = [env](napi_status status) {
    if (status != napi_ok) throw Napi::Error::New(env, "stemline: Node-API call failed while starting a job");
  };
  AddonData& data = AddonData::of(env);
  if (number != 0) {
    job->number_ = number;
    job->cancelled_ = data.jobs.add(number);
  }
  Napi::Array array = Napi::Array::New(env, kept.size());
  uint32_t index = 0;
  for (const Napi::Value& value : kept) array.Set(index++, value);
  check(napi_create_reference(env, array, 1, &job->kept_));
  napi_value promise = nullptr;
  check(napi_create_promise(env, &job->deferred_, &promise));
  if (data.workers == nullptr) data.workers = std::make_unique<Workers>(env);
  data.workers->start(env, std::move(job));
  return {env, promise};
}

void Job::run() {
  try {
    if (cancelled_ && cancelled_->load(std::memory_order_relaxed)) {
      status_ = Status::error(StatusCode::cancelled, "The operation was aborted");
      return;
    }
    status_ = execute();
  } catch (const std::bad_alloc&) {
    status_ = Status::error(StatusCode::out_of_memory, "not enough memory");
  } catch (const std::exception& error) {
    status_ = Status::error(StatusCode::internal, error.what());
  }
}

// Plain Node-API throughout: when the environment is ending, calls fail and must not turn into exceptions.
void Job::complete(napi_env env) {
  if (number_ != 0) AddonData::of(env).jobs.remove(number_);
  if (status_.ok()) {
    if (napi_value value = result(env); value != nullptr) napi_resolve_deferred(env, deferred_, value);
  } else if (napi_value error = to_js_error(env, status_); error != nullptr) {
    napi_reject_deferred(env, deferred_, error);
  }
  napi_delete_reference(env, kept_);
}

}  // namespace stemline
