// What the addon keeps for one environment: Node's main thread or a worker.
#pragma once

#include <napi.h>

#include <memory>

#include "job.h"
#include "workers.h"

namespace stemline {

class ZmqSockets;

struct ZmqSocketsOwner {
  // nullptr before zmqStart.
  ZmqSockets* sockets = nullptr;

  ~ZmqSocketsOwner();
};

struct AddonData {
  CancelRegistry jobs;
  // nullptr before the first job.
  std::unique_ptr<Workers> workers;
  ZmqSocketsOwner zmq;
  // Constructor of NativeBytes.
  napi_ref native_bytes = nullptr;

  static AddonData& of(napi_env env) {
    void* data = nullptr;
    napi_get_instance_data(env, &data);
    return *static_cast<AddonData*>(data);
  }
};

}  // namespace stemline
