// The kernel of center-of-mass-reduce: joins the COMPartial messages of a scan, in either form, into one COM message.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <vector>

#include "backend.h"
#include "buffer_pool.h"
#include "status.h"
#include "wire_int.h"

namespace stemline {

struct BatchHeader;

struct ComReduceOptions {
  int64_t emit_every = 50;          // messages of a scan between two emissions; 0 or less: only when complete
  uint64_t max_concurrent_scans = 4;  // at least 1
  bool include_headers = false;     // put the headers of all frames into each emission, as the peer does
  bool replace_nans = true;         // fill positions without value with the plane's mean, as the peer does
  const Backend* backend = &scalar_backend;
};

// A COM message: what is known of a scan so far.
struct ComEmission {
  PooledBuffer meta;  // JSON: scan_number, scan_shape, frame_shape, headers
  // .npz: com float32 (2, rows, columns), and the sums of all messages' counts, uint64, in their order.
  PooledBuffer data;
  WireInt scan_number;
  uint64_t messages = 0;
  uint64_t frames = 0;
  uint64_t positions_seen = 0;
  uint64_t positions = 0;
  bool complete = false;  // every position was seen; the scan's state is gone
  bool evicted = false;   // pushed out by a newer scan before it was complete; the scan's state is gone
};

// State of the scans under way, at most max_concurrent_scans of them. Calls must not overlap.
class ComReducer {
 public:
  ComReducer();
  ~ComReducer();

  // Adds one partial result. `emissions` gets the scans that had to make room, then the message's own scan if it is due.
  // A message that is refused leaves the state as it was. Messages of a scan may come in either form, which makes no
  // difference to the result. Throws std::bad_alloc only.
  //
  // Means are joined exactly: weighted by the `count` array of the partial. sum = mean * count is rounded back to the
  // integer that it was, which the float32 mean determines for sums below 2^23; larger ones keep the mean's precision.
  // A partial without `count` is weighted by its frames that held events.
  //
  // Counts that a partial has besides, as those of scan_analysis, are added up: every uint32 array of the scan's or the frames'
  // shape. All messages of a scan have the same ones.
  Status add(std::span<const uint8_t> meta, std::span<const uint8_t> data, const ComReduceOptions& options, BufferPool& pool,
             std::vector<ComEmission>& emissions);

  // Emits and drops every scan under way, oldest first.
  void flush(const ComReduceOptions& options, BufferPool& pool, std::vector<ComEmission>& emissions);

  size_t scans_under_way() const { return scans_.size(); }

 private:
  struct Scan;

  // The scan that a message belongs to, begun if it is the first one.
  Status find_scan(const BatchHeader& header, const ComReduceOptions& options, BufferPool& pool, std::vector<ComEmission>& emissions,
                   Scan*& scan);

  std::list<std::unique_ptr<Scan>> scans_;  // oldest first
};

}  // namespace stemline
