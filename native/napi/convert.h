// JavaScript values to checked C++ values and back. TypeScript has checked already; memory safety does not rest on it.
#pragma once

#include <napi.h>

#include <optional>
#include <span>
#include <string>

#include "../core/backend.h"
#include "../core/buffer_pool.h"
#include "../core/shared_bytes.h"
#include "../core/wire_int.h"

namespace stemline {

// The pool of this process, shared by all threads and environments.
BufferPool& buffer_pool();

// Bytes of a NativeBytes, with a share in them, or of a Uint8Array (a Buffer is one), which the caller keeps alive while it
// uses them.
SharedBytes bytes_argument(Napi::Value value, const char* name);

// Members of an options object. Absent and undefined give nullopt; a value of another type throws.
std::optional<double> number_member(Napi::Object options, const char* name);
std::optional<bool> boolean_member(Napi::Object options, const char* name);
std::optional<std::string> string_member(Napi::Object options, const char* name);
// A whole number in [lowest, highest].
std::optional<int64_t> integer_member(Napi::Object options, const char* name, int64_t lowest, int64_t highest);

Napi::Object object_argument(Napi::Value value, const char* name);

// The path of a file: a string that C functions can take.
std::string path_argument(Napi::Value value, const char* name);

// A number of bytes.
size_t length_argument(Napi::Value value, const char* name);

// The CPU's backend of that name, or the default one for none and for a name of backend_choices; throws if it cannot be used.
const Backend& backend_named(Napi::Env env, const std::optional<std::string>& name);

// The same, named by options.backend.
const Backend& backend_member(Napi::Object options);

// A number where it is exact, else a bigint.
napi_value to_js_integer(napi_env env, const WireInt& value);

}  // namespace stemline
