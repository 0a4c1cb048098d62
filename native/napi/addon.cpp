#include <napi.h>

#include "../core/backend.h"
#include "convert.h"
#include "error.h"
#include "exports.h"
#include "job.h"

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
  CancelRegistry::of(info.Env()).cancel(info[0].As<Napi::Number>().Uint32Value());
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new CancelRegistry());
  exports.Set("backends", Napi::Function::New<js_backends>(env, "backends"));
  exports.Set("defaultBackend", Napi::Function::New<js_default_backend>(env, "defaultBackend"));
  exports.Set("cancel", Napi::Function::New<js_cancel>(env, "cancel"));
  exports.Set("centerOfMassPartial", Napi::Function::New<js_center_of_mass_partial>(env, "centerOfMassPartial"));
  exports.Set("cudaStatus", Napi::Function::New<js_cuda_status>(env, "cudaStatus"));
  exports.Set("decodeBatch", Napi::Function::New<js_decode_batch>(env, "decodeBatch"));
  exports.Set("ComReducer", define_com_reducer(env));
  return exports;
}

}  // namespace

NODE_API_MODULE(stemline, init)

}  // namespace stemline
