// The threads on which one environment's jobs run.
//
// Node's own are four, of which the next job goes to the one that has waited longest. So messages meet another thread each,
// and often another core, in whose caches neither they nor the blocks of the pool are: that can double their time. Here
// are no more threads than cores, and the next job goes to the thread that has waited for the shortest time.
#pragma once

#include <napi.h>
#include <uv.h>

#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "job.h"

namespace stemline {

class Workers {
 public:
  explicit Workers(Napi::Env env);
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // On the JavaScript thread. The event loop goes on until the job is completed. If the environment ends first, running
  // jobs are waited for, others not started, and none is completed.
  void start(Napi::Env env, std::unique_ptr<Job> job);

 private:
  struct Worker {
    Workers* workers;
    uv_sem_t wake;
    // Of libuv, as in ../zmq/library.cpp.
    uv_thread_t thread;
  };
  using Jobs = std::list<std::unique_ptr<Job>>;

  bool nobody_waits();
  void add_worker(Napi::Env env);
  void run(Worker& self);
  static void deliver(napi_env env, napi_value, void* context, void*);
  static void shut_down(void* data);

  napi_threadsafe_function function_ = nullptr;

  // The JavaScript thread's own.
  const size_t most_workers_;
  std::deque<Worker> workers_;
  size_t pending_ = 0;

  std::mutex mutex_;
  Jobs queued_;
  Jobs done_;
  // Those that wait, the last to come last.
  std::vector<Worker*> idle_;
  bool ending_ = false;
};

}  // namespace stemline
