// The one place where a core Status becomes a JavaScript error.
#pragma once

#include <napi.h>

#include "../core/status.h"

namespace stemline {

// An Error with the status's message and `code`.
napi_value to_js_error(napi_env env, const Status& status);

// A TypeError with code STEMLINE_INVALID_ARGUMENT, to be thrown by a call that got the wrong arguments.
Napi::Error invalid_argument(Napi::Env env, const std::string& message);

}  // namespace stemline
