{
  "includes": ["native/sources.gypi"],
  "targets": [
    {
      "target_name": "stemline",
      "sources": ["<@(stemline_core_sources)", "<@(stemline_addon_sources)"],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=8", "NAPI_CPP_EXCEPTIONS"],
      "cflags!": ["-fno-exceptions", "-O2"],
      "cflags_cc!": ["-fno-exceptions", "-std=gnu++17", "-std=gnu++20", "-O2"],
      "cflags_cc": ["<@(stemline_cflags)", "-fexceptions"],
      "ldflags": ["-Wl,--exclude-libs,ALL"]
    }
  ]
}
