#include <napi.h>

#include "../core/backend.h"
#include "addon_data.h"
#include "convert.h"
#include "error.h"
#include "exports.h"
#include "native_bytes.h"

namespace stemline {

namespace {

// backends(): { name: string; supported: boolean }[], best first
Napi::Value js_backends(const Napi::CallbackInfo& info) {
  Napi::Array list = Napi::Array::New(info.Env());
  for (const Backend* backend : all_backends()) {
    Napi::Object entry = Napi::Object::New(info.Env());
    entry.Set("name", backend->name);
    entry.Set("supported", backend->supported());
    list.Set(list.Length(), entry);
  }
  return list;
}

// defaultBackend(): string; throws if STEMLINE_BACKEND names one that cannot be used
Napi::Value js_default_backend(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), backend_member(Napi::Object::New(info.Env())).name);
}

// cancel(jobNumber: number): void
void js_cancel(const Napi::CallbackInfo& info) {
  if (!info[0].IsNumber()) throw invalid_argument(info.Env(), "jobNumber: expected a number");
  AddonData::of(info.Env()).jobs.cancel(info[0].As<Napi::Number>().Uint32Value());
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  AddonData* const data = new AddonData();
  env.SetInstanceData(data);
  napi_create_reference(env, define_native_bytes(env), 1, &data->native_bytes);
  exports.Set("accelerationReport", Napi::Function::New<js_acceleration_report>(env, "accelerationReport"));
  exports.Set("backends", Napi::Function::New<js_backends>(env, "backends"));
  exports.Set("defaultBackend", Napi::Function::New<js_default_backend>(env, "defaultBackend"));
  exports.Set("cancel", Napi::Function::New<js_cancel>(env, "cancel"));
  exports.Set("centerOfMassPartial", Napi::Function::New<js_center_of_mass_partial>(env, "centerOfMassPartial"));
  exports.Set("configureAcceleration", Napi::Function::New<js_configure_acceleration>(env, "configureAcceleration"));
  exports.Set("cudaStatus", Napi::Function::New<js_cuda_status>(env, "cudaStatus"));
  exports.Set("decodeBatch", Napi::Function::New<js_decode_batch>(env, "decodeBatch"));
  exports.Set("ComReducer", define_com_reducer(env));
  exports.Set("ScanAnalyzer", define_scan_analyzer(env));
  exports.Set("startAcceleration", Napi::Function::New<js_start_acceleration>(env, "startAcceleration"));
  exports.Set("zmqStart", Napi::Function::New<js_zmq_start>(env, "zmqStart"));
  exports.Set("zmqOpen", Napi::Function::New<js_zmq_open>(env, "zmqOpen"));
  exports.Set("zmqReceive", Napi::Function::New<js_zmq_receive>(env, "zmqReceive"));
  exports.Set("zmqSend", Napi::Function::New<js_zmq_send>(env, "zmqSend"));
  exports.Set("zmqConnect", Napi::Function::New<js_zmq_connect>(env, "zmqConnect"));
  exports.Set("zmqClose", Napi::Function::New<js_zmq_close>(env, "zmqClose"));
  return exports;
}

}  // namespace

NODE_API_MODULE(stemline, init)

}  // namespace stemline
