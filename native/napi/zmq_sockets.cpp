#include <malloc.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <new>

#include "../zmq/pump.h"
#include "addon_data.h"
#include "convert.h"
#include "error.h"
#include "exports.h"
#include "native_bytes.h"

namespace stemline {

namespace {

// Parts up to this size are copied to a Uint8Array: less work than an object that shares them.
constexpr size_t copied_bytes = 1024;

const char* event_name(zmq::EventKind kind) {
  switch (kind) {
    case zmq::EventKind::received: return "received";
    case zmq::EventKind::sent: return "sent";
    case zmq::EventKind::unsent: return "unsent";
    case zmq::EventKind::accepted: return "accepted";
    case zmq::EventKind::connected: return "connected";
    case zmq::EventKind::disconnected: return "disconnected";
    case zmq::EventKind::retried: return "retried";
    case zmq::EventKind::closed: return "closed";
    case zmq::EventKind::ended: return "ended";
  }
  return "";
}

// ZeroMQ takes a fresh block for every part that it receives, which the C library would get from the kernel and give
// back to it: a page fault for each 4 KiB. With these settings freed blocks stay with the process, up to 32 MiB each, the most
// that can be set.
void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 64 << 20);
}

Napi::Value text(Napi::Env env, const std::string& value) { return Napi::String::New(env, value); }

napi_value to_js_part(napi_env env, SharedBytes part) {
  if (part.bytes.size() > copied_bytes) return to_native_bytes(env, std::move(part), Accounting::none);
  Napi::Uint8Array copy = Napi::Uint8Array::New(env, part.bytes.size());
  if (!part.bytes.empty()) std::memcpy(copy.Data(), part.bytes.data(), part.bytes.size());
  return copy;
}

// A NativeBytes shares its memory; a Uint8Array is copied, and may change at once.
SharedBytes part_argument(Napi::Value value) {
  SharedBytes part = bytes_argument(value, "parts");
  if (!part.empty()) {
    stop_accounting(value);
    return part;
  }
  PooledBuffer copy = buffer_pool().take(part.bytes.size());
  if (!part.bytes.empty()) std::memcpy(copy.data(), part.bytes.data(), part.bytes.size());
  return SharedBytes(std::move(copy));
}

}  // namespace

// The ZeroMQ sockets of one environment: their thread, and its way back to JavaScript.
class ZmqSockets {
 public:
  ZmqSockets(Napi::Env env, const zmq::Library& library, Napi::Function listener) {
    napi_threadsafe_function function = nullptr;
    const napi_status status =
        napi_create_threadsafe_function(env, listener, nullptr, text(env, "stemline:zmq"), 0, 1, nullptr, nullptr, this, deliver, &function);
    if (status != napi_ok) throw Napi::Error::New(env, "stemline: Node-API call failed while opening a socket");
    function_ = function;
    napi_unref_threadsafe_function(env, function_);
    keep_freed_memory();
    pump_ = std::make_unique<zmq::Pump>(library, [this] { napi_call_threadsafe_function(function_, nullptr, napi_tsfn_nonblocking); });
    napi_add_env_cleanup_hook(env, shut_down, this);
  }

  zmq::Pump& pump() { return *pump_; }

  // While there are sockets, the event loop goes on.
  void opened(Napi::Env env) {
    if (open_++ == 0) napi_ref_threadsafe_function(env, function_);
  }

 private:
  static void deliver(napi_env env, napi_value listener, void* context, void*) {
    if (env == nullptr) return;
    ZmqSockets& self = *static_cast<ZmqSockets*>(context);
    if (self.pump_ == nullptr) return;
    for (zmq::Event& event : self.pump_->take_events()) {
      if (event.kind == zmq::EventKind::ended && --self.open_ == 0) napi_unref_threadsafe_function(env, self.function_);
      const Napi::HandleScope scope(env);
      try {
        const Napi::Value payload = self.payload(env, event);
        Napi::Function(env, listener).Call({Napi::Number::New(env, event.socket), text(env, event_name(event.kind)), payload});
      } catch (const Napi::Error& error) {
        napi_fatal_exception(env, error.Value());
      }
    }
  }

  Napi::Value payload(Napi::Env env, zmq::Event& event) const {
    if (event.kind != zmq::EventKind::received) return text(env, event.address);
    Napi::Array parts = Napi::Array::New(env, event.parts.size());
    for (size_t i = 0; i < event.parts.size(); ++i) parts.Set(static_cast<uint32_t>(i), to_js_part(env, std::move(event.parts[i])));
    return parts;
  }

  static void shut_down(void* data) {
    ZmqSockets& self = *static_cast<ZmqSockets*>(data);
    self.pump_.reset();
    napi_release_threadsafe_function(self.function_, napi_tsfn_abort);
  }

  napi_threadsafe_function function_ = nullptr;
  std::unique_ptr<zmq::Pump> pump_;
  size_t open_ = 0;
};

ZmqSocketsOwner::~ZmqSocketsOwner() { delete sockets; }

namespace {

ZmqSockets& sockets_of(Napi::Env env) {
  ZmqSockets* const sockets = AddonData::of(env).zmq.sockets;
  if (sockets == nullptr) throw invalid_argument(env, "zmqStart: expected a call before all others of ZeroMQ");
  return *sockets;
}

// The result of `work`, whose bad_alloc is an error of JavaScript.
template <class Work>
auto with_memory(Napi::Env env, Work work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    throw Napi::Error(env, to_js_error(env, Status::error(StatusCode::out_of_memory, "not enough memory")));
  }
}

uint32_t socket_argument(const Napi::CallbackInfo& info) {
  if (!info[0].IsNumber()) throw invalid_argument(info.Env(), "socket: expected a number");
  return info[0].As<Napi::Number>().Uint32Value();
}

std::string endpoint_argument(Napi::Value value) {
  if (!value.IsString()) throw invalid_argument(value.Env(), "endpoint: expected a string");
  return value.As<Napi::String>().Utf8Value();
}

}  // namespace

void js_zmq_start(const Napi::CallbackInfo& info) {
  AddonData& data = AddonData::of(info.Env());
  if (!info[0].IsFunction()) throw invalid_argument(info.Env(), "listener: expected a function");
  if (data.zmq.sockets != nullptr) throw invalid_argument(info.Env(), "zmqStart: expected one call");
  std::string why;
  const zmq::Library* const library = zmq::Library::find(why);
  if (library == nullptr) throw Napi::Error(info.Env(), to_js_error(info.Env(), Status::error(StatusCode::zmq_unavailable, why)));
  data.zmq.sockets = with_memory(info.Env(), [&] { return new ZmqSockets(info.Env(), *library, info[0].As<Napi::Function>()); });
}

Napi::Value js_zmq_open(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  ZmqSockets& sockets = sockets_of(env);
  const Napi::Object object = object_argument(info[1], "options");
  const bool pulls = boolean_member(object, "pulls").value_or(false);
  zmq::SocketOptions options;
  options.high_water_mark = static_cast<int>(integer_member(object, "highWaterMark", 1, INT32_MAX).value_or(1));
  options.max_message_bytes = integer_member(object, "maxMessageBytes", -1, int64_t{1} << 53).value_or(-1);
  options.ipv6 = boolean_member(object, "ipv6").value_or(false);
  std::string bound, why;
  const uint32_t number = sockets.pump().open(pulls ? zmq::SocketType::pull : zmq::SocketType::push, options, endpoint_argument(info[0]), bound, why);
  if (number == 0) throw Napi::Error::New(env, why);
  sockets.opened(env);
  Napi::Object opened = Napi::Object::New(env);
  opened.Set("socket", number);
  opened.Set("endpoint", bound);
  return opened;
}

void js_zmq_receive(const Napi::CallbackInfo& info) { sockets_of(info.Env()).pump().receive(socket_argument(info)); }

void js_zmq_send(const Napi::CallbackInfo& info) {
  const uint32_t socket = socket_argument(info);
  if (!info[1].IsArray()) throw invalid_argument(info.Env(), "parts: expected an array");
  const Napi::Array array = info[1].As<Napi::Array>();
  zmq::Parts parts;
  with_memory(info.Env(), [&] {
    for (uint32_t i = 0; i < array.Length(); ++i) parts.push_back(part_argument(array.Get(i)));
  });
  if (parts.empty()) throw invalid_argument(info.Env(), "parts: expected at least one");
  sockets_of(info.Env()).pump().send(socket, std::move(parts));
}

void js_zmq_connect(const Napi::CallbackInfo& info) {
  sockets_of(info.Env()).pump().connect(socket_argument(info), endpoint_argument(info[1]));
}

void js_zmq_close(const Napi::CallbackInfo& info) {
  const Napi::Object options = object_argument(info[1], "options");
  const auto linger = static_cast<int>(integer_member(options, "lingerMs", 0, INT32_MAX).value_or(0));
  sockets_of(info.Env()).pump().close(socket_argument(info), linger);
}

}  // namespace stemline
