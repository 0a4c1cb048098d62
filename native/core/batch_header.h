// The header of a BatchedFrames message (MessagePack) or of a COMPartial message (the same fields as JSON), as columns
// of numbers instead of one object a frame.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "buffer_pool.h"
#include "dtype.h"
#include "status.h"
#include "wire_int.h"

namespace stemline {

// Largest sizes that are read. They bound what a message may make us allocate: a result has 12 bytes a scan position.
inline constexpr uint64_t max_scan_positions = uint64_t{1} << 24;
inline constexpr uint64_t max_frame_side = 65535;

// One frame's header, less what all frames of a batch share.
struct FrameRecord {
  uint64_t offset = 0;        // of the first event in the message's data, bytes
  uint64_t frame_number = 0;  // bits of the number if has_frame_number
  uint32_t size = 0;          // of the events, bytes
  uint32_t row = 0;           // of the scan position; UINT32_MAX stands for any row or column outside uint32
  uint32_t column = 0;
  uint32_t modules : 30 = 0;  // index into BatchHeader::modules
  uint32_t has_frame_number : 1 = 0;
  uint32_t frame_number_negative : 1 = 0;
};

struct BatchHeader {
  WireInt scan_number;  // of the batch; frames have frame_scan_number, which may differ
  WireInt frame_scan_number;
  uint32_t scan_rows = 0;
  uint32_t scan_columns = 0;
  uint32_t frame_rows = 0;
  uint32_t frame_columns = 0;
  EventDtype dtype = EventDtype::uint32;
  uint64_t batch_size_bytes = 0;
  std::optional<WireInt> total_batches;
  std::optional<WireInt> total_frames;
  std::optional<WireInt> current_batch_index;

  // The different `modules` lists of the frames, as JSON text.
  std::vector<std::string> modules;

  PooledBuffer storage;
  size_t frame_count = 0;
  std::span<FrameRecord> frames() const { return storage.as<FrameRecord>(frame_count); }

  uint64_t scan_positions() const { return uint64_t{scan_rows} * scan_columns; }
  uint64_t frame_pixels() const { return uint64_t{frame_rows} * frame_columns; }
  size_t event_size() const { return dtype_info(dtype).size; }

  bool in_scan(const FrameRecord& frame) const { return frame.row < scan_rows && frame.column < scan_columns; }
  uint32_t position(const FrameRecord& frame) const { return frame.row * scan_columns + frame.column; }
};

enum class HeaderFormat { msgpack, json };

// Reads and checks a batch header. On success frames are complete and agree with each other, sizes add up to
// batch_size_bytes and are whole events; scan positions may still lie outside the scan (see check_positions).
Status decode_batch_header(HeaderFormat format, std::span<const uint8_t> bytes, BufferPool& pool, BatchHeader& header);

// Refuses a message whose data has another size than its header says.
Status check_data_size(const BatchHeader& header, size_t data_size);

// Refuses the first frame outside the scan.
Status check_positions(const BatchHeader& header);

// Refuses a shape without rows or columns, or beyond the limits; the error begins with `name`.
Status check_shape(const char* name, const WireInt& rows, const WireInt& columns, uint64_t max_side, uint64_t max_product,
                   uint32_t& rows_out, uint32_t& columns_out);

// Text of a frame outside the scan.
std::string outside_scan_text(const BatchHeader& header, size_t frame);

// Writes the header as the peer's JSON: compact, fields in declaration order, absent optionals null. `batch_size_bytes`
// is that of the header's frames.
PooledBuffer encode_batch_header_json(const BatchHeader& header, BufferPool& pool);

// Text followed by spare bytes, so that it can be copied in whole blocks.
struct PaddedText {
  std::string bytes;
  size_t length = 0;
};

// Writes frame headers as JSON.
class FrameJsonWriter {
 public:
  explicit FrameJsonWriter(const BatchHeader& header);

  // Bytes that write() may touch.
  size_t max_bytes(const FrameRecord& frame) const;

  // Writes one frame's header at `out` and returns the end of the text.
  uint8_t* write(const FrameRecord& frame, uint8_t* out) const;

 private:
  PaddedText before_column_;
  PaddedText before_row_;
  std::vector<PaddedText> before_size_;  // one for each modules list
  PaddedText before_number_;
  PaddedText after_number_;
};

}  // namespace stemline
