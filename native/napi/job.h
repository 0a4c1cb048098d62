// Work off the event loop that settles a promise.
#pragma once

#include <napi.h>

#include <atomic>
#include <memory>
#include <string>
#include <unordered_map>

#include "../core/status.h"

namespace stemline {

// Jobs that may be cancelled, by the number that JavaScript gave them. One per environment.
class CancelRegistry {
 public:
  // The flag of a new job.
  std::shared_ptr<std::atomic<bool>> add(uint32_t number);
  void remove(uint32_t number) { flags_.erase(number); }
  void cancel(uint32_t number);

 private:
  std::unordered_map<uint32_t, std::shared_ptr<std::atomic<bool>>> flags_;
};

// One call. Made on the JavaScript thread, `execute` runs on a thread of the environment's Workers, the promise is settled
// and the job deleted on the JavaScript thread. If the environment ends first, nothing is settled.
class Job {
 public:
  virtual ~Job() = default;

  // Queues the job and returns its promise. `kept` stay alive until it is done. `number` is 0 or the job's number in the
  // CancelRegistry.
  static Napi::Value start(std::unique_ptr<Job> job, Napi::Env env, std::initializer_list<Napi::Value> kept, uint32_t number);

 protected:
  // Runs on another thread: no JavaScript. May throw std::bad_alloc.
  virtual Status execute() = 0;
  // Makes the promise's value; nullptr if the environment can no longer make values.
  virtual napi_value result(napi_env env) = 0;

  const std::atomic<bool>* cancelled() const { return cancelled_.get(); }

 private:
  friend class Workers;
  void run();
  void complete(napi_env env);

  napi_deferred deferred_ = nullptr;
  napi_ref kept_ = nullptr;
  uint32_t number_ = 0;
  std::shared_ptr<std::atomic<bool>> cancelled_;
  Status status_;
};

}  // namespace stemline
