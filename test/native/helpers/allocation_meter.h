// Counts what `operator new` hands out, to prove that a hostile message makes us allocate nothing of note.
#pragma once

#include <cstddef>

namespace helpers {

// Counts while it lives; one at a time.
class AllocationMeter {
 public:
  AllocationMeter();
  ~AllocationMeter();
  AllocationMeter(const AllocationMeter&) = delete;
  AllocationMeter& operator=(const AllocationMeter&) = delete;

  // Bytes asked for since the start, freed or not.
  size_t bytes() const;
};

}  // namespace helpers
