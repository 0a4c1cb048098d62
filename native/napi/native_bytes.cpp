#include "native_bytes.h"

#include <cstring>
#include <memory>

#include "addon_data.h"
#include "error.h"

namespace stemline {

namespace {

constexpr napi_type_tag tag{0x5a1d0c6e2f8b4937, 0x9e3c71b8d4a6052f};

struct Held {
  SharedBytes shared;
  size_t size = 0;
  bool reported = false;
  // The Uint8Array over it, once somebody looked.
  napi_ref view = nullptr;

  void report(napi_env env, bool now) {
    if (reported == now) return;
    reported = now;
    int64_t total = 0;
    napi_adjust_external_memory(env, now ? static_cast<int64_t>(size) : -static_cast<int64_t>(size), &total);
  }

  void let_go(napi_env env) {
    report(env, false);
    shared = {};
    if (view != nullptr) napi_delete_reference(env, view);
    view = nullptr;
  }
};

// The Held of a NativeBytes; nullptr of any other value.
Held* held_of(napi_env env, napi_value value) {
  bool tagged = false;
  napi_valuetype type = napi_undefined;
  if (napi_typeof(env, value, &type) != napi_ok || type != napi_object) return nullptr;
  if (napi_check_object_type_tag(env, value, &tag, &tagged) != napi_ok || !tagged) return nullptr;
  void* held = nullptr;
  return napi_unwrap(env, value, &held) == napi_ok ? static_cast<Held*>(held) : nullptr;
}

Held& this_held(const Napi::CallbackInfo& info) {
  Held* const held = held_of(info.Env(), info.This());
  if (held == nullptr) throw invalid_argument(info.Env(), "this: expected a NativeBytes");
  return *held;
}

const SharedBytes& still_held(Napi::Env env, const Held& held) {
  if (!held.shared.empty()) return held.shared;
  throw Napi::Error(env, to_js_error(env, Status::error(StatusCode::bytes_released,
                                                        "the bytes of this message part were given back: look at them before the "
                                                        "message is sent or its run is over, which keeps them")));
}

Napi::Value byte_length(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(this_held(info).size));
}

// The same array each time. Its ArrayBuffer has a share of its own.
Napi::Value view(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Held& held = this_held(info);
  if (held.view != nullptr) {
    napi_value seen = nullptr;
    napi_get_reference_value(env, held.view, &seen);
    return {env, seen};
  }
  auto share = std::make_unique<SharedBytes>(still_held(env, held));
  if (held.size == 0) return Napi::Uint8Array::New(env, 0);
  // V8 counts ArrayBuffers itself.
  held.report(env, false);
  void* const data = const_cast<uint8_t*>(share->bytes.data());
  napi_value buffer = nullptr;
  const napi_status status = napi_create_external_arraybuffer(
      env, data, held.size, [](napi_env, void*, void* hint) { delete static_cast<SharedBytes*>(hint); }, share.get(), &buffer);
  if (status == napi_ok) {
    share.release();
  } else {
    // Some builds of V8 allow no memory from outside: copy.
    Napi::ArrayBuffer copy = Napi::ArrayBuffer::New(env, held.size);
    std::memcpy(copy.Data(), data, held.size);
    buffer = copy;
  }
  const Napi::Uint8Array array = Napi::Uint8Array::New(env, held.size, Napi::ArrayBuffer(env, buffer), 0);
  napi_create_reference(env, array, 1, &held.view);
  return array;
}

void release(const Napi::CallbackInfo& info) {
  Held& held = this_held(info);
  held.let_go(info.Env());
}

// Only C++ has externals to give.
void construct(const Napi::CallbackInfo& info) {
  if (!info.IsConstructCall() || !info[0].IsExternal()) throw invalid_argument(info.Env(), "NativeBytes: cannot be made by JavaScript");
}

}  // namespace

Napi::Function define_native_bytes(Napi::Env env) {
  const auto method = [env](const char* name, auto function) { return Napi::Function::New(env, function, name); };
  Napi::Function constructor = Napi::Function::New(env, construct, "NativeBytes");
  Napi::Object prototype = constructor.Get("prototype").As<Napi::Object>();
  prototype.DefineProperty(Napi::PropertyDescriptor::Accessor<byte_length>("byteLength", napi_default));
  prototype.Set("view", method("view", view));
  prototype.Set("release", method("release", release));
  return constructor;
}

napi_value to_native_bytes(napi_env env, SharedBytes bytes, Accounting accounting) {
  auto held = std::make_unique<Held>();
  held->size = bytes.bytes.size();
  held->shared = std::move(bytes);
  napi_value constructor = nullptr, external = nullptr, object = nullptr;
  if (napi_get_reference_value(env, AddonData::of(env).native_bytes, &constructor) != napi_ok) return nullptr;
  if (napi_create_external(env, held.get(), nullptr, nullptr, &external) != napi_ok) return nullptr;
  if (napi_new_instance(env, constructor, 1, &external, &object) != napi_ok) return nullptr;
  if (napi_type_tag_object(env, object, &tag) != napi_ok) return nullptr;
  const auto collect = [](napi_env finalizing, void* data, void*) {
    const std::unique_ptr<Held> collected(static_cast<Held*>(data));
    collected->let_go(finalizing);
  };
  if (napi_wrap(env, object, held.get(), collect, nullptr, nullptr) != napi_ok) return nullptr;
  held.release()->report(env, accounting == Accounting::reported);
  return object;
}

std::optional<SharedBytes> native_bytes(Napi::Value value) {
  const Held* const held = held_of(value.Env(), value);
  if (held == nullptr) return std::nullopt;
  return still_held(value.Env(), *held);
}

void stop_accounting(Napi::Value value) {
  if (Held* const held = held_of(value.Env(), value); held != nullptr) held->report(value.Env(), false);
}

}  // namespace stemline
