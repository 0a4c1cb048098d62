// What is measured; one function a file.
#pragma once

#include <vector>

#include "backend.h"
#include "harness.h"
#include "message.h"

namespace bench {

// Events a frame that are swept everywhere.
inline constexpr double events_per_frame[] = {10, 30, 100, 300};

// Frames that the 4D Camera delivers each second.
inline constexpr double detector_frames_per_second = 87000;

std::vector<const stemline::Backend*> usable_backends();

Section bench_stream_read(Harness& harness);
Section bench_center_of_mass(Harness& harness);
Section bench_headers(Harness& harness);
Section bench_npz(Harness& harness);
Section bench_partial(Harness& harness);
Section bench_reduce(Harness& harness);

}  // namespace bench
