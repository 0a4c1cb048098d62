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

// decodeBatch(meta: Uint8Array, dataLength: number): object
Napi::Value js_decode_batch(const Napi::CallbackInfo& info);

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
