// What stemline_cuda.so offers. The addon opens that library at run time, so that it needs neither CUDA nor a GPU itself; they
// may come from different builds, hence plain C and a version. Nothing throws, prints or allocates for the caller.
//
// Functions return a StemlineCudaResult. Unless it is STEMLINE_CUDA_OK, `reason` holds why, cut to `reason_size` bytes with
// its '\0'; on success `reason` is left alone. They may be called from any thread.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Goes up by one with every change below.
#define STEMLINE_CUDA_ABI_VERSION 2

#define STEMLINE_CUDA_EXPORT __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

typedef enum StemlineCudaResult {
  STEMLINE_CUDA_OK = 0,
  STEMLINE_CUDA_DRIVER_MISSING = 1,
  STEMLINE_CUDA_DRIVER_TOO_OLD = 2,  // for the CUDA runtime of this library
  STEMLINE_CUDA_NO_DEVICE = 3,
  STEMLINE_CUDA_FAILED = 4,           // anything else; the context is as it was before
  STEMLINE_CUDA_OUT_OF_MEMORY = 5,    // of the device or of pinned memory; the context is as it was before
  STEMLINE_CUDA_TOO_LARGE = 6,        // the batch needs more memory than the context may use
  STEMLINE_CUDA_BUSY = 7,             // all slots of the context are in use
  STEMLINE_CUDA_LOST = 8,             // the device failed: no context of this process works any more
  STEMLINE_CUDA_INVALID_ARGUMENT = 9  // a defect of the caller
} StemlineCudaResult;

typedef struct StemlineCudaDevice {
  char name[256];       // ends with '\0'
  char pci_bus_id[16];  // domain:bus:device.function, ends with '\0'
  int32_t compute_major;
  int32_t compute_minor;
  uint64_t total_memory;  // bytes
} StemlineCudaDevice;

// CUDA versions as 1000 * major + 10 * minor.
typedef struct StemlineCudaVersions {
  int32_t driver;  // newest that the driver can run; 0 without a driver
  int32_t runtime;
} StemlineCudaVersions;

// STEMLINE_CUDA_ABI_VERSION of the library. In all versions.
STEMLINE_CUDA_EXPORT uint32_t stemline_cuda_abi_version(void);

// Describes the devices that this process may use. `*device_count` becomes their number, 0 on failure, and the first
// `capacity` of them are written to `devices`, which may be null if that is 0. `*versions` is always written. Blocks while the
// driver starts: seconds on some machines.
STEMLINE_CUDA_EXPORT int32_t stemline_cuda_devices(StemlineCudaDevice* devices, size_t capacity, size_t* device_count,
                                                   StemlineCudaVersions* versions, char* reason, size_t reason_size);

// A device with its streams and memory.
typedef struct StemlineCudaContext StemlineCudaContext;

// Batches that a context has under way at most, each in a slot with a stream and memory of its own.
#define STEMLINE_CUDA_SLOTS 3

// Makes a context on the device of that index, which starts the device: tenths of a second. It takes no more than
// `max_bytes` of the device's memory, and no more of pinned memory; memory is taken as batches need it, and kept.
STEMLINE_CUDA_EXPORT int32_t stemline_cuda_create(int32_t device, uint64_t max_bytes, StemlineCudaContext** context, char* reason,
                                                  size_t reason_size);

// Waits for what is under way and gives everything back. Null is allowed.
STEMLINE_CUDA_EXPORT void stemline_cuda_destroy(StemlineCudaContext* context);

// Where one frame's events lie, in events from the batch's first, and which of the batch's positions it belongs to.
typedef struct StemlineCudaFrame {
  uint32_t begin;
  uint32_t count;
  uint32_t position;
} StemlineCudaFrame;

// Which events a crop keeps, in float32 throughout, each operation rounded once:
// box keeps  low_row < row <= high_row  and  low_column < column <= high_column;
// disk keeps (row - center_row)^2 + (column - center_column)^2 <= limit.
typedef struct StemlineCudaWindow {
  float low_row, high_row, low_column, high_column;
  float center_row, center_column, limit;
} StemlineCudaWindow;

typedef enum StemlineCudaCrop {
  STEMLINE_CUDA_CROP_NONE = 0,
  STEMLINE_CUDA_CROP_FIXED = 1,  // all frames in `window`
  // Each position in a window around its own uncropped centre of mass (sums divided in float64, rounded to float32):
  // centre +- half_rows, half_columns in float32, and `limit`.
  STEMLINE_CUDA_CROP_OWN_CENTER = 2
} StemlineCudaCrop;

typedef enum StemlineCudaShape { STEMLINE_CUDA_BOX = 0, STEMLINE_CUDA_DISK = 1 } StemlineCudaShape;

// Sums over the events that the crop keeps.
typedef struct StemlineCudaSums {
  uint64_t row_sum;
  uint64_t column_sum;
  uint64_t count;
} StemlineCudaSums;

#define STEMLINE_CUDA_MAX_DETECTORS 32

// One batch: what to compute from, and where results go. With event = row * columns + column.
typedef struct StemlineCudaBatch {
  // uint32 events. Host memory of any alignment; pinned memory is read by the device itself; or memory of this device,
  // at a multiple of 4. Frames may overlap, leave events out, and be in any order; more than 2^32 - 1 events in all frames
  // together are STEMLINE_CUDA_TOO_LARGE.
  const void* events;
  uint64_t event_count;  // below 2^32
  const StemlineCudaFrame* frames;
  uint32_t frame_count;     // at least 1
  uint32_t position_count;  // 1 to 2^24
  uint32_t frame_columns;   // 1 to 65,535
  uint32_t frame_rows;      // 1 to 65,535

  int32_t crop;   // StemlineCudaCrop
  int32_t shape;  // StemlineCudaShape
  StemlineCudaWindow window;
  float half_rows, half_columns, limit;

  // 0: sums alone. 1: also what follows, over all events, cropped or not.
  int32_t analysis;
  // For each pixel a set bit for each detector that it belongs to, bit d for detector d; frame_rows * frame_columns of them.
  // The same `detectors_key` stands for the same contents: a slot reads them when it differs from that of the batch before in it.
  const uint32_t* detectors;
  uint64_t detectors_key;
  uint32_t detector_count;  // 0 to STEMLINE_CUDA_MAX_DETECTORS

  // Results, written by stemline_cuda_wait.
  StemlineCudaSums* sums;  // position_count
  // The largest event of any frame. If it is not below frame_rows * frame_columns, the other results are meaningless.
  uint32_t* largest;
  uint32_t* event_counts;     // with analysis: position_count
  uint32_t* detector_counts;  // with analysis: detector_count times position_count, detector by detector
  uint32_t* pattern;          // with analysis: frame_rows * frame_columns, events of each pixel
} StemlineCudaBatch;

// Begins a batch and returns what to wait for in `*ticket`. The batch's arrays, not the structure itself, must stay as they
// are until stemline_cuda_wait returns. Returns STEMLINE_CUDA_BUSY if STEMLINE_CUDA_SLOTS batches were not waited for yet.
// Every frame's events and position are checked. Arithmetic is exact: results are those of the CPU, bit for bit.
STEMLINE_CUDA_EXPORT int32_t stemline_cuda_submit(StemlineCudaContext* context, const StemlineCudaBatch* batch, uint64_t* ticket,
                                                  char* reason, size_t reason_size);

// Waits for a batch without using the processor, writes its results and frees its slot, whatever it returns. Each ticket is
// waited for once; another is STEMLINE_CUDA_INVALID_ARGUMENT.
STEMLINE_CUDA_EXPORT int32_t stemline_cuda_wait(StemlineCudaContext* context, uint64_t ticket, char* reason, size_t reason_size);

typedef struct StemlineCudaUsage {
  uint64_t device_bytes;  // taken of the device's memory
  uint64_t pinned_bytes;  // taken of the host's
  uint64_t max_bytes;     // of each
  uint64_t batches;       // waited for so far with STEMLINE_CUDA_OK
  uint32_t under_way;     // submitted and not waited for
  uint32_t lost;          // 1 after a STEMLINE_CUDA_LOST
} StemlineCudaUsage;

STEMLINE_CUDA_EXPORT int32_t stemline_cuda_query(StemlineCudaContext* context, StemlineCudaUsage* usage, char* reason,
                                                 size_t reason_size);

#ifdef __cplusplus
}
#endif
