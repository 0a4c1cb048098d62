// The kernel of scan-analysis: one pass over a batch for its centre of mass, virtual detectors and summed pattern. BatchedFrames
// message in, COMPartial message with further arrays out, bytes to bytes.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "batch_sums.h"
#include "buffer_pool.h"
#include "com_arrays.h"
#include "status.h"
#include "virtual_detectors.h"

namespace stemline {

// Arrays of a result that are there whatever the detectors are.
inline constexpr std::string_view events_name = "events", pattern_name = "pattern";
inline constexpr std::array<std::string_view, 4> analysis_array_names{com_name, count_name, events_name, pattern_name};

struct ScanAnalysisResult : BatchFigures {
  PooledBuffer meta;  // batch header as JSON
  // .npz: com and count as center_of_mass_partial has them; events uint32 (rows, columns), all events of each position; pattern
  // uint32 (frame rows, frame columns), all events of each pixel; and for each detector, by its name, uint32 (rows, columns).
  PooledBuffer data;
};

// A crop is for the centre of mass alone. Frames have at most max_counted_pixels pixels. Throws std::bad_alloc only.
Status scan_analysis(std::span<const uint8_t> meta, std::span<const uint8_t> data, const BatchOptions& options,
                     VirtualDetectors& detectors, BufferPool& pool, ScanAnalysisResult& result);

}  // namespace stemline
