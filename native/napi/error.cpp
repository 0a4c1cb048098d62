#include "error.h"

namespace stemline {

napi_value to_js_error(napi_env env, const Status& status) {
  napi_value code = nullptr, message = nullptr, error = nullptr;
  const char* const name = status_code_name(status.code);
  if (napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &code) != napi_ok) return nullptr;
  if (napi_create_string_utf8(env, status.message.data(), status.message.size(), &message) != napi_ok) return nullptr;
  if (napi_create_error(env, code, message, &error) != napi_ok) return nullptr;
  return error;
}

Napi::Error invalid_argument(Napi::Env env, const std::string& message) {
  return Napi::Error(env, to_js_error(env, Status::error(StatusCode::invalid_argument, message)));
}

}  // namespace stemline
