#pragma once

#include <pthread.h>

#include <mutex>

namespace stemline::cuda {

// libstdc++'s own could throw, and with libstdc++ linked in the library would need a newer C library.
class Mutex {
 public:
  void lock() { pthread_mutex_lock(&mutex_); }
  void unlock() { pthread_mutex_unlock(&mutex_); }

 private:
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
};

using Lock = std::lock_guard<Mutex>;

}  // namespace stemline::cuda
