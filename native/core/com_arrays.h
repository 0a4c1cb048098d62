// The arrays of a whole scan that a COMPartial message has.
#pragma once

#include <cstring>
#include <span>

#include "batch_sums.h"
#include "npz.h"

namespace stemline {

// Names that results of a batch use for them.
inline constexpr std::string_view com_name = "com", count_name = "count";

// Their members: com float32 (2, rows, columns), count uint32 (rows, columns).
inline NpzWriter::Member com_member(const BatchHeader& header) {
  return {com_name, "<f4", sizeof(float), {2, header.scan_rows, header.scan_columns}};
}
inline NpzWriter::Member scan_counts_member(std::string_view name, const BatchHeader& header) {
  return {name, "<u4", sizeof(uint32_t), {header.scan_rows, header.scan_columns}};
}

// Fills in both: plane 0 of com is the mean column and plane 1 the mean row of the events kept at each position, NaN where
// there are none; count is how many were kept. Members start at any offset of the archive.
void write_com_arrays(const BatchSums& sums, uint8_t* com, uint8_t* count);

// Fills in a plane of the whole scan with one number for each position that has sums, and 0 for the others.
void write_scan_counts(const BatchSums& sums, std::span<const uint32_t> counts, uint8_t* plane);

}  // namespace stemline
