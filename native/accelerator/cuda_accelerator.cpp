#include "cuda_accelerator.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <limits>

#include "../core/batch_sums.h"
#include "../core/event_counts.h"

namespace stemline {

namespace {

// Structures that both sides have are handed over as they are.
static_assert(sizeof(FrameEvents) == sizeof(StemlineCudaFrame) && offsetof(FrameEvents, count) == offsetof(StemlineCudaFrame, count) &&
              offsetof(FrameEvents, position) == offsetof(StemlineCudaFrame, position));
static_assert(sizeof(CroppedSums) == sizeof(StemlineCudaSums) && offsetof(CroppedSums, column_sum) == offsetof(StemlineCudaSums, column_sum) &&
              offsetof(CroppedSums, count) == offsetof(StemlineCudaSums, count));
static_assert(sizeof(CropWindow) == sizeof(StemlineCudaWindow) && offsetof(CropWindow, limit) == offsetof(StemlineCudaWindow, limit));
static_assert(max_detectors == STEMLINE_CUDA_MAX_DETECTORS);

// A device that fails so often without a batch between is given up.
constexpr uint32_t most_failures_in_a_row = 3;

// The device has to be so much faster to be chosen: a choice by chance is not worth its memory.
constexpr double worth_it = 0.9;

constexpr std::array<uint64_t, 5> calibration_events{uint64_t{1} << 14, uint64_t{1} << 16, uint64_t{1} << 18, uint64_t{1} << 20, uint64_t{1} << 22};

int32_t crop_of(Crop::Kind kind) {
  switch (kind) {
    case Crop::Kind::fixed: return STEMLINE_CUDA_CROP_FIXED;
    case Crop::Kind::own_center: return STEMLINE_CUDA_CROP_OWN_CENTER;
    case Crop::Kind::none: break;
  }
  return STEMLINE_CUDA_CROP_NONE;
}

// Frames of 100 events on 576 x 576 pixels, most of them in a bright disk, two frames a position.
class CalibrationBatch {
 public:
  CalibrationBatch() : events_(calibration_events.back()) {
    uint64_t state = 2026;
    const auto random = [&state](uint32_t below) {
      state = state * 6364136223846793005 + 1442695040888963407;
      return static_cast<uint32_t>((state >> 32) * below >> 32);
    };
    for (uint32_t& event : events_) {
      // Sums of two uniform numbers lie around the middle.
      const uint32_t width = random(16) == 0 ? side / 2 : 70, from = side / 2 - width;
      event = (from + random(width) + random(width)) * side + from + random(width) + random(width);
    }
  }

  std::span<const uint8_t> bytes(uint64_t events) const { return {reinterpret_cast<const uint8_t*>(events_.data()), events * sizeof(uint32_t)}; }

  static BatchHeader header(uint64_t events, BufferPool& pool) {
    BatchHeader header;
    header.scan_rows = 1;
    header.scan_columns = static_cast<uint32_t>(calibration_events.back() / frame_events);
    header.frame_rows = header.frame_columns = side;
    header.frame_count = (events + frame_events - 1) / frame_events;
    header.storage = pool.take_array<FrameRecord>(header.frame_count);
    for (size_t i = 0; i < header.frame_count; ++i) {
      const uint64_t begin = i * frame_events;
      FrameRecord record;
      record.offset = begin * sizeof(uint32_t);
      record.size = static_cast<uint32_t>(std::min(frame_events, events - begin) * sizeof(uint32_t));
      record.column = static_cast<uint32_t>(i / 2);
      header.frames()[i] = record;
    }
    header.batch_size_bytes = events * sizeof(uint32_t);
    return header;
  }

 private:
  static constexpr uint32_t side = 576;
  static constexpr uint64_t frame_events = 100;

  std::vector<uint32_t> events_;
};

BatchOptions options_of(BatchOperation operation) {
  BatchOptions options;
  if (operation != BatchOperation::no_crop) options.crop_to = {60, 60};
  if (operation == BatchOperation::fixed_crop) options.init_center = {288, 288};
  return options;
}

}  // namespace

Status CudaAccelerator::create(const CudaFunctions& functions, int32_t device, std::unique_ptr<CudaAccelerator>& created) {
  char reason[512] = "";
  StemlineCudaContext* context = nullptr;
  const int32_t result = functions.create(device, cuda_max_bytes, &context, reason, sizeof reason);
  if (result != STEMLINE_CUDA_OK || context == nullptr) {
    return Status::error(StatusCode::backend_unavailable, std::string(reason, strnlen(reason, sizeof reason)));
  }
  created.reset(new CudaAccelerator(functions, context));
  return {};
}

CudaAccelerator::~CudaAccelerator() { functions_.destroy(context_); }

bool CudaAccelerator::takes(BatchOperation operation, uint64_t event_count) const {
  if (off_.load(std::memory_order_relaxed)) return false;
  // The calibrated size next to it, by ratio.
  const CalibrationPoint* nearest = nullptr;
  double least = std::numeric_limits<double>::infinity();
  for (const CalibrationPoint& point : calibration_) {
    if (point.operation != operation) continue;
    const double times = static_cast<double>(std::max<uint64_t>(event_count, 1)) / static_cast<double>(point.events);
    const double ratio = std::max(times, 1 / times);
    if (ratio < least) {
      least = ratio;
      nearest = &point;
    }
  }
  return nearest == nullptr || nearest->device_chosen;
}

bool CudaAccelerator::compute(const BatchWork& work, BatchWorkResult& result) {
  StemlineCudaBatch batch{};
  batch.events = work.events;
  batch.event_count = work.event_count;
  batch.frames = reinterpret_cast<const StemlineCudaFrame*>(work.frames.data());
  batch.frame_count = static_cast<uint32_t>(work.frames.size());
  batch.position_count = work.position_count;
  batch.frame_columns = work.frame_columns;
  batch.frame_rows = work.frame_rows;
  batch.crop = crop_of(work.crop.kind);
  batch.shape = work.crop.shape == CropShape::disk ? STEMLINE_CUDA_DISK : STEMLINE_CUDA_BOX;
  batch.window = std::bit_cast<StemlineCudaWindow>(work.crop.window);
  batch.half_rows = work.crop.half_rows;
  batch.half_columns = work.crop.half_columns;
  batch.limit = work.crop.limit;
  if (work.masks != nullptr) {
    batch.analysis = 1;
    batch.detectors = work.masks->bits.data();
    batch.detectors_key = work.masks->key;
    batch.detector_count = work.detector_count;
    batch.event_counts = result.events;
    batch.detector_counts = result.detectors;
    batch.pattern = result.pattern;
  }
  batch.sums = reinterpret_cast<StemlineCudaSums*>(result.sums);
  batch.largest = &result.largest;

  char reason[512] = "";
  uint64_t ticket = 0;
  if (!note(functions_.submit(context_, &batch, &ticket, reason, sizeof reason), reason)) return false;
  if (!note(functions_.wait(context_, ticket, reason, sizeof reason), reason)) return false;
  const std::lock_guard lock(mutex_);
  ++figures_.batches;
  failures_in_a_row_ = 0;
  return true;
}

// Notes an outcome; false unless all is well.
bool CudaAccelerator::note(int32_t result, const char* reason) {
  if (result == STEMLINE_CUDA_OK) return true;
  const std::lock_guard lock(mutex_);
  if (result == STEMLINE_CUDA_BUSY) {
    ++figures_.busy;
  } else if (result == STEMLINE_CUDA_TOO_LARGE) {
    ++figures_.too_large;
  } else {
    ++figures_.failures;
    figures_.failure.assign(reason, strnlen(reason, 511));
    if (result == STEMLINE_CUDA_LOST || ++failures_in_a_row_ >= most_failures_in_a_row) {
      figures_.off = true;
      off_.store(true, std::memory_order_relaxed);
    }
  }
  return false;
}

void CudaAccelerator::calibrate(const Backend& cpu, BufferPool& pool) {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point begin) { return std::chrono::duration<double, std::milli>(Clock::now() - begin).count(); };
  const Clock::time_point begin = Clock::now();
  const CalibrationBatch batch;
  std::shared_ptr<VirtualDetectors> detectors;
  const Annulus bright{std::nullopt, 0, 60}, dark{std::nullopt, 80, 280};
  if (!VirtualDetectors::create({{"bright_field", bright}, {"dark_field", dark}}, {}, detectors).ok()) return;

  std::vector<CalibrationPoint> points;
  for (size_t operation = 0; operation < batch_operation_count; ++operation) {
    for (const uint64_t events : calibration_events) {
      CalibrationPoint point{static_cast<BatchOperation>(operation), events, 0, 0, false};
      BatchOptions options = options_of(point.operation);
      options.backend = &cpu;
      // Milliseconds; endless if the device did not do it.
      const auto run = [&](Accelerator* accelerator) {
        options.accelerator = accelerator;
        EventCounts counts(*detectors, pool);
        BatchSums sums(batch.bytes(events), options, pool);
        BatchHeader header = CalibrationBatch::header(events, pool);
        const Clock::time_point start = Clock::now();
        const bool analysis = point.operation == BatchOperation::analysis;
        const Status status = sums.compute(std::move(header), analysis ? &counts : nullptr);
        if (analysis && status.ok()) counts.finish();
        const double ms = since(start);
        const bool done = status.ok() && (accelerator == nullptr || sums.figures().computed_by == accelerator->name());
        return done ? ms : std::numeric_limits<double>::infinity();
      };
      // The first run makes memory.
      const auto best = [&](Accelerator* accelerator) {
        run(accelerator);
        return std::min(run(accelerator), run(accelerator));
      };
      point.cpu_ms = best(nullptr);
      point.device_ms = best(this);
      point.device_chosen = point.device_ms < worth_it * point.cpu_ms;
      points.push_back(point);
    }
  }
  calibration_ = std::move(points);
  calibration_ms_ = since(begin);
  // What was computed on the way is no work.
  const std::lock_guard lock(mutex_);
  figures_.batches = 0;
}

CudaAccelerator::Figures CudaAccelerator::figures() const {
  const std::lock_guard lock(mutex_);
  return figures_;
}

StemlineCudaUsage CudaAccelerator::usage() const {
  StemlineCudaUsage usage{};
  char reason[8];
  functions_.query(context_, &usage, reason, sizeof reason);
  return usage;
}

}  // namespace stemline
