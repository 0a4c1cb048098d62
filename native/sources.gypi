{
  "variables": {
    "stemline_cflags": [
      "-std=c++20",
      "-O3",
      "-Wall",
      "-Wextra",
      "-Wno-restrict",
      "-ffp-contract=off",
      "-fno-rtti",
      "-fvisibility=hidden"
    ],
    "stemline_core_sources": [
      "native/accelerator/cuda_accelerator.cpp",
      "native/core/avx2/backend.cpp",
      "native/core/avx512/backend.cpp",
      "native/core/batch_header.cpp",
      "native/core/batch_sums.cpp",
      "native/core/buffer_pool.cpp",
      "native/core/center_of_mass_partial.cpp",
      "native/core/center_of_mass_reduce.cpp",
      "native/core/com_arrays.cpp",
      "native/core/com_positions.cpp",
      "native/core/event_counts.cpp",
      "native/core/events.cpp",
      "native/core/neon/backend.cpp",
      "native/core/npz.cpp",
      "native/core/registry.cpp",
      "native/core/scalar/backend.cpp",
      "native/core/scan_analysis.cpp",
      "native/core/status.cpp",
      "native/core/virtual_detectors.cpp"
    ],
    "stemline_cuda_sources": ["native/cuda/context.cpp", "native/cuda/devices.cpp", "native/cuda/kernels.cu"],
    "stemline_addon_sources": [
      "native/napi/acceleration.cpp",
      "native/napi/addon.cpp",
      "native/napi/batch_call.cpp",
      "native/napi/center_of_mass_partial.cpp",
      "native/napi/center_of_mass_reduce.cpp",
      "native/napi/convert.cpp",
      "native/napi/cuda.cpp",
      "native/napi/cuda_library.cpp",
      "native/napi/decode_batch.cpp",
      "native/napi/error.cpp",
      "native/napi/job.cpp",
      "native/napi/native_bytes.cpp",
      "native/napi/scan_analyzer.cpp",
      "native/napi/single_threaded.cpp",
      "native/napi/workers.cpp",
      "native/napi/zmq_sockets.cpp",
      "native/zmq/connection.cpp",
      "native/zmq/library.cpp",
      "native/zmq/pump.cpp"
    ]
  }
}
