#include "center_of_mass_partial.h"

#include <cstring>

#include "com_arrays.h"
#include "com_positions.h"
#include "nan_mean.h"
#include "npz.h"

namespace stemline {

namespace {

void write_positions(const BatchSums& sums, BufferPool& pool, ComPartialResult& result) {
  ComPositionsWriter writer(sums.header(), sums.lowest_position(), sums.position_count(), pool);
  const std::span<const uint32_t> positions = writer.positions();
  const std::span<uint32_t> counts = writer.counts();
  const std::span<float> mean_columns = writer.mean_columns(), mean_rows = writer.mean_rows();
  for (size_t entry = 0; entry < positions.size(); ++entry) {
    const PositionSums& position = sums.sums()[positions[entry] - sums.lowest_position()];
    counts[entry] = static_cast<uint32_t>(position.count);
    mean_columns[entry] = mean_of(position.column_sum, position.count);
    mean_rows[entry] = mean_of(position.row_sum, position.count);
  }
  result.meta = writer.meta();
  result.data = writer.data();
}

// Whole planes are prepared in aligned memory only for this.
void replace_nans(uint8_t* plane, uint64_t positions, BufferPool& pool) {
  PooledBuffer copy = pool.take_array<float>(positions);
  std::memcpy(copy.data(), plane, sizeof(float) * positions);
  replace_nans_by_mean(copy.as<float>(positions));
  std::memcpy(plane, copy.data(), sizeof(float) * positions);
}

void write_scan(const BatchSums& sums, const ComPartialOptions& options, BufferPool& pool, ComPartialResult& result) {
  const BatchHeader& header = sums.header();
  const uint64_t positions = header.scan_positions();
  const NpzWriter::Member members[] = {com_member(header), scan_counts_member(count_name, header)};
  NpzWriter npz(members, pool);
  write_com_arrays(sums, npz.data(0), npz.data(1));
  // The peer returns before this step if the batch has no event at all.
  if (options.replace_nans && header.batch_size_bytes > 0) {
    replace_nans(npz.data(0), positions, pool);
    replace_nans(npz.data(0) + sizeof(float) * positions, positions, pool);
  }
  result.data = npz.finish(*options.backend);
  result.meta = encode_batch_header_json(header, pool);
}

}  // namespace

Status center_of_mass_partial(std::span<const uint8_t> meta, std::span<const uint8_t> data, const ComPartialOptions& options,
                              BufferPool& pool, ComPartialResult& result) {
  result = ComPartialResult{};
  if (options.replace_nans && options.form == ComPartialForm::positions) {
    return Status::error(StatusCode::invalid_argument, "replaceNaNs: expected false with the positions of the batch alone, got true");
  }
  BatchSums sums(data, options, pool);
  if (Status status = sums.compute(meta, nullptr); !status.ok()) return status;
  static_cast<BatchFigures&>(result) = sums.figures();
  if (options.form == ComPartialForm::positions) {
    write_positions(sums, pool, result);
  } else {
    write_scan(sums, options, pool, result);
  }
  return {};
}

}  // namespace stemline
