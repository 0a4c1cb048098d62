// Batches that an accelerator computes, and those that it leaves to the CPU.
#include "accelerator.h"

#include <functional>
#include <thread>

#include "../../native/accelerator/cuda_accelerator.h"
#include "center_of_mass_partial.h"
#include "helpers/partial.h"
#include "helpers/random_batch.h"
#include "helpers/reduce.h"
#include "scan_analysis.h"

using namespace helpers;
using reference::Batch;
using reference::Crop;
using stemline::Annulus;
using stemline::BatchOperation;
using stemline::CudaAccelerator;
using stemline::CudaFunctions;
using stemline::StatusCode;
using stemline::VirtualDetectors;

namespace {

// The CUDA library's functions as plain loops, with results that can be chosen.
struct FakeCuda {
  static inline std::function<int32_t(const StemlineCudaBatch&)> submit_result;
  static inline std::function<int32_t()> wait_result;
  static inline std::vector<std::pair<uint64_t, StemlineCudaBatch>> under_way;
  static inline uint64_t last_ticket = 0;
  static inline int contexts = 0;
  static inline std::mutex mutex;

  static int32_t devices(StemlineCudaDevice*, size_t, size_t*, StemlineCudaVersions*, char*, size_t) { return STEMLINE_CUDA_OK; }

  static int32_t create(int32_t device, uint64_t max_bytes, StemlineCudaContext** context, char* reason, size_t size) {
    CHECK(max_bytes == stemline::cuda_max_bytes);
    if (device == 7) return fail(STEMLINE_CUDA_NO_DEVICE, "there is no device 7", reason, size);
    ++contexts;
    *context = reinterpret_cast<StemlineCudaContext*>(&contexts);
    return STEMLINE_CUDA_OK;
  }

  static void destroy(StemlineCudaContext* context) {
    CHECK(context == reinterpret_cast<StemlineCudaContext*>(&contexts));
    CHECK(under_way.empty());
    --contexts;
  }

  static int32_t submit(StemlineCudaContext*, const StemlineCudaBatch* batch, uint64_t* ticket, char* reason, size_t size) {
    const std::lock_guard lock(mutex);
    const int32_t result = submit_result ? submit_result(*batch) : STEMLINE_CUDA_OK;
    if (result != STEMLINE_CUDA_OK) return fail(result, "submitting was not possible", reason, size);
    *ticket = ++last_ticket;
    under_way.emplace_back(*ticket, *batch);
    return STEMLINE_CUDA_OK;
  }

  static int32_t wait(StemlineCudaContext*, uint64_t ticket, char* reason, size_t size) {
    const std::lock_guard lock(mutex);
    const auto found = std::find_if(under_way.begin(), under_way.end(), [&](const auto& entry) { return entry.first == ticket; });
    REQUIRE(found != under_way.end());
    const StemlineCudaBatch batch = found->second;
    under_way.erase(found);
    compute(batch);
    const int32_t result = wait_result ? wait_result() : STEMLINE_CUDA_OK;
    return result == STEMLINE_CUDA_OK ? result : fail(result, "waiting came to nothing", reason, size);
  }

  static int32_t query(StemlineCudaContext*, StemlineCudaUsage* usage, char*, size_t) {
    *usage = {};
    usage->device_bytes = 123;
    return STEMLINE_CUDA_OK;
  }

  static CudaFunctions functions() { return {devices, create, destroy, submit, wait, query}; }

  static int32_t fail(int32_t result, const char* text, char* reason, size_t size) {
    std::snprintf(reason, size, "%s", text);
    return result;
  }

  static void compute(const StemlineCudaBatch& batch) {
    const auto event_at = [&](uint64_t i) {
      REQUIRE(i < batch.event_count);
      uint32_t event;
      std::memcpy(&event, static_cast<const uint8_t*>(batch.events) + 4 * i, 4);
      return event;
    };
    const uint64_t pixels = uint64_t{batch.frame_rows} * batch.frame_columns;
    *batch.largest = 0;
    std::vector<StemlineCudaSums> plain(batch.position_count);
    std::fill_n(batch.sums, batch.position_count, StemlineCudaSums{});
    if (batch.analysis != 0) {
      std::fill_n(batch.event_counts, batch.position_count, 0u);
      std::fill_n(batch.detector_counts, size_t{batch.detector_count} * batch.position_count, 0u);
      std::fill_n(batch.pattern, pixels, 0u);
    }
    const auto for_each_event = [&](auto visit) {
      for (uint32_t f = 0; f < batch.frame_count; ++f) {
        const StemlineCudaFrame& frame = batch.frames[f];
        REQUIRE(frame.position < batch.position_count);
        for (uint32_t i = 0; i < frame.count; ++i) visit(frame.position, event_at(uint64_t{frame.begin} + i));
      }
    };
    const auto add = [&](StemlineCudaSums& sums, uint32_t event) {
      sums.row_sum += event / batch.frame_columns;
      sums.column_sum += event % batch.frame_columns;
      ++sums.count;
    };
    for_each_event([&](uint32_t position, uint32_t event) {
      *batch.largest = std::max(*batch.largest, event);
      add(plain[position], event);
      if (batch.analysis == 0 || event >= pixels) return;
      ++batch.event_counts[position];
      ++batch.pattern[event];
      for (uint32_t d = 0; d < batch.detector_count; ++d) {
        batch.detector_counts[size_t{d} * batch.position_count + position] += batch.detectors[event] >> d & 1;
      }
    });
    for_each_event([&](uint32_t position, uint32_t event) {
      const float row = static_cast<float>(event / batch.frame_columns), column = static_cast<float>(event % batch.frame_columns);
      StemlineCudaWindow window = batch.window;
      if (batch.crop == STEMLINE_CUDA_CROP_OWN_CENTER) {
        const stemline::CroppedSums sums{plain[position].row_sum, plain[position].column_sum, plain[position].count};
        window = std::bit_cast<StemlineCudaWindow>(stemline::window_around_own(sums, batch.half_rows, batch.half_columns, batch.limit));
      }
      const float row_distance = row - window.center_row, column_distance = column - window.center_column;
      const float row_square = row_distance * row_distance, column_square = column_distance * column_distance;
      const bool keeps = batch.crop == STEMLINE_CUDA_CROP_NONE ||
                         (batch.shape == STEMLINE_CUDA_DISK
                              ? row_square + column_square <= window.limit
                              : row > window.low_row && row <= window.high_row && column > window.low_column && column <= window.high_column);
      if (keeps) add(batch.sums[position], event);
    });
  }
};

std::unique_ptr<CudaAccelerator> make_accelerator() {
  FakeCuda::submit_result = nullptr;
  FakeCuda::wait_result = nullptr;
  std::unique_ptr<CudaAccelerator> created;
  check_ok(CudaAccelerator::create(FakeCuda::functions(), 0, created));
  return created;
}

// Bytes of a partial result and of an analysis, and what computed them.
struct Results {
  std::vector<Bytes> bytes;
  std::vector<std::string> codes;
  std::vector<std::string> computed_by;
};

Results run_all(const Batch& batch, const reference::ComOptions& com, bool drop, CudaAccelerator* accelerator) {
  const Bytes meta = reference::msgpack(batch_value(batch)), data = batch_data(batch);
  stemline::ComPartialOptions options = partial_options(com, *supported_backends().front(), drop);
  options.accelerator = accelerator;
  Results results;
  const auto keep = [&](const stemline::Status& status, const auto& result) {
    results.codes.push_back(code_name(status.code) + status.message);
    results.computed_by.push_back(result.computed_by);
    results.bytes.push_back(copy_of(result.meta));
    results.bytes.push_back(copy_of(result.data));
  };
  stemline::ComPartialResult partial;
  keep(center_of_mass_partial(meta, data, options, pool(), partial), partial);
  std::shared_ptr<VirtualDetectors> detectors;
  check_ok(VirtualDetectors::create({{"disk", Annulus{std::nullopt, 0, 9}}, {"ring", Annulus{std::nullopt, 9, 99}}}, {}, detectors));
  stemline::ScanAnalysisResult analysis;
  keep(scan_analysis(meta, data, options, *detectors, pool(), analysis), analysis);
  return results;
}

}  // namespace

TEST_CASE("results of an accelerator are those of the CPU, invalid frames included") {
  const std::unique_ptr<CudaAccelerator> accelerator = make_accelerator();
  uint64_t by_device_in_all = 0;
  for_random_cases("accelerator", 300, [&](Random& random) {
    BatchKnobs knobs;
    knobs.small_frames_only = !random.chance(0.02);
    if (random.chance(0.3)) {
      knobs.outside_scan = 0.05;
      knobs.bad_event = 0.05;
    }
    const Batch batch = random_batch(random, knobs);
    if (batch.frame_rows * batch.frame_columns > 400'000) return;
    reference::ComOptions com = random_com_options(random, batch);
    const bool drop = random.chance(0.5);
    const Results cpu = run_all(batch, com, drop, nullptr), device = run_all(batch, com, drop, accelerator.get());
    CHECK(device.codes == cpu.codes);
    CHECK(device.bytes == cpu.bytes);
    for (size_t i = 0; i < device.codes.size(); ++i) {
      if (device.codes[i] != "ok") continue;
      // A message of which nothing is left is computed by nobody.
      const bool by_device = device.computed_by[i] == "cuda";
      CHECK((by_device || drop));
      by_device_in_all += by_device ? 1 : 0;
      CHECK(cpu.computed_by[i] == supported_backends().front()->name);
    }
  });
  CHECK(by_device_in_all > 0);
  // More than that: batches that are refused, or computed again without what was dropped.
  CHECK(accelerator->figures().batches >= by_device_in_all);
  CHECK(accelerator->figures().failures == 0);
}

TEST_CASE("what an accelerator does not compute, the CPU does") {
  Random random(7);
  BatchKnobs knobs;
  knobs.small_frames_only = true;
  const Batch batch = random_batch(random, knobs);
  const Results expected = run_all(batch, {Crop{5, 5}, std::nullopt, false, false}, true, nullptr);
  const auto check = [&](CudaAccelerator& accelerator) {
    const Results got = run_all(batch, {Crop{5, 5}, std::nullopt, false, false}, true, &accelerator);
    CHECK(got.codes == expected.codes);
    CHECK(got.bytes == expected.bytes);
    return got.computed_by[0] + " " + got.computed_by[1];
  };
  const std::string cpu = supported_backends().front()->name;

  SUBCASE("because it is busy or the batch too large, which may happen often") {
    const auto accelerator = make_accelerator();
    for (int i = 0; i < 5; ++i) {
      FakeCuda::submit_result = [](const StemlineCudaBatch& work) { return work.analysis != 0 ? STEMLINE_CUDA_BUSY : STEMLINE_CUDA_TOO_LARGE; };
      CHECK(check(*accelerator) == cpu + " " + cpu);
    }
    FakeCuda::submit_result = nullptr;
    CHECK(check(*accelerator) == "cuda cuda");
    const CudaAccelerator::Figures figures = accelerator->figures();
    CHECK(figures.busy == 5);
    CHECK(figures.too_large == 5);
    CHECK(figures.failures == 0);
    CHECK(figures.batches == 2);
    CHECK(!figures.off);
    CHECK(accelerator->usage().device_bytes == 123);
  }

  SUBCASE("because it fails, after it has written into the results: three times in a row end it") {
    const auto accelerator = make_accelerator();
    int calls = 0;
    FakeCuda::wait_result = [&calls] { return ++calls % 3 == 0 ? STEMLINE_CUDA_OK : STEMLINE_CUDA_FAILED; };
    CHECK(check(*accelerator) == cpu + " " + cpu);
    CHECK(check(*accelerator) == "cuda " + cpu);
    CHECK(!accelerator->figures().off);
    FakeCuda::wait_result = [] { return STEMLINE_CUDA_OUT_OF_MEMORY; };
    CHECK(check(*accelerator) == cpu + " " + cpu);
    CHECK(accelerator->figures().off);
    CHECK(accelerator->figures().failures == 5);
    CHECK(accelerator->figures().failure == "waiting came to nothing");
    FakeCuda::wait_result = nullptr;
    CHECK(check(*accelerator) == cpu + " " + cpu);
    CHECK(accelerator->figures().failures == 5);
  }

  SUBCASE("because the device is lost: at once for good") {
    const auto accelerator = make_accelerator();
    FakeCuda::submit_result = [](const StemlineCudaBatch&) { return STEMLINE_CUDA_LOST; };
    CHECK(check(*accelerator) == cpu + " " + cpu);
    CHECK(accelerator->figures().off);
    CHECK(accelerator->figures().failures == 1);
    CHECK(accelerator->figures().failure == "submitting was not possible");
  }
  CHECK(FakeCuda::contexts == 0);
}

TEST_CASE("a device that cannot be had gives the library's reason") {
  std::unique_ptr<CudaAccelerator> created;
  check_refused(CudaAccelerator::create(FakeCuda::functions(), 7, created), StatusCode::backend_unavailable, {"there is no device 7"});
  CHECK(created == nullptr);
}

TEST_CASE("calibration chooses for each operation and size what was faster") {
  const auto accelerator = make_accelerator();
  // Slow for small batches, and for plain sums of any size; the loops of the fake are slow enough for large ones, so these
  // take a result without computing.
  FakeCuda::submit_result = [](const StemlineCudaBatch& batch) {
    if (batch.event_count < 100'000 || (batch.analysis == 0 && batch.crop == STEMLINE_CUDA_CROP_NONE)) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return STEMLINE_CUDA_OK;
  };
  CudaFunctions functions = FakeCuda::functions();
  functions.wait = [](StemlineCudaContext*, uint64_t, char*, size_t) -> int32_t {
    const std::lock_guard lock(FakeCuda::mutex);
    *FakeCuda::under_way.back().second.largest = 0;
    FakeCuda::under_way.pop_back();
    return STEMLINE_CUDA_OK;
  };
  std::unique_ptr<CudaAccelerator> fast;
  check_ok(CudaAccelerator::create(functions, 0, fast));
  fast->calibrate(stemline::scalar_backend, pool());
  const std::vector<stemline::CalibrationPoint>& points = fast->calibration();
  CHECK(points.size() == 20);
  CHECK(fast->calibration_ms() > 0);
  CHECK(fast->figures().batches == 0);
  for (const stemline::CalibrationPoint& point : points) {
    INFO("operation ", static_cast<int>(point.operation), ", events ", point.events, ": ", point.cpu_ms, " and ", point.device_ms);
    CHECK(point.cpu_ms > 0);
    CHECK(point.device_chosen == (point.device_ms < 0.9 * point.cpu_ms));
    if (point.events < 100'000) CHECK(point.device_ms > 50);
    CHECK(fast->takes(point.operation, point.events) == point.device_chosen);
    // The size next to it, by ratio.
    CHECK(fast->takes(point.operation, point.events * 3 / 2) == point.device_chosen);
    CHECK(fast->takes(point.operation, point.events * 2 / 3) == point.device_chosen);
  }
  CHECK(!fast->takes(BatchOperation::analysis, 0));
  CHECK(!fast->takes(BatchOperation::no_crop, UINT32_MAX));
  CHECK(fast->takes(BatchOperation::analysis, UINT32_MAX) == points.back().device_chosen);

  // A device that fails is not chosen for anything.
  const auto failing = make_accelerator();
  FakeCuda::wait_result = [] { return STEMLINE_CUDA_FAILED; };
  FakeCuda::submit_result = nullptr;
  failing->calibrate(*supported_backends().front(), pool());
  for (const stemline::CalibrationPoint& point : failing->calibration()) CHECK(!point.device_chosen);
  CHECK(failing->figures().off);
}
