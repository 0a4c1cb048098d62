// What the addon exports; one file each.
#pragma once

#include <napi.h>

#include <initializer_list>
#include <utility>

namespace stemline {

// centerOfMassPartial(meta: Uint8Array, data: Uint8Array, options): Promise
Napi::Value js_center_of_mass_partial(const Napi::CallbackInfo& info);

// class ComReducer { add(meta, data, options): Promise; flush(options): Promise }
Napi::Function define_com_reducer(Napi::Env env);

// cudaStatus(library: string): object
Napi::Value js_cuda_status(const Napi::CallbackInfo& info);

// configureAcceleration({ mode: "cpu" | "auto" | "cuda", library, device?, replica? }): void, before the first batch
void js_configure_acceleration(const Napi::CallbackInfo& info);
// startAcceleration(): Promise<void>, as the first batch does
Napi::Value js_start_acceleration(const Napi::CallbackInfo& info);
// accelerationReport(): object, or null before that
Napi::Value js_acceleration_report(const Napi::CallbackInfo& info);

// decodeBatch(meta: Uint8Array, dataLength: number): object
Napi::Value js_decode_batch(const Napi::CallbackInfo& info);

// class ScanAnalyzer { constructor(detectors); analyze(meta, data, options): Promise }
Napi::Function define_scan_analyzer(Napi::Env env);

// Data plane over the zeromq package's library. Events come to the listener of zmqStart, which is called once:
// listener(socket: number, event: string, payload: (NativeBytes | Uint8Array)[] of "received", else an address or "")
//
// zmqStart(listener): void
void js_zmq_start(const Napi::CallbackInfo& info);
// zmqOpen(endpoint, { pulls, highWaterMark, maxMessageBytes, ipv6 }): { socket: number; endpoint: string }
Napi::Value js_zmq_open(const Napi::CallbackInfo& info);
// zmqReceive(socket): void
void js_zmq_receive(const Napi::CallbackInfo& info);
// zmqSend(socket, parts: (NativeBytes | Uint8Array)[]): void
void js_zmq_send(const Napi::CallbackInfo& info);
// zmqConnect(socket, endpoint): void
void js_zmq_connect(const Napi::CallbackInfo& info);
// zmqClose(socket, { lingerMs }): void
void js_zmq_close(const Napi::CallbackInfo& info);

// A plain object; nullptr if a value is missing or the environment can no longer make one.
inline napi_value make_object(napi_env env, std::initializer_list<std::pair<const char*, napi_value>> members) {
  napi_value object = nullptr;
  if (napi_create_object(env, &object) != napi_ok) return nullptr;
  for (const auto& [name, value] : members) {
    if (value == nullptr || napi_set_named_property(env, object, name, value) != napi_ok) return nullptr;
  }
  return object;
}

}  // namespace stemline
