// .npz archives as numpy.savez writes them: stored (not compressed) members, each a .npy of format 1.0.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend.h"
#include "buffer_pool.h"
#include "status.h"

namespace stemline {

// An archive under construction: one block with every member's .npy header in place, whose data the caller fills in.
class NpzWriter {
 public:
  struct Member {
    std::string_view name;   // without ".npy"
    std::string_view descr;  // numpy type text, such as "<f4"
    size_t item_size;
    std::vector<uint64_t> shape;
  };

  NpzWriter(std::span<const Member> members, BufferPool& pool);

  // Data of member i, C order, not initialised; aligned to 4 bytes only if archive offsets happen to be.
  uint8_t* data(size_t member) { return archive_.data() + entries_[member].data_at; }

  // Fills in the data of member i from `source`, with its checksum in the same pass: half the time of both.
  void copy(size_t member, const uint8_t* source, const Backend& backend);

  // Computes the checksums that are not there yet and closes the archive.
  PooledBuffer finish(const Backend& backend);

 private:
  struct Entry {
    std::string name;  // with ".npy"
    size_t local_header_at;
    size_t npy_at;
    size_t data_at;
    size_t npy_size;
    std::optional<uint32_t> crc;
  };

  PooledBuffer archive_;
  std::vector<Entry> entries_;
  size_t directory_at_ = 0;
};

// An array inside an archive; points into the archive's bytes.
struct NpyView {
  std::vector<uint64_t> shape;
  const uint8_t* data = nullptr;  // not necessarily aligned
};

// Most arrays of an archive that are looked at. What operators send has a few dozen at most.
inline constexpr size_t max_npz_arrays = 64;

struct NamedNpyView : NpyView {
  std::string_view name;  // without ".npy"; points into the archive's directory
};

// Reads all arrays of an archive but those with names in `except`; all of them have type `descr`. Status as find_npz_array.
Status read_npz_arrays(std::span<const uint8_t> archive, std::span<const std::string_view> except, std::string_view descr,
                       size_t item_size, const Backend& backend, std::vector<NamedNpyView>& arrays);

// Finds `name` (or `name`.npy) in an archive. Status npz_layout if the archive is fine as far as read but of a form
// that only the general reader knows: compressed members, other types than `descr`, Fortran order, newer .npy or zip64.
// `found` is false if there is no such member.
Status find_npz_array(std::span<const uint8_t> archive, std::string_view name, std::string_view descr, size_t item_size,
                      const Backend& backend, bool& found, NpyView& view);

}  // namespace stemline
