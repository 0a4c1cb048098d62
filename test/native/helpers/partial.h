// Calls of the partial kernel from the tests' own types.
#pragma once

#include "../reference/center_of_mass.h"
#include "../reference/msgpack_encoder.h"
#include "../reference/npz.h"
#include "backends.h"
#include "center_of_mass_partial.h"
#include "guarded_bytes.h"

namespace helpers {

using reference::Bytes;

inline Bytes copy_of(const stemline::PooledBuffer& buffer) { return {buffer.data(), buffer.data() + buffer.size()}; }

inline std::string text_of(const Bytes& bytes) { return {bytes.begin(), bytes.end()}; }
inline Bytes bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

inline stemline::ComPartialOptions partial_options(const reference::ComOptions& options,
                                                   const stemline::Backend& backend, bool drop = false) {
  stemline::ComPartialOptions converted;
  if (options.crop_to) converted.crop_to = {options.crop_to->x, options.crop_to->y};
  if (options.init_center) converted.init_center = {options.init_center->x, options.init_center->y};
  converted.crop_shape = options.disk ? stemline::CropShape::disk : stemline::CropShape::box;
  converted.replace_nans = options.replace_nans;
  converted.drop_invalid_frames = drop;
  converted.backend = &backend;
  return converted;
}

struct PartialRun {
  stemline::Status status;
  Bytes meta;
  Bytes data;
  uint64_t frames = 0;
  uint64_t events = 0;
  uint64_t dropped_frames = 0;
  std::string dropped_reason;
};

// Both inputs end at unreadable memory.
inline PartialRun run_partial(std::span<const uint8_t> meta, std::span<const uint8_t> data,
                              const stemline::ComPartialOptions& options) {
  static const std::shared_ptr<stemline::BufferPool> pool = stemline::BufferPool::create(size_t{64} << 20);
  static GuardedBytes guarded_meta, guarded_data;
  stemline::ComPartialResult result;
  PartialRun run;
  run.status = center_of_mass_partial(guarded_meta.place(meta), guarded_data.place(data), options, *pool, result);
  run.meta = copy_of(result.meta);
  run.data = copy_of(result.data);
  run.frames = result.frames;
  run.events = result.events;
  run.dropped_frames = result.dropped_frames;
  run.dropped_reason = result.dropped_reason;
  return run;
}

inline PartialRun run_partial(const reference::Batch& batch, const stemline::ComPartialOptions& options = {}) {
  return run_partial(reference::msgpack(batch_value(batch)), batch_data(batch), options);
}

// Bits, so that NaN equals NaN and 0 differs from -0.
template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

// "" if equal, else the first difference.
template <class T>
std::string difference(const std::vector<T>& got, const std::vector<T>& expected) {
  if (got.size() != expected.size())
    return std::to_string(got.size()) + " values instead of " + std::to_string(expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::memcmp(&got[i], &expected[i], sizeof(T)) != 0) {
      return "value " + std::to_string(i) + " is " + std::to_string(got[i]) + " instead of " +
             std::to_string(expected[i]);
    }
  }
  return "";
}

inline std::string difference(const std::string& got, const std::string& expected) {
  if (got == expected) return "";
  size_t at = 0;
  while (at < got.size() && at < expected.size() && got[at] == expected[at]) ++at;
  return "at " + std::to_string(at) + ": got ..." + got.substr(at < 20 ? 0 : at - 20, 60) + "... instead of ..." +
         expected.substr(at < 20 ? 0 : at - 20, 60) + "...";
}

inline std::string code_name(stemline::StatusCode code) {
  return code == stemline::StatusCode::ok ? "ok" : stemline::status_code_name(code);
}

// The call was refused for this reason, in words that hold every one of `parts`.
inline void check_refused(const stemline::Status& status, stemline::StatusCode code,
                          const std::vector<std::string>& parts = {}) {
  INFO("message: ", status.message);
  CHECK(code_name(status.code) == code_name(code));
  for (const std::string& part : parts) {
    const bool says = status.message.find(part) != std::string::npos;
    INFO("the message should hold: ", part);
    CHECK(says);
  }
}

inline void check_ok(const stemline::Status& status) {
  INFO("message: ", status.message);
  REQUIRE(code_name(status.code) == "ok");
}

}  // namespace helpers
