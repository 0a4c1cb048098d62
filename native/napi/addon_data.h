// What the addon keeps for one environment: Node's main thread or a worker.
#pragma once

#include <napi.h>

#include "job.h"

namespace stemline {

class ZmqSockets;

struct ZmqSocketsOwner {
  // nullptr before zmqStart.
  ZmqSockets* sockets = nullptr;

  ~ZmqSocketsOwner();
};

struct AddonData {
  CancelRegistry jobs;
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
