// The kernel of center-of-mass-partial: BatchedFrames message in, COMPartial message out, bytes to bytes.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "backend.h"
#include "buffer_pool.h"
#include "status.h"

namespace stemline {

// What the result is written as: the whole scan, as Python readers expect it, or the positions of the batch, see
// com_positions.h.
enum class ComPartialForm : uint8_t { scan, positions };

struct ComPartialOptions {
  struct Pair {
    double x = 0;  // along rows: the peer's x is the row
    double y = 0;  // along columns
  };
  std::optional<Pair> crop_to;      // half sizes of a box; the larger one is the radius of a disk; pixels
  std::optional<Pair> init_center;  // pixels; without it a crop is centred on each position's own centre of mass
  CropShape crop_shape = CropShape::box;
  ComPartialForm form = ComPartialForm::scan;
  bool replace_nans = false;  // not with positions alone
  // Leave out frames that lie outside the scan or hold events outside the detector, instead of refusing the message.
  bool drop_invalid_frames = false;
  const Backend* backend = &scalar_backend;
  // Looked at between blocks of frames; may be null.
  const std::atomic<bool>* cancelled = nullptr;
};

struct ComPartialResult {
  PooledBuffer meta;  // batch header as JSON
  PooledBuffer data;  // .npz: com float32 (2, rows, columns), count uint32 (rows, columns); or columns of com_positions.h
  uint64_t frames = 0;
  uint64_t events = 0;
  uint64_t dropped_frames = 0;
  std::string dropped_reason;  // of the first dropped frame
};

// com[0] is the mean column and com[1] the mean row of the events kept at each scan position, NaN where there are none;
// count is how many were kept. Sums are exact; the division is float64, rounded to float32.
// Throws std::bad_alloc only.
Status center_of_mass_partial(std::span<const uint8_t> meta, std::span<const uint8_t> data, const ComPartialOptions& options,
                              BufferPool& pool, ComPartialResult& result);

}  // namespace stemline
