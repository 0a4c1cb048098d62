#include "npz.h"

#include <bit>
#include <cstring>
#include <string>

namespace stemline {

namespace {

static_assert(std::endian::native == std::endian::little, "arrays are written and read in place, little-endian");

// Sizes of the fixed parts of a zip archive (APPNOTE.TXT 4.3) and of numpy's choices in filling them.
constexpr size_t local_header_size = 30;
constexpr size_t zip64_extra_size = 20;
constexpr size_t directory_entry_size = 46;
constexpr size_t end_record_size = 22;
constexpr uint16_t zip64_version = 45;
constexpr uint16_t date_1980_01_01 = 0x21;
constexpr uint32_t external_attributes = 0x01800000;

constexpr std::string_view npy_magic{"\x93NUMPY\x01\x00", 8};
constexpr size_t npy_alignment = 64;

template <class T>
uint8_t* put(uint8_t* at, T value) {
  std::memcpy(at, &value, sizeof value);
  return at + sizeof value;
}

template <class T>
T get(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

uint8_t* put_text(uint8_t* at, std::string_view text) {
  std::memcpy(at, text.data(), text.size());
  return at + text.size();
}

std::string npy_header(const NpzWriter::Member& member) {
  std::string shape;
  for (const uint64_t side : member.shape) shape += std::to_string(side) + ", ";
  // numpy writes (3,) for one dimension and no comma after the last of several.
  if (member.shape.size() > 1) {
    shape.resize(shape.size() - 2);
  } else if (member.shape.size() == 1) {
    shape.resize(shape.size() - 1);
  }
  std::string text = "{'descr': '" + std::string(member.descr) + "', 'fortran_order': False, 'shape': (" + shape + "), }";
  const size_t prefix = npy_magic.size() + sizeof(uint16_t);
  const size_t total = (prefix + text.size() + 1 + npy_alignment - 1) / npy_alignment * npy_alignment;
  text.append(total - prefix - text.size() - 1, ' ');
  text += '\n';
  return text;
}

}  // namespace

NpzWriter::NpzWriter(std::span<const Member> members, BufferPool& pool) {
  std::vector<std::string> headers;
  size_t at = 0;
  size_t directory_size = end_record_size;
  for (const Member& member : members) {
    headers.push_back(npy_header(member));
    Entry entry;
    entry.name = std::string(member.name) + ".npy";
    entry.local_header_at = at;
    entry.npy_at = at + local_header_size + entry.name.size() + zip64_extra_size;
    entry.data_at = entry.npy_at + npy_magic.size() + sizeof(uint16_t) + headers.back().size();
    size_t data_size = member.item_size;
    for (const uint64_t side : member.shape) data_size *= side;
    entry.npy_size = entry.data_at - entry.npy_at + data_size;
    at = entry.npy_at + entry.npy_size;
    directory_size += directory_entry_size + entry.name.size();
    entries_.push_back(std::move(entry));
  }
  directory_at_ = at;
  archive_ = pool.take(at + directory_size);
  for (size_t i = 0; i < entries_.size(); ++i) {
    uint8_t* npy = put_text(archive_.data() + entries_[i].npy_at, npy_magic);
    npy = put(npy, static_cast<uint16_t>(headers[i].size()));
    put_text(npy, headers[i]);
  }
}

void NpzWriter::copy(size_t member, const uint8_t* source, const Backend& backend) {
  Entry& entry = entries_[member];
  const size_t header_size = entry.data_at - entry.npy_at;
  const uint32_t header_crc = backend.crc32(0, archive_.data() + entry.npy_at, header_size);
  entry.crc = backend.copy_crc32(header_crc, data(member), source, entry.npy_size - header_size);
}

PooledBuffer NpzWriter::finish(const Backend& backend) {
  uint8_t* const begin = archive_.data();
  uint8_t* directory = begin + directory_at_;
  for (const Entry& entry : entries_) {
    const uint32_t crc = entry.crc ? *entry.crc : backend.crc32(0, begin + entry.npy_at, entry.npy_size);
    // The local header has its sizes in a zip64 extra field, as numpy forces it to; the directory has them in place.
    uint8_t* local = begin + entry.local_header_at;
    local = put_text(local, {"PK\x03\x04", 4});
    local = put(local, zip64_version);
    local = put(local, uint16_t{0});  // flags
    local = put(local, uint16_t{0});  // method: stored
    local = put(local, uint16_t{0});  // time
    local = put(local, date_1980_01_01);
    local = put(local, crc);
    local = put(local, UINT32_MAX);
    local = put(local, UINT32_MAX);
    local = put(local, static_cast<uint16_t>(entry.name.size()));
    local = put(local, static_cast<uint16_t>(zip64_extra_size));
    local = put_text(local, entry.name);
    local = put(local, uint16_t{1});  // extra field: zip64
    local = put(local, uint16_t{16});
    local = put(local, static_cast<uint64_t>(entry.npy_size));
    put(local, static_cast<uint64_t>(entry.npy_size));

    directory = put_text(directory, {"PK\x01\x02", 4});
    directory = put(directory, static_cast<uint16_t>(zip64_version | 3u << 8));  // made on Unix
    directory = put(directory, zip64_version);
    directory = put(directory, uint16_t{0});
    directory = put(directory, uint16_t{0});
    directory = put(directory, uint16_t{0});
    directory = put(directory, date_1980_01_01);
    directory = put(directory, crc);
    directory = put(directory, static_cast<uint32_t>(entry.npy_size));
    directory = put(directory, static_cast<uint32_t>(entry.npy_size));
    directory = put(directory, static_cast<uint16_t>(entry.name.size()));
    directory = put(directory, uint16_t{0});  // extra
    directory = put(directory, uint16_t{0});  // comment
    directory = put(directory, uint16_t{0});  // disk
    directory = put(directory, uint16_t{0});  // internal attributes
    directory = put(directory, external_attributes);
    directory = put(directory, static_cast<uint32_t>(entry.local_header_at));
    directory = put_text(directory, entry.name);
  }
  const size_t directory_size = static_cast<size_t>(directory - begin) - directory_at_;
  directory = put_text(directory, {"PK\x05\x06", 4});
  directory = put(directory, uint32_t{0});  // disks
  directory = put(directory, static_cast<uint16_t>(entries_.size()));
  directory = put(directory, static_cast<uint16_t>(entries_.size()));
  directory = put(directory, static_cast<uint32_t>(directory_size));
  directory = put(directory, static_cast<uint32_t>(directory_at_));
  put(directory, uint16_t{0});  // comment
  return std::move(archive_);
}

namespace {

Status invalid(std::string message) { return Status::error(StatusCode::npz_invalid, std::move(message)); }
Status other_layout() { return Status::error(StatusCode::npz_layout, "the .npz needs the general reader"); }

// Reads the text of a .npy header of format 1.0; anything but the plain form that numpy writes is other_layout().
Status parse_npy(std::span<const uint8_t> npy, std::string_view descr, size_t item_size, NpyView& view) {
  const size_t prefix = npy_magic.size() + sizeof(uint16_t);
  if (npy.size() < prefix || std::memcmp(npy.data(), npy_magic.data(), npy_magic.size()) != 0) return other_layout();
  const size_t header_size = get<uint16_t>(npy.data() + npy_magic.size());
  if (header_size > npy.size() - prefix) return invalid("a .npy header reaches beyond its member");
  std::string_view text(reinterpret_cast<const char*>(npy.data()) + prefix, header_size);
  const std::string begin = "{'descr': '" + std::string(descr) + "', 'fortran_order': False, 'shape': (";
  if (!text.starts_with(begin)) return other_layout();
  text.remove_prefix(begin.size());
  view.shape.clear();
  uint64_t items = 1;
  while (!text.empty() && text.front() != ')') {
    uint64_t side = 0;
    size_t digits = 0;
    for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '9'; ++digits) {
      if (side > UINT32_MAX) return other_layout();
      side = side * 10 + static_cast<uint64_t>(text[digits] - '0');
    }
    if (digits == 0 || view.shape.size() == 8) return other_layout();
    text.remove_prefix(digits);
    if (text.starts_with(", ")) {
      text.remove_prefix(2);
    } else if (text.starts_with(",)")) {
      text.remove_prefix(1);
    } else if (!text.starts_with(")")) {
      return other_layout();
    }
    if (side != 0 && items > UINT64_MAX / item_size / side) return invalid("a .npy shape is absurdly large");
    items *= side;
    view.shape.push_back(side);
  }
  if (!text.starts_with("), }")) return other_layout();
  const size_t data_size = npy.size() - prefix - header_size;
  if (items * item_size != data_size) {
    return invalid("a .npy of " + std::to_string(items) + " items of " + std::to_string(item_size) + " bytes holds " +
                   std::to_string(data_size) + " bytes");
  }
  view.data = npy.data() + prefix + header_size;
  return {};
}

}  // namespace

Status find_npz_array(std::span<const uint8_t> archive, std::string_view name, std::string_view descr, size_t item_size,
                      const Backend& backend, bool& found, NpyView& view) {
  found = false;
  // An archive with a comment, or one with bytes before it, is left to the general reader.
  if (archive.size() < end_record_size) return invalid("an .npz of " + std::to_string(archive.size()) + " bytes");
  const uint8_t* const begin = archive.data();
  const uint8_t* const end_record = begin + archive.size() - end_record_size;
  if (std::memcmp(end_record, "PK\x05\x06", 4) != 0) return other_layout();
  const size_t count = get<uint16_t>(end_record + 10);
  const size_t directory_size = get<uint32_t>(end_record + 12);
  const size_t directory_at = get<uint32_t>(end_record + 16);
  const size_t directory_limit = archive.size() - end_record_size;
  if (count == UINT16_MAX || directory_at == UINT32_MAX) return other_layout();
  if (directory_at > directory_limit || directory_size != directory_limit - directory_at) return other_layout();

  const std::string npy_name = std::string(name) + ".npy";
  size_t at = directory_at;
  for (size_t i = 0; i < count; ++i) {
    if (directory_limit - at < directory_entry_size || std::memcmp(begin + at, "PK\x01\x02", 4) != 0) {
      return invalid("the directory of the .npz is damaged");
    }
    const uint8_t* const entry = begin + at;
    const size_t name_size = get<uint16_t>(entry + 28);
    const size_t entry_size = directory_entry_size + name_size + get<uint16_t>(entry + 30) + get<uint16_t>(entry + 32);
    if (directory_limit - at < entry_size) return invalid("the directory of the .npz is damaged");
    const std::string_view entry_name(reinterpret_cast<const char*>(entry) + directory_entry_size, name_size);
    at += entry_size;
    if (entry_name != npy_name && entry_name != name) continue;

    const uint32_t size = get<uint32_t>(entry + 24);
    const size_t local_at = get<uint32_t>(entry + 42);
    if (get<uint16_t>(entry + 8) != 0 || get<uint16_t>(entry + 10) != 0) return other_layout();
    if (size == UINT32_MAX || local_at == UINT32_MAX || size != get<uint32_t>(entry + 20)) return other_layout();
    if (local_at > directory_at || directory_at - local_at < local_header_size ||
        std::memcmp(begin + local_at, "PK\x03\x04", 4) != 0) {
      return invalid("member " + std::string(name) + " of the .npz has no local header");
    }
    const size_t skip = local_header_size + get<uint16_t>(begin + local_at + 26) + get<uint16_t>(begin + local_at + 28);
    if (directory_at - local_at < skip || directory_at - local_at - skip < size) {
      return invalid("member " + std::string(name) + " of the .npz reaches beyond it");
    }
    const std::span<const uint8_t> npy(begin + local_at + skip, size);
    if (backend.crc32(0, npy.data(), npy.size()) != get<uint32_t>(entry + 16)) {
      return invalid("member " + std::string(name) + " of the .npz has a wrong checksum");
    }
    found = true;
    return parse_npy(npy, descr, item_size, view);
  }
  return {};
}

}  // namespace stemline
