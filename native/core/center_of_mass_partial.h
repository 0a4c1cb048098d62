// The kernel of center-of-mass-partial: BatchedFrames message in, COMPartial message out, bytes to bytes.
#pragma once

#include <cstdint>
#include <span>

#include "batch_sums.h"
#include "buffer_pool.h"
#include "status.h"

namespace stemline {

// What the result is written as: the whole scan, as Python readers expect it, or the positions of the batch, see
// com_positions.h.
enum class ComPartialForm : uint8_t { scan, positions };

struct ComPartialOptions : BatchOptions {
  ComPartialForm form = ComPartialForm::scan;
  bool replace_nans = false;  // not with positions alone
};

struct ComPartialResult : BatchFigures {
  PooledBuffer meta;  // batch header as JSON
  PooledBuffer data;  // .npz: com float32 (2, rows, columns), count uint32 (rows, columns); or columns of com_positions.h
};

// com[0] is the mean column and com[1] the mean row of the events kept at each scan position, NaN where there are none;
// count is how many were kept. Sums are exact; the division is float64, rounded to float32.
// Throws std::bad_alloc only.
Status center_of_mass_partial(std::span<const uint8_t> meta, std::span<const uint8_t> data, const ComPartialOptions& options,
                              BufferPool& pool, ComPartialResult& result);

}  // namespace stemline
