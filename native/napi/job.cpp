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

Napi::Value Job::start(std::unique_ptr<Job> job, Napi::Env env, const char* name, std::initializer_list<Napi::Value> kept,
                       uint32_t number) {
  const auto check = [env](napi_status status) {
    if (status != napi_ok) throw Napi::Error::New(env, "stemline: Node-API call failed while starting a job");
  };
  if (number != 0) {
    job->number_ = number;
    job->cancelled_ = AddonData::of(env).jobs.add(number);
  }
  Napi::Array array = Napi::Array::New(env, kept.size());
  uint32_t index = 0;
  for (const Napi::Value& value : kept) array.Set(index++, value);
  check(napi_create_reference(env, array, 1, &job->kept_));
  napi_value promise = nullptr;
  check(napi_create_promise(env, &job->deferred_, &promise));
  check(napi_create_async_work(env, nullptr, Napi::String::New(env, name), on_execute, on_complete, job.get(), &job->work_));
  check(napi_queue_async_work(env, job->work_));
  job.release();
  return {env, promise};
}

void Job::on_execute(napi_env, void* data) {
  Job& job = *static_cast<Job*>(data);
  try {
    if (job.cancelled_ && job.cancelled_->load(std::memory_order_relaxed)) {
      job.status_ = Status::error(StatusCode::cancelled, "The operation was aborted");
      return;
    }
    job.status_ = job.execute();
  } catch (const std::bad_alloc&) {
    job.status_ = Status::error(StatusCode::out_of_memory, "not enough memory");
  } catch (const std::exception& error) {
    job.status_ = Status::error(StatusCode::internal, error.what());
  }
}

// Plain Node-API throughout: when the environment is ending, calls fail and must not turn into exceptions.
void Job::on_complete(napi_env env, napi_status, void* data) {
  const std::unique_ptr<Job> job(static_cast<Job*>(data));
  if (job->number_ != 0) AddonData::of(env).jobs.remove(job->number_);
  napi_delete_async_work(env, job->work_);
  if (job->status_.ok()) {
    if (napi_value value = job->result(env); value != nullptr) napi_resolve_deferred(env, job->deferred_, value);
  } else if (napi_value error = to_js_error(env, job->status_); error != nullptr) {
    napi_reject_deferred(env, job->deferred_, error);
  }
  napi_delete_reference(env, job->kept_);
}

}  // namespace stemline
