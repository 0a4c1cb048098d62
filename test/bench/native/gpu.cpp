// What a GPU does with batches, beside what its memory, its bus and the CPU allow. Needs neither Node nor Google Benchmark, so
// that it runs where little is installed; prints a table, and with --json an object a line.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "../../../native/accelerator/cuda_accelerator.h"
#include "batch_sums.h"
#include "event_counts.h"
#include "kernels.h"
#include "machine.h"
#include "message.h"

namespace {

using bench::Crop;
using bench::Message;
using stemline::cuda::launch_sums;
using stemline::cuda::SumsTask;

[[noreturn]] void end(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(EXIT_FAILURE);
}

void must(cudaError_t error, const char* what) {
  if (error != cudaSuccess) end(std::string(what) + ": " + cudaGetErrorString(error));
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double seconds_each = 0.4;
bool as_json = false;

struct Figure {
  std::string name;
  double seconds = 0;  // median of one run
  double best = 0;
};

// Nine samples, each of as many runs as fill a ninth of the time. `run` returns when its work is done.
Figure measure(const std::string& name, const std::function<void()>& run) {
  run();
  double start = now();
  run();
  const int runs = std::max(1, static_cast<int>(seconds_each / 9 / std::max(now() - start, 1e-6)));
  std::vector<double> samples;
  for (int i = 0; i < 9; ++i) {
    start = now();
    for (int k = 0; k < runs; ++k) run();
    samples.push_back((now() - start) / runs);
  }
  std::sort(samples.begin(), samples.end());
  return {name, samples[4], samples[0]};
}

// `bytes` that one run moves or reads; `limit` in bytes a second with its name.
void print(const Figure& figure, double bytes, double frames, double events, const char* limit_name, double limit, double baseline_seconds) {
  const double rate = bytes / figure.seconds, spread = figure.seconds / figure.best - 1;
  const double ratio = limit > 0 ? rate / limit : 0, times = baseline_seconds > 0 ? baseline_seconds / figure.seconds : 0;
  if (as_json) {
    const auto number = [](double value) { return value > 0 ? std::to_string(value) : std::string("null"); };
    std::printf("{\"name\":\"%s\",\"nsPerFrame\":%s,\"eventsPerSecond\":%s,\"bytesPerSecond\":%s,\"limit\":%s,\"ratioToLimit\":%s,"
                "\"ratioToBaseline\":%s,\"spread\":%.4f}\n",
                figure.name.c_str(), number(frames > 0 ? figure.seconds / frames * 1e9 : 0).c_str(), number(events / figure.seconds).c_str(),
                number(rate).c_str(), limit_name == nullptr ? "null" : ("\"" + std::string(limit_name) + "\"").c_str(), number(ratio).c_str(),
                number(times).c_str(), spread);
  } else {
    char frame_text[32] = "", limit_text[64] = "", times_text[32] = "";
    if (frames > 0) std::snprintf(frame_text, sizeof frame_text, "%.3f ns a frame", figure.seconds / frames * 1e9);
    if (limit > 0) std::snprintf(limit_text, sizeof limit_text, "%.2f of %s", ratio, limit_name);
    if (times > 0) std::snprintf(times_text, sizeof times_text, "%.1f x all cores", times);
    std::printf("%-36s %9.1f GB/s  %-20s %-32s %-18s spread %.0f %%\n", figure.name.c_str(), rate / 1e9, frame_text, limit_text, times_text,
                100 * spread);
  }
  std::fflush(stdout);
}

template <class T>
struct DeviceArray {
  explicit DeviceArray(size_t n) : count(n) { must(cudaMalloc(reinterpret_cast<void**>(&data), std::max<size_t>(n, 1) * sizeof(T)), "cudaMalloc"); }
  ~DeviceArray() { cudaFree(data); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data = nullptr;
  size_t count;
};

constexpr uint32_t detector_count = 8;

// A message as every way of computing takes it. Each frame is a position of its own.
struct Work {
  explicit Work(uint32_t events_per_frame) {
    bench::MessagePlan plan = bench::real_message(events_per_frame, 512);
    plan.has_header = false;
    message = bench::shared_message(plan);
    uint32_t begin = 0;
    for (uint32_t f = 0; f < message->counts.size(); ++f) {
      frames.push_back({begin, message->counts[f], f});
      begin += message->counts[f];
    }
    std::vector<stemline::VirtualDetector> list;
    for (const bench::Ring& ring : bench::rings(detector_count)) {
      list.push_back({"ring_" + std::to_string(list.size()),
                      stemline::Annulus{stemline::Annulus::Center{bench::crop_row, bench::crop_column}, ring.inner, ring.outer}});
    }
    if (!stemline::VirtualDetectors::create(std::move(list), {}, detectors).ok()) end("no detectors");
    if (!detectors->masks(plan.frame_side, plan.frame_side, masks).ok()) end("no masks");
  }

  double events() const { return static_cast<double>(message->events.size()); }
  double bytes() const { return 4 * events(); }

  std::shared_ptr<const Message> message;
  std::vector<StemlineCudaFrame> frames;
  std::shared_ptr<stemline::VirtualDetectors> detectors;
  std::shared_ptr<const stemline::DetectorMasks> masks;
};

struct Answer {
  std::vector<StemlineCudaSums> sums;
  std::vector<uint32_t> event_counts, detector_counts, pattern;
  uint32_t largest = 0;

  explicit Answer(const Work& work)
      : sums(work.frames.size()), event_counts(sums.size()), detector_counts(detector_count * sums.size()), pattern(work.masks->bits.size()) {}

  bool operator==(const Answer& other) const {
    return std::memcmp(sums.data(), other.sums.data(), sums.size() * sizeof(StemlineCudaSums)) == 0 && event_counts == other.event_counts &&
           detector_counts == other.detector_counts && pattern == other.pattern;
  }
};

StemlineCudaBatch batch_of(const Work& work, const void* events, Crop crop, bool analysis, Answer& answer) {
  StemlineCudaBatch batch{};
  batch.events = events;
  batch.event_count = work.message->events.size();
  batch.frames = work.frames.data();
  batch.frame_count = batch.position_count = static_cast<uint32_t>(work.frames.size());
  batch.frame_rows = batch.frame_columns = work.message->plan.frame_side;
  batch.crop = crop == Crop::none ? STEMLINE_CUDA_CROP_NONE : crop == Crop::own_box ? STEMLINE_CUDA_CROP_OWN_CENTER : STEMLINE_CUDA_CROP_FIXED;
  const float half = static_cast<float>(bench::crop_half_rows), row = static_cast<float>(bench::crop_row), column = static_cast<float>(bench::crop_column);
  batch.window = {row - half, row + half, column - half, column + half, row, column, half * half};
  batch.half_rows = batch.half_columns = half;
  batch.sums = answer.sums.data();
  batch.largest = &answer.largest;
  if (analysis) {
    batch.analysis = 1;
    batch.detectors = work.masks->bits.data();
    batch.detectors_key = work.masks->key;
    batch.detector_count = detector_count;
    batch.event_counts = answer.event_counts.data();
    batch.detector_counts = answer.detector_counts.data();
    batch.pattern = answer.pattern.data();
  }
  return batch;
}

// One thread of the CPU, by its best backend, without headers and archives.
class OnCpu {
 public:
  OnCpu(const Work& work, Crop crop, bool analysis) : work_(work), analysis_(analysis) {
    options_.backend = bench::usable_backends().front();
    if (crop != Crop::none) options_.crop_to = {bench::crop_half_rows, bench::crop_half_columns};
    if (crop == Crop::box) options_.init_center = {bench::crop_row, bench::crop_column};
  }

  // With `answer`, keeps the results there.
  void run(Answer* answer) {
    const bench::MessagePlan& plan = work_.message->plan;
    stemline::BatchHeader header;
    header.scan_rows = 1;
    header.scan_columns = static_cast<uint32_t>(work_.frames.size());
    header.frame_rows = header.frame_columns = plan.frame_side;
    header.frame_count = work_.frames.size();
    header.storage = pool_->take_array<stemline::FrameRecord>(header.frame_count);
    for (size_t f = 0; f < header.frame_count; ++f) {
      stemline::FrameRecord record;
      record.offset = uint64_t{4} * work_.frames[f].begin;
      record.size = 4 * work_.frames[f].count;
      record.column = static_cast<uint32_t>(f);
      header.frames()[f] = record;
    }
    header.batch_size_bytes = work_.message->data_bytes();
    stemline::EventCounts counts(*work_.detectors, *pool_);
    stemline::BatchSums sums({work_.message->data(), work_.message->data_bytes()}, options_, *pool_);
    if (!sums.compute(std::move(header), analysis_ ? &counts : nullptr).ok()) end("the CPU refused a message");
    if (analysis_) counts.finish();
    if (answer == nullptr) return;
    std::memcpy(answer->sums.data(), sums.sums().data(), sums.sums().size_bytes());
    if (!analysis_) return;
    std::copy(counts.events().begin(), counts.events().end(), answer->event_counts.begin());
    std::copy(counts.pattern().begin(), counts.pattern().end(), answer->pattern.begin());
    for (size_t d = 0; d < detector_count; ++d) {
      std::copy(counts.detector(d).begin(), counts.detector(d).end(), answer->detector_counts.begin() + static_cast<std::ptrdiff_t>(d * work_.frames.size()));
    }
  }

 private:
  const Work& work_;
  const bool analysis_;
  stemline::BatchOptions options_;
  std::shared_ptr<stemline::BufferPool> pool_ = stemline::BufferPool::create(size_t{256} << 20);
};

// Many copies of a message in the device's memory, far beyond its caches.
class Resident {
 public:
  Resident(const Work& work, uint32_t multiprocessors)
      : copies_(std::max(1u, static_cast<uint32_t>(256e6 / work.bytes()))),
        multiprocessors_(multiprocessors),
        events_(copies_ * work.message->events.size()),
        parts_(copies_ * work.frames.size()),
        detectors_(work.masks->bits.size()),
        own_sums_(parts_.count),
        sums_(parts_.count),
        event_counts_(parts_.count),
        detector_counts_(detector_count * parts_.count),
        pattern_(detectors_.count),
        largest_(1) {
    std::vector<StemlineCudaFrame> parts;
    for (uint32_t c = 0; c < copies_; ++c) {
      must(cudaMemcpy(events_.data + c * work.message->events.size(), work.message->events.data(), work.message->data_bytes(), cudaMemcpyHostToDevice), "copy");
      for (const StemlineCudaFrame& frame : work.frames) {
        if (frame.count > stemline::cuda::longest_part) end("a frame is longer than a part");
        parts.push_back({frame.begin + c * static_cast<uint32_t>(work.message->events.size()), frame.count, static_cast<uint32_t>(parts.size())});
      }
    }
    must(cudaMemcpy(parts_.data, parts.data(), parts.size() * sizeof parts[0], cudaMemcpyHostToDevice), "copy");
    must(cudaMemcpy(detectors_.data, work.masks->bits.data(), detectors_.count * sizeof(uint32_t), cudaMemcpyHostToDevice), "copy");
    must(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
    mean_count_ = static_cast<uint32_t>(work.message->events.size() / work.frames.size());
  }
  ~Resident() { cudaStreamDestroy(stream_); }

  double copies() const { return copies_; }
  double bytes() const { return static_cast<double>(events_.count * sizeof(uint32_t) + parts_.count * sizeof(StemlineCudaFrame)); }

  void run(const StemlineCudaBatch& batch) {
    const auto zero = [this](const auto& array) { must(cudaMemsetAsync(array.data, 0, array.count * sizeof *array.data, stream_), "cudaMemsetAsync"); };
    zero(sums_);
    zero(largest_);
    SumsTask task;
    task.events = events_.data;
    task.parts = parts_.data;
    task.part_count = task.position_count = static_cast<uint32_t>(parts_.count);
    task.columns = batch.frame_columns;
    task.pixels = batch.frame_rows * batch.frame_columns;
    task.row_factor = stemline::cuda::row_factor_of(batch.frame_columns);
    task.window = batch.window;
    task.own_sums = own_sums_.data;
    task.half_rows = batch.half_rows;
    task.half_columns = batch.half_columns;
    task.limit = batch.limit;
    task.detectors = detectors_.data;
    task.detector_count = batch.detector_count;
    task.sums = sums_.data;
    task.largest = largest_.data;
    if (batch.analysis != 0) {
      zero(event_counts_);
      zero(detector_counts_);
      zero(pattern_);
      task.event_counts = event_counts_.data;
      task.detector_counts = detector_counts_.data;
      task.pattern = pattern_.data;
    }
    const auto launch = [&](const SumsTask& what, StemlineCudaCrop crop) {
      must(launch_sums(what, crop, STEMLINE_CUDA_BOX, batch.analysis != 0, mean_count_, multiprocessors_, stream_), "launch");
    };
    const auto crop = static_cast<StemlineCudaCrop>(batch.crop);
    if (crop == STEMLINE_CUDA_CROP_OWN_CENTER) {
      zero(own_sums_);
      SumsTask uncropped = task;
      uncropped.sums = own_sums_.data;
      launch(uncropped, STEMLINE_CUDA_CROP_NONE);
    }
    launch(task, crop);
    must(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
  }

  // The last copy has the sums of `answer`.
  bool agrees(const Answer& answer) const {
    std::vector<StemlineCudaSums> got(answer.sums.size());
    must(cudaMemcpy(got.data(), sums_.data + (sums_.count - got.size()), got.size() * sizeof got[0], cudaMemcpyDeviceToHost), "copy");
    return std::memcmp(got.data(), answer.sums.data(), got.size() * sizeof got[0]) == 0;
  }

 private:
  const uint32_t copies_;
  const uint32_t multiprocessors_;
  uint32_t mean_count_ = 0;
  cudaStream_t stream_ = nullptr;
  DeviceArray<uint32_t> events_;
  DeviceArray<StemlineCudaFrame> parts_;
  DeviceArray<uint32_t> detectors_;
  DeviceArray<StemlineCudaSums> own_sums_, sums_;
  DeviceArray<uint32_t> event_counts_, detector_counts_, pattern_, largest_;
};

// Messages through the library one after the other, as many under way as it has slots; returns when all are done.
void stream_through(StemlineCudaContext* context, const std::vector<StemlineCudaBatch>& batches, int messages) {
  char reason[256] = "";
  std::deque<uint64_t> under_way;
  const auto wait = [&] {
    if (stemline_cuda_wait(context, under_way.front(), reason, sizeof reason) != STEMLINE_CUDA_OK) end(std::string("wait: ") + reason);
    under_way.pop_front();
  };
  for (int i = 0; i < messages; ++i) {
    if (under_way.size() == batches.size()) wait();
    uint64_t ticket = 0;
    if (stemline_cuda_submit(context, &batches[static_cast<size_t>(i) % batches.size()], &ticket, reason, sizeof reason) != STEMLINE_CUDA_OK) {
      end(std::string("submit: ") + reason);
    }
    under_way.push_back(ticket);
  }
  while (!under_way.empty()) wait();
}

// An hour of the detector's messages as fast as they go, in changing sizes and kinds: every answer is compared, and memory must stay
// as it is after the first round.
void soak(StemlineCudaContext* context, double detector_seconds) {
  std::vector<Work> works;
  for (const uint32_t events : {10u, 30u, 100u, 300u}) works.emplace_back(events);
  struct Case {
    const Work* work;
    Answer expected, got;
    StemlineCudaBatch batch;
  };
  std::vector<std::unique_ptr<Case>> cases;
  for (const Work& work : works) {
    for (const auto& [crop, analysis] : {std::pair{Crop::none, false}, std::pair{Crop::own_box, false}, std::pair{Crop::box, true}}) {
      auto made = std::make_unique<Case>(Case{&work, Answer(work), Answer(work), {}});
      OnCpu(work, crop, analysis).run(&made->expected);
      made->batch = batch_of(work, work.message->data(), crop, analysis, made->got);
      cases.push_back(std::move(made));
    }
  }
  constexpr double detector_frames_per_second = 87'000;
  char reason[256] = "";
  double frames = 0;
  uint64_t messages = 0, device_bytes = 0, pinned_bytes = 0;
  size_t free_before = 0, free_after = 0, total = 0;
  const double start = now();
  std::deque<std::pair<uint64_t, Case*>> under_way;
  const auto finish_one = [&] {
    const auto [ticket, one] = under_way.front();
    under_way.pop_front();
    if (stemline_cuda_wait(context, ticket, reason, sizeof reason) != STEMLINE_CUDA_OK) end(std::string("wait: ") + reason);
    if (!(one->got == one->expected)) end("message " + std::to_string(messages) + ": the GPU's answer is another one");
  };
  for (; frames < detector_seconds * detector_frames_per_second; ++messages) {
    if (messages == 4 * cases.size()) {
      StemlineCudaUsage usage{};
      stemline_cuda_query(context, &usage, reason, sizeof reason);
      device_bytes = usage.device_bytes;
      pinned_bytes = usage.pinned_bytes;
      must(cudaMemGetInfo(&free_before, &total), "cudaMemGetInfo");
    }
    if (under_way.size() == STEMLINE_CUDA_SLOTS) finish_one();
    // One case more than there are, so that each meets each slot.
    Case& one = *cases[messages % (cases.size() + 1) % cases.size()];
    uint64_t ticket = 0;
    if (stemline_cuda_submit(context, &one.batch, &ticket, reason, sizeof reason) != STEMLINE_CUDA_OK) end(std::string("submit: ") + reason);
    under_way.emplace_back(ticket, &one);
    frames += static_cast<double>(one.work->frames.size());
  }
  while (!under_way.empty()) finish_one();
  StemlineCudaUsage usage{};
  stemline_cuda_query(context, &usage, reason, sizeof reason);
  must(cudaMemGetInfo(&free_after, &total), "cudaMemGetInfo");
  std::printf("soak: %llu messages, %.0f million frames, %.1f hours of the detector, in %.0f s; all answers right\n",
              static_cast<unsigned long long>(messages), frames / 1e6, frames / detector_frames_per_second / 3600, now() - start);
  std::printf("soak: device memory %.1f MB, pinned %.1f MB, free on the device %.1f MB before and %.1f MB after\n", usage.device_bytes / 1e6,
              usage.pinned_bytes / 1e6, free_before / 1e6, free_after / 1e6);
  if (usage.device_bytes != device_bytes || usage.pinned_bytes != pinned_bytes) end("memory grew");
}

}  // namespace

int main(int argc, char** argv) {
  int device = 0;
  double soak_seconds = 0;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    if (option == "--json") {
      as_json = true;
    } else if (option == "--seconds" && i + 1 < argc) {
      seconds_each = std::atof(argv[++i]);
    } else if (option == "--device" && i + 1 < argc) {
      device = std::atoi(argv[++i]);
    } else if (option == "--soak" && i + 1 < argc) {
      soak_seconds = std::atof(argv[++i]);
    } else {
      end("usage: stemline_gpu_bench [--seconds OF_EACH_FIGURE] [--device INDEX] [--json] [--soak SECONDS_OF_THE_DETECTOR]");
    }
  }
  char reason[512] = "";
  StemlineCudaContext* context = nullptr;
  double start = now();
  if (stemline_cuda_create(device, uint64_t{1} << 30, &context, reason, sizeof reason) != STEMLINE_CUDA_OK) end(std::string("no GPU: ") + reason);
  const double create_ms = 1e3 * (now() - start);
  must(cudaSetDevice(device), "cudaSetDevice");
  cudaDeviceProp properties;
  must(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  int driver = 0;
  cudaDriverGetVersion(&driver);
  const double cores = std::thread::hardware_concurrency();
  std::fprintf(stderr, "%s, driver for CUDA %d.%d, %d multiprocessors; %.0f cores, %s; context made in %.0f ms\n", properties.name, driver / 1000,
               driver % 1000 / 10, properties.multiProcessorCount, cores, bench::usable_backends().front()->name, create_ms);

  if (soak_seconds > 0) {
    soak(context, soak_seconds);
    stemline_cuda_destroy(context);
    return 0;
  }

  // Limits. A copy on the device reads and writes its bytes.
  const size_t size = size_t{256} << 20;
  double copy_rate = 0, up_rate = 0;
  {
    DeviceArray<uint8_t> from(size), to(size);
    void* pinned = nullptr;
    must(cudaMallocHost(&pinned, size), "cudaMallocHost");
    std::memset(pinned, 1, size);
    cudaStream_t stream = nullptr;
    must(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
    const auto limit = [&](const char* name, double bytes, const std::function<cudaError_t()>& copy) {
      const Figure figure = measure(name, [&] {
        must(copy(), name);
        must(cudaStreamSynchronize(stream), name);
      });
      print(figure, bytes, 0, 0, nullptr, 0, 0);
      return bytes / figure.seconds;
    };
    copy_rate = limit("limit/copy/device", 2.0 * size, [&] { return cudaMemcpyAsync(to.data, from.data, size, cudaMemcpyDeviceToDevice, stream); });
    up_rate = limit("limit/copy/up", size, [&] { return cudaMemcpyAsync(to.data, pinned, size, cudaMemcpyHostToDevice, stream); });
    limit("limit/copy/down", size, [&] { return cudaMemcpyAsync(pinned, from.data, size, cudaMemcpyDeviceToHost, stream); });
    must(cudaStreamDestroy(stream), "cudaStreamDestroy");
    must(cudaFreeHost(pinned), "cudaFreeHost");
  }

  for (const uint32_t events : {10u, 30u, 100u, 300u}) {
    const Work work(events);
    const double frames = static_cast<double>(work.frames.size());
    void* pinned = nullptr;
    must(cudaMallocHost(&pinned, work.message->data_bytes()), "cudaMallocHost");
    std::memcpy(pinned, work.message->data(), work.message->data_bytes());
    struct Kind {
      const char* name;
      Crop crop;
      bool analysis;
    };
    for (const Kind& kind : {Kind{"com/none", Crop::none, false}, Kind{"com/box", Crop::box, false}, Kind{"com/own-box", Crop::own_box, false},
                             Kind{"analysis/own-box-8", Crop::own_box, true}}) {
      const std::string axes = "/" + std::to_string(events);
      OnCpu cpu(work, kind.crop, kind.analysis);
      Answer expected(work);
      cpu.run(&expected);
      const Figure on_cpu = measure(std::string(kind.name) + "/cpu" + axes, [&] { cpu.run(nullptr); });
      print(on_cpu, work.bytes(), frames, work.events(), nullptr, 0, 0);
      const double all_cores = on_cpu.seconds / cores;

      std::vector<Answer> answers(STEMLINE_CUDA_SLOTS, Answer(work));
      for (const auto& [place, where] : {std::pair{"pinned", static_cast<const void*>(pinned)}, std::pair{"pageable", static_cast<const void*>(work.message->data())}}) {
        std::vector<StemlineCudaBatch> batches;
        for (Answer& answer : answers) batches.push_back(batch_of(work, where, kind.crop, kind.analysis, answer));
        stream_through(context, batches, STEMLINE_CUDA_SLOTS);
        for (const Answer& answer : answers) {
          if (!(answer == expected)) end(std::string(kind.name) + axes + ": the GPU's answer is another one");
        }
        constexpr int messages = 12;
        const Figure figure = measure(std::string(kind.name) + "/" + place + axes, [&] { stream_through(context, batches, messages); });
        const Figure one{figure.name, figure.seconds / messages, figure.best / messages};
        print(one, work.bytes(), frames, work.events(), "limit/copy/up", up_rate, all_cores);
      }

      Resident resident(work, static_cast<uint32_t>(properties.multiProcessorCount));
      const StemlineCudaBatch batch = batch_of(work, nullptr, kind.crop, kind.analysis, answers[0]);
      resident.run(batch);
      if (!resident.agrees(expected)) end(std::string(kind.name) + axes + ": the GPU's answer from its own memory is another one");
      const Figure figure = measure(std::string(kind.name) + "/device" + axes, [&] { resident.run(batch); });
      print(figure, resident.bytes(), frames * resident.copies(), work.events() * resident.copies(), "limit/copy/device", copy_rate,
            all_cores * resident.copies());
    }
    must(cudaFreeHost(pinned), "cudaFreeHost");
  }
  stemline_cuda_destroy(context);

  const stemline::CudaFunctions functions{stemline_cuda_devices, stemline_cuda_create, stemline_cuda_destroy,
                                          stemline_cuda_submit,  stemline_cuda_wait,   stemline_cuda_query};
  std::unique_ptr<stemline::CudaAccelerator> accelerator;
  if (!stemline::CudaAccelerator::create(functions, device, accelerator).ok()) end("no second context");
  accelerator->calibrate(*bench::usable_backends().front(), *stemline::BufferPool::create(size_t{256} << 20));
  std::fprintf(stderr, "calibration: %.0f ms\n", accelerator->calibration_ms());
  const char* const operations[] = {"no-crop", "fixed-crop", "own-center-crop", "analysis"};
  for (const stemline::CalibrationPoint& point : accelerator->calibration()) {
    std::fprintf(stderr, "  %-16s %8llu events: CPU %.3f ms, GPU %.3f ms -> %s\n", operations[static_cast<size_t>(point.operation)],
                 static_cast<unsigned long long>(point.events), point.cpu_ms, point.device_ms, point.device_chosen ? "GPU" : "CPU");
  }
  return 0;
}
