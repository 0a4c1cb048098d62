#include "npz.h"

#include <algorithm>
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

// The files of an archive, as its directory has them.
class Directory {
 public:
  struct Entry {
    const uint8_t* at;
    std::string_view name;
  };

  explicit Directory(std::span<const uint8_t> archive) : archive_(archive) {}

  Status open() {
    // An archive with a comment, or one with bytes before it, is left to the general reader.
    if (archive_.size() < end_record_size) return invalid("an .npz of " + std::to_string(archive_.size()) + " bytes");
    limit_ = archive_.size() - end_record_size;
    const uint8_t* const end_record = archive_.data() + limit_;
    if (std::memcmp(end_record, "PK\x05\x06", 4) != 0) return other_layout();
    left_ = get<uint16_t>(end_record + 10);
    const size_t size = get<uint32_t>(end_record + 12);
    begin_ = get<uint32_t>(end_record + 16);
    if (left_ == UINT16_MAX || begin_ == UINT32_MAX) return other_layout();
    if (begin_ > limit_ || size != limit_ - begin_) return other_layout();
    at_ = begin_;
    return {};
  }

  // Files that are still to come.
  size_t left() const { return left_; }

  // The next file; none at the end.
  Status next(std::optional<Entry>& entry) {
    entry.reset();
    if (left_ == 0) return {};
    --left_;
    const uint8_t* const at = archive_.data() + at_;
    if (limit_ - at_ < directory_entry_size || std::memcmp(at, "PK\x01\x02", 4) != 0) return damaged();
    const size_t name_size = get<uint16_t>(at + 28);
    const size_t size = directory_entry_size + name_size + get<uint16_t>(at + 30) + get<uint16_t>(at + 32);
    if (limit_ - at_ < size) return damaged();
    at_ += size;
    entry = {at, {reinterpret_cast<const char*>(at) + directory_entry_size, name_size}};
    return {};
  }

  // The bytes of a stored file, whose checksum is right.
  Status read(const Entry& entry, const Backend& backend, std::span<const uint8_t>& bytes) const {
    const uint32_t size = get<uint32_t>(entry.at + 24);
    const size_t local_at = get<uint32_t>(entry.at + 42);
    const std::string member = "member " + std::string(without_suffix(entry.name)) + " of the .npz ";
    if (get<uint16_t>(entry.at + 8) != 0 || get<uint16_t>(entry.at + 10) != 0) return other_layout();
    if (size == UINT32_MAX || local_at == UINT32_MAX || size != get<uint32_t>(entry.at + 20)) return other_layout();
    const uint8_t* const local = archive_.data() + local_at;
    if (local_at > begin_ || begin_ - local_at < local_header_size || std::memcmp(local, "PK\x03\x04", 4) != 0) {
      return invalid(member + "has no local header");
    }
    const size_t skip = local_header_size + get<uint16_t>(local + 26) + get<uint16_t>(local + 28);
    if (begin_ - local_at < skip || begin_ - local_at - skip < size) return invalid(member + "reaches beyond it");
    bytes = {local + skip, size};
    if (backend.crc32(0, bytes.data(), bytes.size()) != get<uint32_t>(entry.at + 16)) return invalid(member + "has a wrong checksum");
    return {};
  }

  static std::string_view without_suffix(std::string_view name) {
    if (name.ends_with(".npy")) name.remove_suffix(4);
    return name;
  }

 private:
  static Status damaged() { return invalid("the directory of the .npz is damaged"); }

  std::span<const uint8_t> archive_;
  size_t left_ = 0;
  size_t begin_ = 0;
  size_t limit_ = 0;
  size_t at_ = 0;
};

}  // namespace

Status read_npz_arrays(std::span<const uint8_t> archive, std::span<const std::string_view> except, std::string_view descr,
                       size_t item_size, const Backend& backend, std::vector<NamedNpyView>& arrays) {
  Directory directory(archive);
  if (Status status = directory.open(); !status.ok()) return status;
  if (directory.left() > max_npz_arrays) {
    return invalid("an .npz of " + std::to_string(directory.left()) + " arrays, expected at most " + std::to_string(max_npz_arrays));
  }
  for (std::optional<Directory::Entry> entry;;) {
    if (Status status = directory.next(entry); !status.ok() || !entry) return status;
    NamedNpyView view;
    view.name = Directory::without_suffix(entry->name);
    if (std::find(except.begin(), except.end(), view.name) != except.end()) continue;
    const auto has_name = [&view](const NamedNpyView& other) { return other.name == view.name; };
    if (std::any_of(arrays.begin(), arrays.end(), has_name)) return invalid("an .npz with two arrays \"" + std::string(view.name) + "\"");
    std::span<const uint8_t> npy;
    if (Status status = directory.read(*entry, backend, npy); !status.ok()) return status;
    if (Status status = parse_npy(npy, descr, item_size, view); !status.ok()) return status;
    arrays.push_back(std::move(view));
  }
}

Status find_npz_array(std::span<const uint8_t> archive, std::string_view name, std::string_view descr, size_t item_size,
                      const Backend& backend, bool& found, NpyView& view) {
  found = false;
  Directory directory(archive);
  if (Status status = directory.open(); !status.ok()) return status;
  for (std::optional<Directory::Entry> entry;;) {
    if (Status status = directory.next(entry); !status.ok() || !entry) return status;
    if (Directory::without_suffix(entry->name) != name) continue;
    std::span<const uint8_t> npy;
    if (Status status = directory.read(*entry, backend, npy); !status.ok()) return status;
    found = true;
    return parse_npy(npy, descr, item_size, view);
  }
}

}  // namespace stemline
