// Message parts in JavaScript without an ArrayBuffer. V8 starts a full collection whenever 64 MB of ArrayBuffers have
// come since the last one, however soon they go: every ten messages. Of these objects it knows nothing but their size
// while they are nobody's.
#pragma once

#include <napi.h>

#include <optional>

#include "../core/shared_bytes.h"

namespace stemline {

// Whether V8 is told of the memory, so that it collects what JavaScript drops without release(). Not needed for what
// the runtime itself releases.
enum class Accounting : bool { none, reported };

// class NativeBytes { byteLength: number; view(): Uint8Array; release(): void }. Not constructible from JavaScript.
Napi::Function define_native_bytes(Napi::Env env);

// A NativeBytes that holds `bytes`; nullptr if the environment can no longer make values.
napi_value to_native_bytes(napi_env env, SharedBytes bytes, Accounting accounting);

// What a NativeBytes holds; nullopt if the value is no NativeBytes. Throws STEMLINE_BYTES_RELEASED after release().
std::optional<SharedBytes> native_bytes(Napi::Value value);

// From now on the runtime releases the NativeBytes: V8 is told no more.
void stop_accounting(Napi::Value value);

}  // namespace stemline
