// Launches of the kernels.
#pragma once

#include <driver_types.h>

#include "frame_sums.h"

namespace stemline::cuda {

// Fails if this library has no code that the current device can run.
cudaError_t find_kernels();

// Adds the sums of all parts, at least one, to the task's results. `mean_count` of events in a part. A crop around own centres
// needs task.own_sums, and does no analysis. `multiprocessors` of the current device.
cudaError_t launch_sums(const SumsTask& task, StemlineCudaCrop crop, StemlineCudaShape shape, bool analysis, uint32_t mean_count,
                        uint32_t multiprocessors, cudaStream_t stream);

}  // namespace stemline::cuda
