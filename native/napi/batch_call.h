// What calls that take a batch have in common.
#pragma once

#include <napi.h>

#include "../core/batch_sums.h"
#include "../core/buffer_pool.h"

namespace stemline {

// Which device a call asks for.
enum class Device : uint8_t { any, cpu, accelerator };

// Reads the members of `object` that say which events count and where: cropX, cropY, centerX, centerY, disk, dropInvalidFrames,
// backend.
void read_batch_options(Napi::Object object, BatchOptions& options, Device& device);

// Has the batch computed by this process's accelerator, where it takes it; on the thread that computes. A status that is not ok
// if the call asked for an accelerator and there is none.
Status find_accelerator(Device device, BatchOptions& options);

// The number that the call may be cancelled by, 0 for none.
uint32_t job_number_member(Napi::Object object);

// { meta, data, frames, events, droppedFrames, droppedReason, backend }; nullptr if the environment can make no values.
napi_value batch_result(napi_env env, PooledBuffer meta, PooledBuffer data, const BatchFigures& figures);

}  // namespace stemline
