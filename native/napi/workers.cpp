#include "workers.h"

namespace stemline {

namespace {

Napi::Error start_failed(Napi::Env env) { return Napi::Error::New(env, "stemline: no thread could be started for a job"); }

}  // namespace

Workers::Workers(Napi::Env env) : most_workers_(uv_available_parallelism()) {
  idle_.reserve(most_workers_);
  const napi_status status = napi_create_threadsafe_function(env, nullptr, nullptr, Napi::String::New(env, "stemline:job"), 0, 1, nullptr,
                                                             nullptr, this, deliver, &function_);
  if (status != napi_ok) throw start_failed(env);
  napi_unref_threadsafe_function(env, function_);
  // After the function, so that it is run before the function is closed.
  napi_add_env_cleanup_hook(env, shut_down, this);
}

void Workers::start(Napi::Env env, std::unique_ptr<Job> job) {
  Jobs jobs;
  jobs.push_back(std::move(job));
  if (workers_.size() < most_workers_ && nobody_waits()) add_worker(env);
  Worker* waiting = nullptr;
  {
    // Who does not wait now will look at the queue before it does.
    std::lock_guard lock(mutex_);
    queued_.splice(queued_.end(), jobs);
    if (!idle_.empty()) {
      waiting = idle_.back();
      idle_.pop_back();
    }
  }
  if (waiting != nullptr) uv_sem_post(&waiting->wake);
  if (pending_++ == 0) napi_ref_threadsafe_function(env, function_);
}

bool Workers::nobody_waits() {
  std::lock_guard lock(mutex_);
  return idle_.empty();
}

void Workers::add_worker(Napi::Env env) {
  Worker& worker = workers_.emplace_back();
  worker.workers = this;
  if (uv_sem_init(&worker.wake, 0) == 0) {
    const auto entry = [](void* data) {
      Worker& self = *static_cast<Worker*>(data);
      self.workers->run(self);
    };
    if (uv_thread_create(&worker.thread, entry, &worker) == 0) return;
    uv_sem_destroy(&worker.wake);
  }
  workers_.pop_back();
  // Otherwise the job waits for one of the others.
  if (workers_.empty()) throw start_failed(env);
}

void Workers::run(Worker& self) {
  Jobs job;
  std::unique_lock lock(mutex_);
  while (!ending_) {
    if (queued_.empty()) {
      idle_.push_back(&self);
      lock.unlock();
      uv_sem_wait(&self.wake);
      lock.lock();
      continue;
    }
    job.splice(job.end(), queued_, queued_.begin());
    lock.unlock();
    job.front()->run();
    lock.lock();
    done_.splice(done_.end(), job);
    lock.unlock();
    napi_call_threadsafe_function(function_, nullptr, napi_tsfn_nonblocking);
    lock.lock();
  }
}

void Workers::deliver(napi_env env, napi_value, void* context, void*) {
  if (env == nullptr) return;
  Workers& self = *static_cast<Workers*>(context);
  Jobs done;
  {
    std::lock_guard lock(self.mutex_);
    done.swap(self.done_);
  }
  for (const std::unique_ptr<Job>& job : done) {
    const Napi::HandleScope scope(env);
    job->complete(env);
    if (--self.pending_ == 0) napi_unref_threadsafe_function(env, self.function_);
  }
}

void Workers::shut_down(void* data) {
  Workers& self = *static_cast<Workers*>(data);
  {
    std::lock_guard lock(self.mutex_);
    self.ending_ = true;
  }
  for (Worker& worker : self.workers_) {
    uv_sem_post(&worker.wake);
    uv_thread_join(&worker.thread);
    uv_sem_destroy(&worker.wake);
  }
  self.workers_.clear();
  self.queued_.clear();
  self.done_.clear();
  napi_release_threadsafe_function(self.function_, napi_tsfn_abort);
}

}  // namespace stemline
