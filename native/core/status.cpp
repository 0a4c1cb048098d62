#include "status.h"

namespace stemline {

const char* status_code_name(StatusCode code) {
  switch (code) {
    case StatusCode::ok: return "";
    case StatusCode::invalid_argument: return "STEMLINE_INVALID_ARGUMENT";
    case StatusCode::cancelled: return "ABORT_ERR";
    case StatusCode::out_of_memory: return "STEMLINE_OUT_OF_MEMORY";
    case StatusCode::internal: return "STEMLINE_INTERNAL";
    case StatusCode::backend_unavailable: return "STEMLINE_BACKEND_UNAVAILABLE";
    case StatusCode::truncated: return "STEMLINE_BATCH_TRUNCATED";
    case StatusCode::trailing_bytes: return "STEMLINE_BATCH_TRAILING_BYTES";
    case StatusCode::malformed: return "STEMLINE_BATCH_MALFORMED";
    case StatusCode::wrong_type: return "STEMLINE_BATCH_WRONG_TYPE";
    case StatusCode::missing_field: return "STEMLINE_BATCH_MISSING_FIELD";
    case StatusCode::unknown_dtype: return "STEMLINE_BATCH_DTYPE";
    case StatusCode::empty_batch: return "STEMLINE_BATCH_EMPTY";
    case StatusCode::mixed_batch: return "STEMLINE_BATCH_MIXED";
    case StatusCode::too_large: return "STEMLINE_BATCH_TOO_LARGE";
    case StatusCode::size_mismatch: return "STEMLINE_BATCH_SIZE";
    case StatusCode::scan_position: return "STEMLINE_BATCH_SCAN_POSITION";
    case StatusCode::event_index: return "STEMLINE_BATCH_EVENT_INDEX";
    case StatusCode::detector_shape: return "STEMLINE_BATCH_DETECTOR_SHAPE";
    case StatusCode::unknown_format: return "STEMLINE_BATCH_FORMAT";
    case StatusCode::wrong_value: return "STEMLINE_BATCH_VALUE";
    case StatusCode::npz_layout: return "STEMLINE_NPZ_LAYOUT";
    case StatusCode::npz_invalid: return "STEMLINE_NPZ_INVALID";
    case StatusCode::bytes_released: return "STEMLINE_BYTES_RELEASED";
    case StatusCode::zmq_unavailable: return "STEMLINE_ZMQ_UNAVAILABLE";
    case StatusCode::scan_changed: return "STEMLINE_SCAN_CHANGED";
  }
  return "STEMLINE_INTERNAL";
}

}  // namespace stemline
