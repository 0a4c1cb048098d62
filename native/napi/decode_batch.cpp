#include "../core/batch_header.h"
#include "convert.h"
#include "error.h"
#include "exports.h"

namespace stemline {

namespace {

Napi::Value shape_value(Napi::Env env, uint32_t rows, uint32_t columns) {
  Napi::Array shape = Napi::Array::New(env, 2);
  shape.Set(0u, rows);
  shape.Set(1u, columns);
  return shape;
}

void refuse_if(Napi::Env env, const Status& status) {
  if (!status.ok()) throw Napi::Error(env, to_js_error(env, status));
}

}  // namespace

Napi::Value js_decode_batch(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const SharedBytes meta = bytes_argument(info[0], "meta");
  const size_t data_length = length_argument(info[1], "dataLength");
  try {
    BatchHeader header;
    refuse_if(env, decode_batch_header(HeaderFormat::msgpack, meta.bytes, buffer_pool(), header));
    refuse_if(env, check_data_size(header, data_length));
    refuse_if(env, check_positions(header));
    const size_t count = header.frame_count;
    Napi::Uint32Array positions = Napi::Uint32Array::New(env, count);
    Napi::Uint32Array offsets = Napi::Uint32Array::New(env, count + 1);
    const size_t event_size = header.event_size();
    for (size_t i = 0; i < count; ++i) {
      const FrameRecord& frame = header.frames()[i];
      positions.Data()[i] = header.position(frame);
      offsets.Data()[i] = static_cast<uint32_t>(frame.offset / event_size);
    }
    offsets.Data()[count] = static_cast<uint32_t>(header.batch_size_bytes / event_size);
    const auto optional_integer = [env](const std::optional<WireInt>& value) -> napi_value {
      return value ? to_js_integer(env, *value) : static_cast<napi_value>(env.Null());
    };
    Napi::Object batch = Napi::Object::New(env);
    batch.Set("scanNumber", to_js_integer(env, header.scan_number));
    batch.Set("scanShape", shape_value(env, header.scan_rows, header.scan_columns));
    batch.Set("frameShape", shape_value(env, header.frame_rows, header.frame_columns));
    batch.Set("dtype", std::string(dtype_info(header.dtype).name));
    batch.Set("positions", positions);
    batch.Set("offsets", offsets);
    batch.Set("totalBatches", optional_integer(header.total_batches));
    batch.Set("totalFrames", optional_integer(header.total_frames));
    batch.Set("currentBatchIndex", optional_integer(header.current_batch_index));
    return batch;
  } catch (const std::bad_alloc&) {
    throw Napi::Error(env, to_js_error(env, Status::error(StatusCode::out_of_memory, "not enough memory")));
  }
}

}  // namespace stemline
