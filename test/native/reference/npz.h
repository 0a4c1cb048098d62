// .npz archives: a reader that checks everything it can and throws, and a writer of the plainest form.
#pragma once

#include <cstring>
#include <map>
#include <stdexcept>

#include "crc32.h"
#include "wire_value.h"

namespace reference {

struct NpyArray {
  std::string descr;
  std::vector<uint64_t> shape;
  Bytes data;

  template <class T>
  std::vector<T> as() const {
    std::vector<T> values(data.size() / sizeof(T));
    std::memcpy(values.data(), data.data(), values.size() * sizeof(T));
    return values;
  }
};

inline uint64_t little_endian(const Bytes& bytes, size_t at, unsigned width) {
  if (at + width > bytes.size()) throw std::runtime_error("npz: ends at " + std::to_string(at));
  uint64_t value = 0;
  for (unsigned i = 0; i < width; ++i) value |= uint64_t{bytes[at + i]} << (8 * i);
  return value;
}

inline void expect_equal(const char* what, uint64_t got, uint64_t expected) {
  if (got != expected) {
    throw std::runtime_error("npz: " + std::string(what) + " is " + std::to_string(got) + ", expected " +
                             std::to_string(expected));
  }
}

// A .npy of format 1.0 with numpy's spelling of the header.
inline NpyArray read_npy(const Bytes& npy) {
  const std::string magic("\x93NUMPY\x01\x00", 8);
  if (npy.size() < 10 || std::memcmp(npy.data(), magic.data(), 8) != 0) throw std::runtime_error("npy: no magic");
  const size_t header_size = little_endian(npy, 8, 2);
  if ((10 + header_size) % 64 != 0) throw std::runtime_error("npy: data is not aligned");
  const std::string header(npy.begin() + 10, npy.begin() + 10 + static_cast<std::ptrdiff_t>(header_size));
  if (header.back() != '\n') throw std::runtime_error("npy: header without newline");
  NpyArray array;
  const size_t descr = header.find("'descr': '") + 10;
  array.descr = header.substr(descr, header.find('\'', descr) - descr);
  if (header.find("'fortran_order': False") == std::string::npos) throw std::runtime_error("npy: not C order");
  size_t at = header.find("'shape': (") + 10;
  const size_t end = header.find(')', at);
  uint64_t items = 1;
  while (at < end) {
    size_t used = 0;
    array.shape.push_back(std::stoull(header.substr(at, end - at), &used));
    items *= array.shape.back();
    at += used;
    while (at < end && (header[at] == ',' || header[at] == ' ')) ++at;
  }
  array.data.assign(npy.begin() + 10 + static_cast<std::ptrdiff_t>(header_size), npy.end());
  expect_equal("bytes of the array", array.data.size(), items * static_cast<uint64_t>(array.descr[2] - '0'));
  return array;
}

// Members by name with ".npy", of a stored archive as numpy writes it, without gaps, comments or disks.
inline std::map<std::string, NpyArray> read_npz(const Bytes& zip) {
  if (zip.size() < 22) throw std::runtime_error("npz: too short");
  const size_t end_record = zip.size() - 22;
  expect_equal("end signature", little_endian(zip, end_record, 4), 0x06054b50);
  expect_equal("disk", little_endian(zip, end_record + 4, 4), 0);
  const uint64_t members = little_endian(zip, end_record + 8, 2);
  expect_equal("members in all", little_endian(zip, end_record + 10, 2), members);
  const size_t directory = little_endian(zip, end_record + 16, 4);
  expect_equal("directory size", little_endian(zip, end_record + 12, 4), end_record - directory);
  expect_equal("comment", little_endian(zip, end_record + 20, 2), 0);
  std::map<std::string, NpyArray> arrays;
  size_t entry = directory, local = 0;
  for (uint64_t i = 0; i < members; ++i) {
    expect_equal("directory signature", little_endian(zip, entry, 4), 0x02014b50);
    const size_t name_size = little_endian(zip, entry + 28, 2);
    const size_t size = little_endian(zip, entry + 24, 4);
    expect_equal("method", little_endian(zip, entry + 10, 2), 0);
    expect_equal("compressed size", little_endian(zip, entry + 20, 4), size);
    expect_equal("local header offset", little_endian(zip, entry + 42, 4), local);
    const std::string name(zip.begin() + static_cast<std::ptrdiff_t>(entry) + 46,
                           zip.begin() + static_cast<std::ptrdiff_t>(entry + 46 + name_size));
    expect_equal("local signature", little_endian(zip, local, 4), 0x04034b50);
    expect_equal("local name size", little_endian(zip, local + 26, 2), name_size);
    if (std::memcmp(zip.data() + local + 30, name.data(), name_size) != 0)
      throw std::runtime_error("npz: names differ");
    const size_t extra = little_endian(zip, local + 28, 2);
    if (little_endian(zip, local + 18, 4) == 0xffffffffu) {
      expect_equal("zip64 extra size", extra, 20);
      expect_equal("zip64 id", little_endian(zip, local + 30 + name_size, 2), 1);
      expect_equal("zip64 length", little_endian(zip, local + 32 + name_size, 2), 16);
      expect_equal("zip64 size", little_endian(zip, local + 34 + name_size, 8), size);
      expect_equal("zip64 compressed size", little_endian(zip, local + 42 + name_size, 8), size);
    } else {
      expect_equal("local size", little_endian(zip, local + 22, 4), size);
    }
    const size_t data = local + 30 + name_size + extra;
    if (data + size > directory) throw std::runtime_error("npz: member reaches into the directory");
    const Bytes npy(zip.begin() + static_cast<std::ptrdiff_t>(data),
                    zip.begin() + static_cast<std::ptrdiff_t>(data + size));
    const uint32_t crc = crc32(npy.data(), npy.size());
    expect_equal("CRC of the directory", little_endian(zip, entry + 16, 4), crc);
    expect_equal("CRC of the local header", little_endian(zip, local + 14, 4), crc);
    arrays[name] = read_npy(npy);
    local = data + size;
    entry += 46 + name_size + little_endian(zip, entry + 30, 2) + little_endian(zip, entry + 32, 2);
  }
  expect_equal("end of the members", local, directory);
  expect_equal("end of the directory", entry, end_record);
  return arrays;
}

inline void put_little_endian(Bytes& out, uint64_t value, unsigned width) {
  for (unsigned i = 0; i < width; ++i) out.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

inline Bytes write_npy(const NpyArray& array) {
  std::string shape;
  for (const uint64_t side : array.shape) shape += std::to_string(side) + ", ";
  if (array.shape.size() > 1) shape.erase(shape.size() - 2);
  if (array.shape.size() == 1) shape.erase(shape.size() - 1);
  std::string header = "{'descr': '" + array.descr + "', 'fortran_order': False, 'shape': (" + shape + "), }";
  while ((10 + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  const std::string magic("\x93NUMPY\x01\x00", 8);
  Bytes npy(magic.begin(), magic.end());
  put_little_endian(npy, header.size(), 2);
  npy.insert(npy.end(), header.begin(), header.end());
  npy.insert(npy.end(), array.data.begin(), array.data.end());
  return npy;
}

// Members as an archiver without numpy's habits writes them: sizes in the local header, no extra field.
inline Bytes write_zip(const std::vector<std::pair<std::string, Bytes>>& members) {
  Bytes zip, directory;
  for (const auto& member : members) {
    const std::string& name = member.first;
    const Bytes& content = member.second;
    const auto common = [&](Bytes& out) {
      put_little_endian(out, 20, 2);  // version needed
      put_little_endian(out, 0, 2);   // flags
      put_little_endian(out, 0, 2);   // stored
      put_little_endian(out, 0x21 << 16, 4);
      put_little_endian(out, crc32(content.data(), content.size()), 4);
      put_little_endian(out, content.size(), 4);
      put_little_endian(out, content.size(), 4);
      put_little_endian(out, name.size(), 2);
      put_little_endian(out, 0, 2);
    };
    put_little_endian(directory, 0x02014b50, 4);
    put_little_endian(directory, 20, 2);
    common(directory);
    put_little_endian(directory, 0, 2);  // comment
    put_little_endian(directory, 0, 2);  // disk
    put_little_endian(directory, 0, 2);
    put_little_endian(directory, 0, 4);
    put_little_endian(directory, zip.size(), 4);
    directory.insert(directory.end(), name.begin(), name.end());
    put_little_endian(zip, 0x04034b50, 4);
    common(zip);
    zip.insert(zip.end(), name.begin(), name.end());
    zip.insert(zip.end(), content.begin(), content.end());
  }
  const size_t directory_at = zip.size();
  zip.insert(zip.end(), directory.begin(), directory.end());
  put_little_endian(zip, 0x06054b50, 4);
  put_little_endian(zip, 0, 4);
  put_little_endian(zip, members.size(), 2);
  put_little_endian(zip, members.size(), 2);
  put_little_endian(zip, directory.size(), 4);
  put_little_endian(zip, directory_at, 4);
  put_little_endian(zip, 0, 2);
  return zip;
}

template <class T>
NpyArray npy_array(std::string descr, std::vector<uint64_t> shape, const std::vector<T>& values) {
  NpyArray array{std::move(descr), std::move(shape), Bytes(values.size() * sizeof(T))};
  if (!values.empty()) std::memcpy(array.data.data(), values.data(), array.data.size());
  return array;
}

}  // namespace reference
