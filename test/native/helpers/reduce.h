// A reducer of partial results, as tests call it.
#pragma once

#include <vector>

#include "center_of_mass_reduce.h"
#include "guarded_bytes.h"
#include "partial.h"

namespace helpers {

// The two byte parts of a message.
struct Message {
  Bytes meta;
  Bytes data;
};

inline stemline::BufferPool& pool() {
  static const auto shared = stemline::BufferPool::create(1 << 24);
  return *shared;
}

inline stemline::Status add(stemline::ComReducer& reducer, const Message& message, const stemline::ComReduceOptions& options,
                            std::vector<stemline::ComEmission>& emissions) {
  GuardedBytes meta(message.meta), data(message.data);
  return reducer.add(meta.span(), data.span(), options, pool(), emissions);
}

}  // namespace helpers
