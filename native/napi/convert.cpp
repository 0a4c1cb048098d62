#include "convert.h"

#include <cmath>
#include <memory>

#include "error.h"
#include "native_bytes.h"

namespace stemline {

namespace {

// Returned blocks kept for reuse: some dozens of messages of the usual sizes.
constexpr size_t pool_keep_bytes = size_t{256} << 20;

constexpr uint64_t max_safe_integer = (uint64_t{1} << 53) - 1;

std::string type_text(Napi::Value value) {
  switch (value.Type()) {
    case napi_undefined: return "undefined";
    case napi_null: return "null";
    case napi_boolean: return "a boolean";
    case napi_number: return "a number";
    case napi_string: return "a string";
    case napi_symbol: return "a symbol";
    case napi_bigint: return "a bigint";
    case napi_function: return "a function";
    default: return value.IsTypedArray() ? "another typed array" : "an object";
  }
}

[[noreturn]] void refuse(Napi::Value value, const char* name, const char* expected) {
  throw invalid_argument(value.Env(), std::string(name) + ": expected " + expected + ", got " + type_text(value));
}

}  // namespace

BufferPool& buffer_pool() {
  // Never destroyed: at exit, buffers may still come back from environments that end later.
  static BufferPool& pool = **new std::shared_ptr<BufferPool>(BufferPool::create(pool_keep_bytes));
  return pool;
}

SharedBytes bytes_argument(Napi::Value value, const char* name) {
  if (std::optional<SharedBytes> bytes = native_bytes(value)) return *std::move(bytes);
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    refuse(value, name, "a Uint8Array");
  }
  const Napi::Uint8Array array = value.As<Napi::Uint8Array>();
  return {nullptr, {array.Data(), array.ByteLength()}};
}

Napi::Object object_argument(Napi::Value value, const char* name) {
  if (!value.IsObject()) refuse(value, name, "an object");
  return value.As<Napi::Object>();
}

std::string path_argument(Napi::Value value, const char* name) {
  if (!value.IsString()) refuse(value, name, "a string");
  std::string path = value.As<Napi::String>().Utf8Value();
  if (path.empty() || path.find('\0') != std::string::npos) {
    throw invalid_argument(value.Env(), std::string(name) + ": expected the path of a file, got " +
                                            (path.empty() ? "an empty string" : "one with a zero byte"));
  }
  return path;
}

size_t length_argument(Napi::Value value, const char* name) {
  if (!value.IsNumber()) refuse(value, name, "a number");
  const double number = value.As<Napi::Number>().DoubleValue();
  if (!(number >= 0 && number <= static_cast<double>(max_safe_integer)) || std::floor(number) != number) {
    throw invalid_argument(value.Env(), std::string(name) + ": expected a number of bytes, got " + value.ToString().Utf8Value());
  }
  return static_cast<size_t>(number);
}

std::optional<double> number_member(Napi::Object options, const char* name) {
  const Napi::Value value = options.Get(name);
  if (value.IsUndefined()) return std::nullopt;
  if (!value.IsNumber()) refuse(value, name, "a number");
  return value.As<Napi::Number>().DoubleValue();
}

std::optional<bool> boolean_member(Napi::Object options, const char* name) {
  const Napi::Value value = options.Get(name);
  if (value.IsUndefined()) return std::nullopt;
  if (!value.IsBoolean()) refuse(value, name, "a boolean");
  return value.As<Napi::Boolean>().Value();
}

std::optional<std::string> string_member(Napi::Object options, const char* name) {
  const Napi::Value value = options.Get(name);
  if (value.IsUndefined()) return std::nullopt;
  if (!value.IsString()) refuse(value, name, "a string");
  return value.As<Napi::String>().Utf8Value();
}

std::optional<int64_t> integer_member(Napi::Object options, const char* name, int64_t lowest, int64_t highest) {
  const std::optional<double> number = number_member(options, name);
  if (!number) return std::nullopt;
  if (!(*number >= static_cast<double>(lowest) && *number <= static_cast<double>(highest)) || std::floor(*number) != *number) {
    throw invalid_argument(options.Env(), std::string(name) + ": expected a whole number from " + std::to_string(lowest) + " to " +
                                              std::to_string(highest) + ", got " + options.Get(name).ToString().Utf8Value());
  }
  return static_cast<int64_t>(*number);
}

const Backend& backend_named(Napi::Env env, const std::optional<std::string>& name) {
  std::string why;
  const Backend* const backend = name && !is_backend_choice(*name) ? find_backend(*name, why) : default_backend(why);
  if (backend == nullptr) throw Napi::Error(env, to_js_error(env, Status::error(StatusCode::backend_unavailable, why)));
  return *backend;
}

const Backend& backend_member(Napi::Object options) { return backend_named(options.Env(), string_member(options, "backend")); }

napi_value to_js_integer(napi_env env, const WireInt& value) {
  napi_value result = nullptr;
  const int64_t signed_value = static_cast<int64_t>(value.bits);
  if (value.negative) {
    if (signed_value >= -static_cast<int64_t>(max_safe_integer)) {
      napi_create_int64(env, signed_value, &result);
    } else {
      napi_create_bigint_int64(env, signed_value, &result);
    }
  } else if (value.bits <= max_safe_integer) {
    napi_create_int64(env, signed_value, &result);
  } else {
    napi_create_bigint_uint64(env, value.bits, &result);
  }
  return result;
}

}  // namespace stemline
