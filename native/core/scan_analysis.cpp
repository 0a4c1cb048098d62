#include "scan_analysis.h"

#include <vector>

#include "event_counts.h"
#include "npz.h"

namespace stemline {

Status scan_analysis(std::span<const uint8_t> meta, std::span<const uint8_t> data, const BatchOptions& options,
                     VirtualDetectors& detectors, BufferPool& pool, ScanAnalysisResult& result) {
  result = ScanAnalysisResult{};
  BatchSums sums(data, options, pool);
  EventCounts counts(detectors, pool);
  if (Status status = sums.compute(meta, &counts); !status.ok()) return status;
  static_cast<BatchFigures&>(result) = sums.figures();
  counts.finish();

  const BatchHeader& header = sums.header();
  std::vector<NpzWriter::Member> members{com_member(header), scan_counts_member(count_name, header), scan_counts_member(events_name, header),
                                         {pattern_name, "<u4", sizeof(uint32_t), {header.frame_rows, header.frame_columns}}};
  for (const VirtualDetector& detector : detectors.detectors()) members.push_back(scan_counts_member(detector.name, header));
  NpzWriter npz(members, pool);
  write_com_arrays(sums, npz.data(0), npz.data(1));
  write_scan_counts(sums, counts.events(), npz.data(2));
  npz.copy(3, reinterpret_cast<const uint8_t*>(counts.pattern().data()), *options.backend);
  for (size_t d = 0; d < detectors.size(); ++d) write_scan_counts(sums, counts.detector(d), npz.data(4 + d));
  result.data = npz.finish(*options.backend);
  result.meta = encode_batch_header_json(header, pool);
  return {};
}

}  // namespace stemline
