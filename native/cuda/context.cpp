// Batches in slots: memory that grows, copies, launches, and what happens when one of them fails.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <type_traits>

#include "call.h"
#include "kernels.h"
#include "mutex.h"

using namespace stemline::cuda;

namespace {

// Where to say why a call fails.
struct Reason {
  char* text;
  size_t size;
};

[[gnu::format(printf, 3, 4)]] int32_t fail(StemlineCudaResult result, const Reason& reason, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(reason.text, reason.size, format, arguments);
  va_end(arguments);
  return result;
}

// A call that failed: `what` is the function's name.
struct Failure {
  cudaError_t error = cudaSuccess;
  const char* what = "";

  explicit operator bool() const { return error != cudaSuccess; }
};

#define TRY(function, ...)                                                                   \
  if (const cudaError_t error = CUDA(function, __VA_ARGS__); error != cudaSuccess) {         \
    return Failure{error, #function};                                                        \
  }

// True if nothing works any more after this error, in any context of this process.
bool is_end(cudaError_t error) {
  switch (error) {
    case cudaErrorDevicesUnavailable:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorContextIsDestroyed:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorTensorMemoryLeak:
    case cudaErrorMpsRpcFailure:
    case cudaErrorMpsClientTerminated:
    case cudaErrorExternalDevice: return true;
    default: return false;
  }
}

StemlineCudaResult result_of(cudaError_t error) {
  if (is_end(error)) return STEMLINE_CUDA_LOST;
  return error == cudaErrorMemoryAllocation ? STEMLINE_CUDA_OUT_OF_MEMORY : STEMLINE_CUDA_FAILED;
}

int32_t fail_call(StemlineCudaResult result, const Failure& failure, const Reason& reason) {
  return fail(result, reason, "%s: %s (%s)", failure.what, cudaGetErrorString(failure.error), cudaGetErrorName(failure.error));
}

constexpr uint64_t aligned(uint64_t bytes) { return (bytes + 255) & ~uint64_t{255}; }

enum class Kind { device, pinned };

struct Buffer {
  explicit Buffer(Kind k) : kind(k) {}

  template <class T>
  T* at(uint64_t offset) const {
    return reinterpret_cast<T*>(static_cast<char*>(data) + offset);
  }

  const Kind kind;
  void* data = nullptr;
  uint64_t size = 0;
  uint64_t needed = 0;  // by the batch in the slot, then with what take_slot adds
};

// What a batch needs, in bytes. On the device, `input` holds parts and then events unless those are there already. `output` holds
// the sums around whose centres positions are cropped, and then the results.
struct Layout {
  uint64_t part_count = 0;
  uint64_t events_in_parts = 0;
  uint64_t parts = 0;
  uint64_t own_sums = 0;
  // From the start of the results.
  uint64_t sums = 0, event_counts = 0, detector_counts = 0, pattern = 0, results = 0;
  uint64_t detectors = 0;
};

enum class EventsIn { pageable, pinned, device };

enum class State {
  free,
  starting,   // a thread prepares it
  under_way,  // until a thread waits for it
  ending      // a thread waits for it
};

struct Slot {
  State state = State::free;
  uint64_t ticket = 0;
  cudaStream_t stream = nullptr;
  cudaEvent_t done = nullptr;
  Buffer input{Kind::device}, output{Kind::device}, detectors{Kind::device};
  Buffer upload{Kind::pinned}, download{Kind::pinned};
  // Which detectors are in its memory, so that batches with others may be under way.
  bool has_detectors = false;
  uint64_t detectors_key = 0;
  uint64_t detectors_bytes = 0;

  StemlineCudaBatch batch{};
  Layout layout;

  template <class Visit>
  void each_buffer(const Visit& visit) {
    for (Buffer* buffer : {&input, &output, &detectors, &upload, &download}) visit(*buffer);
  }
};

}  // namespace

struct StemlineCudaContext {
  int device = 0;
  uint32_t multiprocessors = 0;
  uint64_t max_bytes = 0;
  Slot slots[STEMLINE_CUDA_SLOTS];

  // For all below, and for the state of slots and the sizes of their buffers. A slot that is not free belongs to one thread, or to
  // the batch under way in it: the rest of it needs no lock.
  Mutex mutex;
  uint64_t device_bytes = 0, pinned_bytes = 0;
  uint64_t batches = 0;
  uint64_t last_ticket = 0;
  bool lost = false;
  char lost_reason[256] = "";

  uint64_t& bytes(Kind kind) { return kind == Kind::device ? device_bytes : pinned_bytes; }
};

namespace {

int32_t fail_lost(const StemlineCudaContext& context, const Reason& reason) {
  return fail(STEMLINE_CUDA_LOST, reason, "the device failed: %s", context.lost_reason);
}

// Notes a failed call in the context. `settled`: whether the slot's stream could be waited for.
int32_t note_failure(StemlineCudaContext& context, const Failure& failure, bool settled, const Reason& reason) {
  cudaGetLastError();  // which a later call would report as its own
  // Without knowing that the device is done with the slot's memory, nobody may use it again.
  const StemlineCudaResult result = settled ? result_of(failure.error) : STEMLINE_CUDA_LOST;
  if (result != STEMLINE_CUDA_LOST) return fail_call(result, failure, reason);
  const Lock lock(context.mutex);
  if (!context.lost) {
    context.lost = true;
    fail_call(result, failure, {context.lost_reason, sizeof context.lost_reason});
  }
  return fail_lost(context, reason);
}

// The rules of the header. Returns STEMLINE_CUDA_OK with the layout's part_count and events_in_parts.
int32_t check(const StemlineCudaBatch& batch, Layout& layout, const Reason& reason) {
  const auto refuse_null = [&](const char* name) {
    return fail(STEMLINE_CUDA_INVALID_ARGUMENT, reason, "%s: expected an address, got null", name);
  };
  const auto refuse_number = [&](const char* name, int64_t low, int64_t high, int64_t got) {
    return fail(STEMLINE_CUDA_INVALID_ARGUMENT, reason, "%s: expected %lld to %lld, got %lld", name, static_cast<long long>(low),
                static_cast<long long>(high), static_cast<long long>(got));
  };
  const auto within = [](int64_t low, int64_t high, int64_t got) { return low <= got && got <= high; };

  constexpr int64_t highest_count = UINT32_MAX, highest_side = 65535, most_positions = int64_t{1} << 24;
  if (batch.event_count > UINT32_MAX) {
    return fail(STEMLINE_CUDA_INVALID_ARGUMENT, reason, "event_count: expected at most %lu, got %llu",
                static_cast<unsigned long>(UINT32_MAX), static_cast<unsigned long long>(batch.event_count));
  }
  if (batch.event_count > 0 && batch.events == nullptr) return refuse_null("events");
  if (batch.frames == nullptr) return refuse_null("frames");
  if (batch.sums == nullptr) return refuse_null("sums");
  if (batch.largest == nullptr) return refuse_null("largest");
  struct Number {
    const char* name;
    int64_t low, high, got;
  };
  for (const Number& n : {Number{"frame_count", 1, highest_count, batch.frame_count},
                          Number{"position_count", 1, most_positions, batch.position_count},
                          Number{"frame_columns", 1, highest_side, batch.frame_columns},
                          Number{"frame_rows", 1, highest_side, batch.frame_rows},
                          Number{"crop", STEMLINE_CUDA_CROP_NONE, STEMLINE_CUDA_CROP_OWN_CENTER, batch.crop},
                          Number{"shape", STEMLINE_CUDA_BOX, STEMLINE_CUDA_DISK, batch.shape},
                          Number{"analysis", 0, 1, batch.analysis}}) {
    if (!within(n.low, n.high, n.got)) return refuse_number(n.name, n.low, n.high, n.got);
  }
  if (batch.analysis != 0) {
    if (batch.event_counts == nullptr) return refuse_null("event_counts");
    if (batch.pattern == nullptr) return refuse_null("pattern");
    if (batch.detector_count > STEMLINE_CUDA_MAX_DETECTORS) {
      return refuse_number("detector_count", 0, STEMLINE_CUDA_MAX_DETECTORS, batch.detector_count);
    }
    if (batch.detector_count > 0 && batch.detectors == nullptr) return refuse_null("detectors");
    if (batch.detector_count > 0 && batch.detector_counts == nullptr) return refuse_null("detector_counts");
  }

  for (uint32_t f = 0; f < batch.frame_count; ++f) {
    const StemlineCudaFrame& frame = batch.frames[f];
    if (uint64_t{frame.begin} + frame.count > batch.event_count) {
      return fail(STEMLINE_CUDA_INVALID_ARGUMENT, reason, "frames[%u]: expected begin + count of at most %llu, got %u + %u", f,
                  static_cast<unsigned long long>(batch.event_count), frame.begin, frame.count);
    }
    if (frame.position >= batch.position_count) {
      return fail(STEMLINE_CUDA_INVALID_ARGUMENT, reason, "frames[%u].position: expected below %u, got %u", f, batch.position_count,
                  frame.position);
    }
    layout.part_count += (uint64_t{frame.count} + longest_part - 1) / longest_part;
    layout.events_in_parts += frame.count;
  }
  // Counts of a position or pixel could need more than 32 bits.
  if (layout.events_in_parts > UINT32_MAX) {
    return fail(STEMLINE_CUDA_TOO_LARGE, reason, "frames: expected at most %lu events in all together, got %llu",
                static_cast<unsigned long>(UINT32_MAX), static_cast<unsigned long long>(layout.events_in_parts));
  }
  return STEMLINE_CUDA_OK;
}

void lay_out(const StemlineCudaBatch& batch, Layout& layout) {
  layout.parts = aligned(layout.part_count * sizeof(StemlineCudaFrame));
  const uint64_t sums_bytes = aligned(batch.position_count * sizeof(StemlineCudaSums));
  layout.own_sums = batch.crop == STEMLINE_CUDA_CROP_OWN_CENTER ? sums_bytes : 0;
  layout.sums = aligned(sizeof(uint32_t));  // after the largest event
  layout.event_counts = layout.detector_counts = layout.pattern = layout.results = layout.sums + sums_bytes;
  if (batch.analysis == 0) return;
  const uint64_t pixels_bytes = uint64_t{batch.frame_columns} * batch.frame_rows * sizeof(uint32_t);
  const uint64_t counts_bytes = batch.position_count * sizeof(uint32_t);
  layout.detector_counts = layout.event_counts + aligned(counts_bytes);
  layout.pattern = layout.detector_counts + aligned(batch.detector_count * counts_bytes);
  layout.results = layout.pattern + aligned(pixels_bytes);
  layout.detectors = batch.detector_count > 0 ? pixels_bytes : 0;
}

Failure ask_about_events(const StemlineCudaContext& context, const StemlineCudaBatch& batch, cudaPointerAttributes& attributes) {
  TRY(cudaSetDevice, context.device);
  if (batch.event_count > 0) TRY(cudaPointerGetAttributes, &attributes, batch.events);
  return {};
}

int32_t find_events(const StemlineCudaContext& context, const StemlineCudaBatch& batch, const cudaPointerAttributes& attributes,
                    EventsIn& events_in, const Reason& reason) {
  events_in = attributes.type == cudaMemoryTypeHost     ? EventsIn::pinned
              : attributes.type == cudaMemoryTypeDevice ? EventsIn::device
                                                        : EventsIn::pageable;
  if (events_in != EventsIn::device) return STEMLINE_CUDA_OK;
  if (attributes.device != context.device) {
    return fail(STEMLINE_CUDA_INVALID_ARGUMENT, reason, "events: expected memory of the host or of device %d, got that of device %d",
                context.device, attributes.device);
  }
  if (reinterpret_cast<uintptr_t>(batch.events) % sizeof(uint32_t) != 0) {
    return fail(STEMLINE_CUDA_INVALID_ARGUMENT, reason, "events: expected device memory at a multiple of 4, got %p", batch.events);
  }
  return STEMLINE_CUDA_OK;
}

void set_needed(Slot& slot, const Layout& layout, uint64_t event_bytes, EventsIn events_in) {
  slot.input.needed = layout.parts + (events_in == EventsIn::device ? 0 : event_bytes);
  slot.upload.needed = layout.parts + (events_in == EventsIn::pageable ? event_bytes : 0);
  slot.output.needed = layout.own_sums + layout.results;
  slot.download.needed = layout.results;
  slot.detectors.needed = layout.detectors;
}

// Takes the free slot that needs to grow the least, and raises the sizes of its buffers to what they will be. Its memory of before
// is given back before it grows, and counts no more.
int32_t take_slot(StemlineCudaContext& context, const Layout& layout, uint64_t event_bytes, EventsIn events_in, Slot*& taken,
                  const Reason& reason) {
  const Lock lock(context.mutex);
  if (context.lost) return fail_lost(context, reason);
  uint64_t least_growth = UINT64_MAX;
  for (Slot& slot : context.slots) {
    if (slot.state != State::free) continue;
    set_needed(slot, layout, event_bytes, events_in);
    uint64_t growth = 0;
    slot.each_buffer([&](const Buffer& buffer) { growth += buffer.needed > buffer.size ? buffer.needed - buffer.size : 0; });
    if (growth < least_growth) {
      least_growth = growth;
      taken = &slot;
    }
  }
  if (taken == nullptr) {
    return fail(STEMLINE_CUDA_BUSY, reason, "all %d slots are in use", STEMLINE_CUDA_SLOTS);
  }

  // With a quarter more than needed, so that batches of changing sizes soon find enough, or else with what there is room for.
  for (const bool spare : {true, false}) {
    const auto grown = [spare](const Buffer& buffer) {
      if (buffer.needed <= buffer.size) return buffer.size;
      constexpr uint64_t step = 64 * 1024;
      return spare ? (buffer.needed + buffer.needed / 4 + step - 1) / step * step : aligned(buffer.needed);
    };
    uint64_t bytes[2] = {context.device_bytes, context.pinned_bytes};
    taken->each_buffer([&](const Buffer& buffer) { bytes[static_cast<int>(buffer.kind)] += grown(buffer) - buffer.size; });
    if (const uint64_t most = std::max(bytes[0], bytes[1]); most > context.max_bytes) {
      if (spare) continue;
      taken = nullptr;
      return fail(STEMLINE_CUDA_TOO_LARGE, reason, "expected to take at most %llu bytes of device or pinned memory, would need %llu",
                  static_cast<unsigned long long>(context.max_bytes), static_cast<unsigned long long>(most));
    }
    taken->each_buffer([&](Buffer& buffer) { buffer.needed = grown(buffer); });
    context.device_bytes = bytes[0];
    context.pinned_bytes = bytes[1];
    break;
  }
  taken->state = State::starting;
  return STEMLINE_CUDA_OK;
}

Failure give_back(Buffer& buffer) {
  if (buffer.data == nullptr) return {};
  void* const data = buffer.data;
  buffer.data = nullptr;
  if (buffer.kind == Kind::device) {
    TRY(cudaFree, data);
  } else {
    TRY(cudaFreeHost, data);
  }
  return {};
}

// Makes a slot's buffers as large as take_slot counted them.
Failure grow(Slot& slot) {
  Failure failure;
  slot.each_buffer([&](Buffer& buffer) {
    if (failure || buffer.needed <= buffer.size) return;
    failure = give_back(buffer);
    buffer.size = 0;
    if (failure) return;
    const auto allocate = [&]() -> Failure {
      if (buffer.kind == Kind::device) {
        TRY(cudaMalloc, &buffer.data, buffer.needed);
      } else {
        TRY(cudaMallocHost, &buffer.data, buffer.needed);
      }
      return {};
    };
    failure = allocate();
    if (failure) {
      buffer.data = nullptr;
    } else {
      buffer.size = buffer.needed;
    }
  });
  return failure;
}

void write_parts(const StemlineCudaBatch& batch, StemlineCudaFrame* parts) {
  for (uint32_t f = 0; f < batch.frame_count; ++f) {
    StemlineCudaFrame part = batch.frames[f];
    for (uint32_t left = part.count; left > 0; left -= part.count, part.begin += part.count) {
      part.count = std::min(left, longest_part);
      *parts++ = part;
    }
  }
}

SumsTask task_of(const Slot& slot, EventsIn events_in) {
  const StemlineCudaBatch& batch = slot.batch;
  const Layout& layout = slot.layout;
  const uint64_t results = layout.own_sums;
  SumsTask task;
  task.events = events_in == EventsIn::device ? static_cast<const uint32_t*>(batch.events) : slot.input.at<uint32_t>(layout.parts);
  task.parts = slot.input.at<StemlineCudaFrame>(0);
  task.part_count = static_cast<uint32_t>(layout.part_count);  // each has an event
  task.position_count = batch.position_count;
  task.columns = batch.frame_columns;
  task.pixels = batch.frame_columns * batch.frame_rows;
  task.row_factor = row_factor_of(batch.frame_columns);
  task.window = batch.window;
  task.own_sums = slot.output.at<StemlineCudaSums>(0);
  task.half_rows = batch.half_rows;
  task.half_columns = batch.half_columns;
  task.limit = batch.limit;
  task.detectors = slot.detectors.at<uint32_t>(0);
  task.detector_count = layout.detectors > 0 ? batch.detector_count : 0;
  task.largest = slot.output.at<uint32_t>(results);
  task.sums = slot.output.at<StemlineCudaSums>(results + layout.sums);
  task.event_counts = slot.output.at<uint32_t>(results + layout.event_counts);
  task.detector_counts = slot.output.at<uint32_t>(results + layout.detector_counts);
  task.pattern = slot.output.at<uint32_t>(results + layout.pattern);
  return task;
}

// Everything that a batch needs of the device, in its slot's stream.
Failure start(const StemlineCudaContext& context, Slot& slot, EventsIn events_in) {
  const StemlineCudaBatch& batch = slot.batch;
  const Layout& layout = slot.layout;
  const uint64_t event_bytes = batch.event_count * sizeof(uint32_t);
  const bool analysis = batch.analysis != 0;

  TRY(cudaMemsetAsync, slot.output.data, 0, layout.own_sums + layout.results, slot.stream);
  if (layout.part_count > 0) {
    write_parts(batch, slot.upload.at<StemlineCudaFrame>(0));
    uint64_t upload_bytes = layout.parts;
    if (events_in == EventsIn::pageable) {
      std::memcpy(slot.upload.at<char>(layout.parts), batch.events, event_bytes);
      upload_bytes += event_bytes;
    }
    TRY(cudaMemcpyAsync, slot.input.data, slot.upload.data, upload_bytes, cudaMemcpyHostToDevice, slot.stream);
    if (events_in == EventsIn::pinned) {
      TRY(cudaMemcpyAsync, slot.input.at<char>(layout.parts), batch.events, event_bytes, cudaMemcpyHostToDevice, slot.stream);
    }
    const bool same_detectors = slot.has_detectors && slot.detectors_key == batch.detectors_key && slot.detectors_bytes == layout.detectors;
    if (layout.detectors > 0 && !same_detectors) {
      slot.has_detectors = false;
      TRY(cudaMemcpyAsync, slot.detectors.data, batch.detectors, layout.detectors, cudaMemcpyHostToDevice, slot.stream);
      slot.has_detectors = true;
      slot.detectors_key = batch.detectors_key;
      slot.detectors_bytes = layout.detectors;
    }

    const auto crop = static_cast<StemlineCudaCrop>(batch.crop);
    const auto shape = static_cast<StemlineCudaShape>(batch.shape);
    const auto mean_count = static_cast<uint32_t>(layout.events_in_parts / layout.part_count);
    const SumsTask task = task_of(slot, events_in);
    if (crop == STEMLINE_CUDA_CROP_OWN_CENTER) {
      SumsTask uncropped = task;
      uncropped.sums = slot.output.at<StemlineCudaSums>(0);
      TRY(launch_sums, uncropped, STEMLINE_CUDA_CROP_NONE, shape, analysis, mean_count, context.multiprocessors, slot.stream);
    }
    TRY(launch_sums, task, crop, shape, analysis, mean_count, context.multiprocessors, slot.stream);
  }
  TRY(cudaMemcpyAsync, slot.download.data, slot.output.at<char>(layout.own_sums), layout.results, cudaMemcpyDeviceToHost, slot.stream);
  TRY(cudaEventRecord, slot.done, slot.stream);
  return {};
}

Failure finish(const StemlineCudaContext& context, const Slot& slot) {
  TRY(cudaSetDevice, context.device);
  TRY(cudaEventSynchronize, slot.done);
  return {};
}

// After a failure: waits until the device is done with the slot, and makes it free.
int32_t give_up(StemlineCudaContext& context, Slot& slot, const Failure& failure, const Reason& reason) {
  const bool settled = CUDA(cudaStreamSynchronize, slot.stream) == cudaSuccess;
  slot.has_detectors = false;
  const int32_t result = note_failure(context, failure, settled, reason);
  const Lock lock(context.mutex);
  // Buffers that could not grow hold less than take_slot counted.
  slot.each_buffer([&](const Buffer& buffer) { context.bytes(buffer.kind) -= buffer.needed > buffer.size ? buffer.needed - buffer.size : 0; });
  slot.state = State::free;
  return result;
}

void write_results(const Slot& slot) {
  const StemlineCudaBatch& batch = slot.batch;
  const Layout& layout = slot.layout;
  const Buffer& from = slot.download;
  std::memcpy(batch.largest, from.data, sizeof *batch.largest);
  std::memcpy(batch.sums, from.at<char>(layout.sums), batch.position_count * sizeof *batch.sums);
  if (batch.analysis == 0) return;
  const uint64_t counts_bytes = batch.position_count * sizeof(uint32_t);
  std::memcpy(batch.event_counts, from.at<char>(layout.event_counts), counts_bytes);
  if (batch.detector_count > 0) {
    std::memcpy(batch.detector_counts, from.at<char>(layout.detector_counts), batch.detector_count * counts_bytes);
  }
  std::memcpy(batch.pattern, from.at<char>(layout.pattern), uint64_t{batch.frame_columns} * batch.frame_rows * sizeof(uint32_t));
}

Failure set_up(StemlineCudaContext& context) {
  TRY(cudaSetDevice, context.device);
  int multiprocessors = 0;
  TRY(cudaDeviceGetAttribute, &multiprocessors, cudaDevAttrMultiProcessorCount, context.device);
  context.multiprocessors = static_cast<uint32_t>(multiprocessors);
  TRY(find_kernels);
  for (Slot& slot : context.slots) {
    TRY(cudaStreamCreateWithFlags, &slot.stream, cudaStreamNonBlocking);
    TRY(cudaEventCreateWithFlags, &slot.done, cudaEventBlockingSync | cudaEventDisableTiming);
  }
  return {};
}

}  // namespace

int32_t stemline_cuda_create(int32_t device, uint64_t max_bytes, StemlineCudaContext** context, char* reason_text, size_t reason_size) {
  const Reason reason{reason_text, reason_size};
  if (context == nullptr) return fail(STEMLINE_CUDA_INVALID_ARGUMENT, reason, "context: expected an address, got null");
  *context = nullptr;
  size_t count = 0;
  StemlineCudaVersions versions;
  if (const int32_t result = stemline_cuda_devices(nullptr, 0, &count, &versions, reason_text, reason_size); result != STEMLINE_CUDA_OK) {
    return result;
  }
  if (device < 0 || static_cast<size_t>(device) >= count) {
    return fail(STEMLINE_CUDA_INVALID_ARGUMENT, reason, "device: expected 0 to %zu, got %d", count - 1, device);
  }
  void* const place = std::malloc(sizeof(StemlineCudaContext));
  if (place == nullptr) return fail(STEMLINE_CUDA_OUT_OF_MEMORY, reason, "out of memory");
  auto* const made = new (place) StemlineCudaContext;
  made->device = device;
  made->max_bytes = max_bytes;
  if (const Failure failure = set_up(*made)) {
    int32_t result = note_failure(*made, failure, true, reason);
    // Before anything was done, another process has it for itself.
    if (failure.error == cudaErrorDevicesUnavailable) result = fail_call(STEMLINE_CUDA_FAILED, failure, reason);
    stemline_cuda_destroy(made);
    return result;
  }
  *context = made;
  return STEMLINE_CUDA_OK;
}

void stemline_cuda_destroy(StemlineCudaContext* context) {
  if (context == nullptr) return;
  // Nothing here can fail but in ways that leave nothing to do.
  static_cast<void>(CUDA(cudaSetDevice, context->device));
  for (Slot& slot : context->slots) {
    if (slot.stream != nullptr) static_cast<void>(CUDA(cudaStreamSynchronize, slot.stream));
    slot.each_buffer([](Buffer& buffer) { give_back(buffer); });
    if (slot.done != nullptr) static_cast<void>(CUDA(cudaEventDestroy, slot.done));
    if (slot.stream != nullptr) static_cast<void>(CUDA(cudaStreamDestroy, slot.stream));
  }
  cudaGetLastError();
  static_assert(std::is_trivially_destructible_v<StemlineCudaContext>);
  std::free(context);
}

int32_t stemline_cuda_submit(StemlineCudaContext* context, const StemlineCudaBatch* batch, uint64_t* ticket, char* reason_text,
                             size_t reason_size) {
  const Reason reason{reason_text, reason_size};
  if (context == nullptr || batch == nullptr || ticket == nullptr) {
    return fail(STEMLINE_CUDA_INVALID_ARGUMENT, reason, "%s: expected an address, got null",
                context == nullptr ? "context" : batch == nullptr ? "batch" : "ticket");
  }
  {
    const Lock lock(context->mutex);
    if (context->lost) return fail_lost(*context, reason);
  }
  Layout layout;
  if (const int32_t result = check(*batch, layout, reason); result != STEMLINE_CUDA_OK) return result;
  lay_out(*batch, layout);

  cudaPointerAttributes attributes{};
  Failure failure = ask_about_events(*context, *batch, attributes);
  if (failure) return note_failure(*context, failure, true, reason);
  EventsIn events_in;
  if (const int32_t result = find_events(*context, *batch, attributes, events_in, reason); result != STEMLINE_CUDA_OK) return result;

  Slot* slot = nullptr;
  const uint64_t event_bytes = batch->event_count * sizeof(uint32_t);
  if (const int32_t result = take_slot(*context, layout, event_bytes, events_in, slot, reason); result != STEMLINE_CUDA_OK) return result;
  slot->batch = *batch;
  slot->layout = layout;
  failure = grow(*slot);
  if (!failure) failure = start(*context, *slot, events_in);
  if (failure) return give_up(*context, *slot, failure, reason);

  const Lock lock(context->mutex);
  slot->ticket = ++context->last_ticket;
  slot->state = State::under_way;
  *ticket = slot->ticket;
  return STEMLINE_CUDA_OK;
}

int32_t stemline_cuda_wait(StemlineCudaContext* context, uint64_t ticket, char* reason_text, size_t reason_size) {
  const Reason reason{reason_text, reason_size};
  if (context == nullptr) return fail(STEMLINE_CUDA_INVALID_ARGUMENT, reason, "context: expected an address, got null");
  Slot* slot = nullptr;
  {
    const Lock lock(context->mutex);
    for (Slot& candidate : context->slots) {
      if (candidate.state == State::under_way && candidate.ticket == ticket) slot = &candidate;
    }
    if (slot == nullptr) {
      if (context->lost) return fail_lost(*context, reason);
      return fail(STEMLINE_CUDA_INVALID_ARGUMENT, reason, "ticket: expected that of a batch not waited for yet, got %llu",
                  static_cast<unsigned long long>(ticket));
    }
    slot->state = State::ending;
  }

  if (const Failure failure = finish(*context, *slot)) return give_up(*context, *slot, failure, reason);
  write_results(*slot);

  const Lock lock(context->mutex);
  slot->state = State::free;
  // What another batch found out while this one ended.
  if (context->lost) return fail_lost(*context, reason);
  ++context->batches;
  return STEMLINE_CUDA_OK;
}

int32_t stemline_cuda_query(StemlineCudaContext* context, StemlineCudaUsage* usage, char* reason_text, size_t reason_size) {
  const Reason reason{reason_text, reason_size};
  if (context == nullptr || usage == nullptr) {
    return fail(STEMLINE_CUDA_INVALID_ARGUMENT, reason, "%s: expected an address, got null", context == nullptr ? "context" : "usage");
  }
  const Lock lock(context->mutex);
  *usage = {context->device_bytes, context->pinned_bytes, context->max_bytes, context->batches, 0, context->lost};
  for (const Slot& slot : context->slots) usage->under_way += slot.state != State::free ? 1 : 0;
  return STEMLINE_CUDA_OK;
}
