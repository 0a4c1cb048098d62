// Outcome of a core call. The core never throws on bad input, prints or aborts: it returns a Status.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace stemline {

enum class StatusCode : uint8_t {
  ok,
  invalid_argument,  // an option of the call, not the message
  cancelled,         // the caller asked to stop
  out_of_memory,
  internal,  // a defect of ours
  backend_unavailable,
  truncated,        // the header ends before its last value
  trailing_bytes,   // something follows the header
  malformed,        // not MessagePack, not JSON
  wrong_type,       // a field holds another type than the wire format says
  missing_field,    // a required field is absent
  unknown_dtype,    // events of a type that is not read
  empty_batch,      // no frame
  mixed_batch,      // frames disagree on scan number, scan shape, frame shape or dtype
  too_large,        // a size beyond what is accepted
  size_mismatch,    // byte counts that do not add up
  scan_position,    // a frame outside the scan
  event_index,      // an event outside the detector
  detector_shape,   // a virtual detector's mask of another shape than the frames
  unknown_format,   // a form of message, or a version of it, that is not read
  wrong_value,      // a result that contradicts the rest of its message
  npz_layout,       // an .npz of a layout that the fast reader leaves to the general one
  npz_invalid,      // not an .npz, or arrays that do not fit the header
  bytes_released,   // a message part that was used after it had been given back
  zmq_unavailable,  // the ZeroMQ library of the zeromq package cannot be used
  scan_changed,     // a partial result whose shape differs from that of its scan so far
};

// Stable text for the JavaScript error's `code`; "" for ok.
const char* status_code_name(StatusCode code);

struct Status {
  StatusCode code = StatusCode::ok;
  std::string message;

  bool ok() const { return code == StatusCode::ok; }

  static Status error(StatusCode code, std::string message) {
    Status status;
    status.code = code;
    status.message = std::move(message);
    return status;
  }
};

}  // namespace stemline
