// .npz archives: bytes as the peer writes them, and a reader that survives anything.
#include "npz.h"

#include <fstream>
#include <iterator>

#include "helpers/partial.h"
#include "helpers/random.h"
#include "reference/json.h"

using namespace helpers;
using stemline::Backend;
using stemline::NpyView;
using stemline::NpzWriter;
using stemline::Status;
using stemline::StatusCode;

namespace {

stemline::BufferPool& pool() {
  static const auto shared = stemline::BufferPool::create(1 << 24);
  return *shared;
}

Bytes read_file(const std::string& path) {
  std::ifstream file(std::string(STEMLINE_GOLDEN_DIR) + "/" + path, std::ios::binary);
  CAPTURE(path);
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}

reference::Value read_json(const std::string& path) { return reference::JsonParser(text_of(read_file(path))).parse(); }

// One float32 member "com" of that shape, with these values.
Bytes com_archive(const Backend& backend, const std::vector<uint64_t>& shape, const std::vector<float>& values) {
  const NpzWriter::Member members[] = {{"com", "<f4", 4, shape}};
  NpzWriter writer(members, pool());
  if (!values.empty()) std::memcpy(writer.data(0), values.data(), 4 * values.size());
  const Bytes archive = copy_of(writer.finish(backend));
  NpzWriter in_one_pass(members, pool());
  in_one_pass.copy(0, reinterpret_cast<const uint8_t*>(values.data()), backend);
  CHECK(copy_of(in_one_pass.finish(backend)) == archive);
  return archive;
}

struct Found {
  Status status;
  bool found = false;
  std::vector<uint64_t> shape;
  Bytes data;
};

Found find(std::span<const uint8_t> archive, const std::string& name, const std::string& descr, size_t item_size,
           const Backend& backend) {
  static GuardedBytes guarded;
  const std::span<const uint8_t> bytes = guarded.place(archive);
  Found result;
  NpyView view;
  result.status = find_npz_array(bytes, name, descr, item_size, backend, result.found, view);
  if (result.status.ok() && result.found) {
    result.shape = view.shape;
    size_t size = item_size;
    for (const uint64_t side : view.shape) size *= side;
    // Touches every byte that the view promises.
    result.data.assign(view.data, view.data + size);
  }
  return result;
}

std::vector<float> counting(size_t count) {
  std::vector<float> values;
  for (size_t i = 0; i < count; ++i) values.push_back(static_cast<float>(i));
  return values;
}

int64_t integer(const reference::Value& value) { return static_cast<int64_t>(value.integer); }

std::string hex(const Bytes& bytes) {
  std::string text;
  for (const uint8_t byte : bytes) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

}  // namespace

TEST_CASE("archives are the bytes that the peer writes") {
  const reference::Value layouts = read_json("npz/layout.json");
  for_each_backend([&](const Backend& backend) {
    size_t compared = 0;
    for (size_t i = 0; i < layouts.items.size(); i += 2) {
      const std::string name = layouts.items[i].text;
      CAPTURE(name);
      const reference::Value& layout = layouts.items[i + 1];
      const reference::Value& member = layout.at("members").items.at(0);
      std::vector<uint64_t> shape;
      size_t count = 1;
      for (size_t at = name.find('-') + 1; at < name.size();
           at = name.find('x', at) == std::string::npos ? name.size() : name.find('x', at) + 1) {
        shape.push_back(std::stoull(name.substr(at)));
        count *= shape.back();
      }
      Bytes archive;
      if (layout.at("hex_if_small").kind == reference::Value::Kind::string) {
        // The recorded bytes hold the data too.
        const std::string& recorded = layout.at("hex_if_small").text;
        const size_t data_at = 57 + static_cast<size_t>(member.at("npy").at("data_offset").integer);
        std::vector<float> values(count);
        for (size_t b = 0; b < 4 * count; ++b) {
          reinterpret_cast<uint8_t*>(values.data())[b] =
              static_cast<uint8_t>(std::stoi(recorded.substr(2 * (data_at + b), 2), nullptr, 16));
        }
        archive = com_archive(backend, shape, values);
        CHECK(difference(hex(archive), recorded) == "");
        ++compared;
      } else {
        archive = com_archive(backend, shape, counting(count));
      }
      CHECK(static_cast<int64_t>(archive.size()) == integer(layout.at("total_bytes")));
      const size_t directory = static_cast<size_t>(layout.at("central_directory_offset").integer);
      const size_t end = static_cast<size_t>(layout.at("end_record_offset").integer);
      const auto number = [&](size_t at, unsigned width) {
        return static_cast<int64_t>(reference::little_endian(archive, at, width));
      };
      CHECK(number(directory, 4) == 0x02014b50);
      CHECK(number(end, 4) == 0x06054b50);
      const reference::Value& local = member.at("local");
      const reference::Value& central = member.at("central");
      CHECK(number(4, 2) == integer(local.at("version_needed")));
      CHECK(number(6, 2) == integer(local.at("flags")));
      CHECK(number(8, 2) == integer(local.at("compression")));
      CHECK(number(10, 2) == integer(local.at("dos_time")));
      CHECK(number(12, 2) == integer(local.at("dos_date")));
      CHECK(number(18, 4) == integer(local.at("compressed_size_field")));
      CHECK(number(22, 4) == integer(local.at("uncompressed_size_field")));
      CHECK(hex({archive.begin() + 37, archive.begin() + 57}) == local.at("extra_hex").text);
      CHECK(number(directory + 4, 1) == integer(central.at("create_version")));
      CHECK(number(directory + 5, 1) == integer(central.at("create_system")));
      CHECK(number(directory + 6, 2) == integer(central.at("extract_version")));
      CHECK(number(directory + 24, 4) == integer(central.at("file_size")));
      CHECK(number(directory + 36, 2) == integer(central.at("internal_attr")));
      CHECK(number(directory + 38, 4) == std::stoll(central.at("external_attr").text, nullptr, 16));
      const std::string header = member.at("npy").at("header_text").text;
      CHECK(std::string(archive.begin() + 67, archive.begin() + 67 + static_cast<std::ptrdiff_t>(header.size())) ==
            header);
    }
    CHECK(compared >= 2);
  });
}

TEST_CASE("an archive of several members is read back by the strict reader and by ours") {
  for_each_backend([](const Backend& backend) {
    for_random_cases("npz members", 60, [&](Random& random) {
      std::vector<std::vector<uint64_t>> shapes;
      std::vector<Bytes> contents;
      std::vector<NpzWriter::Member> members;
      const std::string names[] = {"com", "count", "a_longer_name", "x"};
      const size_t count = random.between(1, 4);
      for (size_t i = 0; i < count; ++i) {
        std::vector<uint64_t> shape;
        for (int64_t d = random.between(0, 4); d > 0; --d)
          shape.push_back(static_cast<uint64_t>(random.between(0, 12)));
        const bool floats = i % 2 == 0;
        members.push_back({names[i], floats ? "<f4" : "<u4", 4, shape});
        size_t size = 4;
        for (const uint64_t side : shape) size *= side;
        Bytes content(size);
        for (uint8_t& byte : content) byte = static_cast<uint8_t>(random.bits());
        contents.push_back(content);
      }
      NpzWriter writer(members, pool());
      for (size_t i = 0; i < count; ++i) {
        if (!contents[i].empty()) std::memcpy(writer.data(i), contents[i].data(), contents[i].size());
      }
      const Bytes archive = copy_of(writer.finish(backend));
      const auto arrays = reference::read_npz(archive);
      CHECK(arrays.size() == count);
      for (size_t i = 0; i < count; ++i) {
        const reference::NpyArray& array = arrays.at(names[i] + ".npy");
        CHECK(array.descr == members[i].descr);
        CHECK(array.shape == members[i].shape);
        CHECK(array.data == contents[i]);
        const Found found = find(archive, names[i], std::string(members[i].descr), 4, backend);
        check_ok(found.status);
        CHECK(found.found);
        CHECK(found.shape == members[i].shape);
        CHECK(found.data == contents[i]);
        // Another type than asked for is the general reader's.
        check_refused(find(archive, names[i], "<i4", 4, backend).status, StatusCode::npz_layout);
      }
      const Found absent = find(archive, "absent", "<f4", 4, backend);
      CHECK(absent.status.ok());
      CHECK(!absent.found);
    });
  });
}

TEST_CASE("recorded archives: read, left to the general reader, or refused as the peer refuses") {
  const reference::Value cases = read_json("npz/accept.json");
  for_each_backend([&](const Backend& backend) {
    size_t read = 0;
    for (const reference::Value& recorded : cases.items) {
      const std::string name = recorded.at("name").text;
      CAPTURE(name);
      const Bytes archive = read_file("npz/" + recorded.at("file").text);
      const Found found = find(archive, "com", "<f4", 4, backend);
      CAPTURE(found.status.message);
      if (found.status.ok() && found.found) {
        ++read;
        CHECK(recorded.at("ok").boolean);
        CHECK(recorded.at("dtype").text == "<f4");
        CHECK(found.shape == std::vector<uint64_t>{2, 2, 3});
        std::vector<float> values(12);
        std::memcpy(values.data(), found.data.data(), 48);
        CHECK(difference(values, counting(12)) == "");
      } else if (recorded.at("ok").boolean) {
        // Never called invalid, only left to another reader.
        CHECK(code_name(found.status.code) == code_name(StatusCode::npz_layout));
      }
    }
    CHECK(read >= 4);
  });
}

TEST_CASE("plain archives of other writers are read") {
  const std::vector<float> values = counting(12);
  const auto com = write_npy(reference::npy_array("<f4", {2, 2, 3}, values));
  const auto count = write_npy(reference::npy_array<uint32_t>("<u4", {2, 3}, {1, 2, 3, 4, 5, 6}));
  for_each_backend([&](const Backend& backend) {
    for (const std::string name : {"com", "com.npy"}) {
      const Bytes archive = reference::write_zip({{"count.npy", count}, {name, com}, {"other", {1, 2, 3}}});
      const Found found = find(archive, "com", "<f4", 4, backend);
      check_ok(found.status);
      CHECK(found.found);
      CHECK(found.data.size() == 48);
      CHECK(find(archive, "count", "<u4", 4, backend).shape == std::vector<uint64_t>{2, 3});
    }
  });
}

TEST_CASE("every prefix of an archive is refused") {
  for_each_backend([](const Backend& backend) {
    const Bytes archive = com_archive(backend, {2, 2, 3}, counting(12));
    for (size_t size = 0; size < archive.size(); ++size) {
      CAPTURE(size);
      const Found found = find({archive.data(), size}, "com", "<f4", 4, backend);
      CHECK(!found.status.ok());
    }
  });
}

TEST_CASE("a changed byte is an error, a missing member, or does not matter") {
  for_each_backend([](const Backend& backend) {
    const Bytes archive = com_archive(backend, {2, 2, 3}, counting(12));
    const Bytes expected = find(archive, "com", "<f4", 4, backend).data;
    size_t noticed = 0;
    for (size_t at = 0; at < archive.size(); ++at) {
      for (int bit = 0; bit < 8; ++bit) {
        Bytes changed = archive;
        changed[at] ^= static_cast<uint8_t>(1 << bit);
        const Found found = find(changed, "com", "<f4", 4, backend);
        if (!found.status.ok() || !found.found) {
          ++noticed;
          continue;
        }
        const bool same = found.data == expected && found.shape == std::vector<uint64_t>{2, 2, 3};
        if (!same) {
          CAPTURE(at);
          CAPTURE(bit);
          CHECK(same);
        }
      }
    }
    // All of the array, its header, the CRC and what locates them.
    CHECK(noticed > (48 + 128 + 4 + 4 + 4 + 22) * 8 - 64);
  });
}

TEST_CASE("random damage never crashes") {
  for_each_backend([](const Backend& backend) {
    for_random_cases("npz damage", 4000, [&](Random& random) {
      const std::vector<float> values = counting(12);
      Bytes archive = random.chance(0.5)
                          ? com_archive(backend, {2, 2, 3}, values)
                          : reference::write_zip(
                                {{"com.npy", write_npy(reference::npy_array("<f4", {2, 2, 3}, values))}, {"x", {}}});
      for (int64_t changes = random.between(1, 4); changes > 0; --changes) {
        // Mostly in the directory and the end record, where offsets and sizes are.
        const size_t at = random.chance(0.7) ? archive.size() - 1 - random.below(90) : random.below(archive.size());
        archive[at] =
            static_cast<uint8_t>(random.chance(0.5) ? random.bits() : random.pick<uint8_t>({0, 1, 0x7f, 0x80, 0xff}));
      }
      find(archive, "com", "<f4", 4, backend);
      find(archive, "x", "<f4", 4, backend);
    });
  });
}

TEST_CASE("headers of .npy members: what is read, left to others, or refused") {
  const auto archive_of = [](const std::string& header, size_t data_size) {
    Bytes npy = bytes_of(std::string("\x93NUMPY\x01\x00", 8));
    reference::put_little_endian(npy, header.size(), 2);
    npy.insert(npy.end(), header.begin(), header.end());
    npy.resize(npy.size() + data_size);
    return reference::write_zip({{"com.npy", npy}});
  };
  const auto text = [](const std::string& shape) {
    return "{'descr': '<f4', 'fortran_order': False, 'shape': (" + shape + "), }    \n";
  };
  for_each_backend([&](const Backend& backend) {
    const auto read = [&](const std::string& header, size_t size) {
      return find(archive_of(header, size), "com", "<f4", 4, backend);
    };
    CHECK(read(text("3,"), 12).shape == std::vector<uint64_t>{3});
    CHECK(read(text(""), 4).shape.empty());
    CHECK(read(text(""), 4).found);
    CHECK(read(text("0, 5"), 0).shape == std::vector<uint64_t>{0, 5});
    CHECK(read(text("1, 2, 3, 1, 1, 1, 1, 1"), 24).shape.size() == 8);
    check_refused(read(text("2, 3"), 23).status, StatusCode::npz_invalid, {"6 items", "23"});
    check_refused(read(text("2, 3"), 25).status, StatusCode::npz_invalid, {"6 items", "25"});
    check_refused(read(text("4294967295, 4294967295"), 0).status, StatusCode::npz_invalid);
    check_refused(read(text("4294967295, 4294967295, 4294967295"), 0).status, StatusCode::npz_invalid);
    for (const std::string other :
         {"99999999999999999999", "-1", "a", "2,3", "2 ,3", "2, , 3", "2;3", "1, 1, 1, 1, 1, 1, 1, 1, 1"}) {
      CAPTURE(other);
      CHECK(!read(text(other), 24).status.ok());
    }
    check_refused(read("{'descr': '>f4', 'fortran_order': False, 'shape': (3,), }\n", 12).status,
                  StatusCode::npz_layout);
    check_refused(read("{'descr': '<f4', 'fortran_order': True, 'shape': (3,), }\n", 12).status,
                  StatusCode::npz_layout);
    check_refused(read("", 12).status, StatusCode::npz_layout);
    check_refused(read("{'descr': '<f4', 'fortran_order': False, 'shape': (3", 12).status, StatusCode::npz_layout);
    CHECK(!read("{'descr': '<f4', 'fortran_order': False, 'shape': (3,", 12).status.ok());
  });
}

TEST_CASE("all arrays of a type but those that are named are read, in the directory's order") {
  using Arrays = std::vector<std::pair<std::string, std::vector<uint32_t>>>;
  const auto read = [](const Bytes& archive, Status& status) {
    static GuardedBytes guarded;
    constexpr std::string_view except[] = {"com", "count"};
    std::vector<stemline::NamedNpyView> views;
    status = stemline::read_npz_arrays(guarded.place(archive), except, "<u4", 4, stemline::scalar_backend, views);
    Arrays arrays;
    for (const stemline::NamedNpyView& view : views) {
      std::vector<uint32_t> values(view.shape.empty() ? 1 : view.shape[0]);
      std::memcpy(values.data(), view.data, 4 * values.size());
      arrays.emplace_back(view.name, values);
    }
    return arrays;
  };
  const auto npy = [](std::vector<uint32_t> values) {
    return reference::write_npy(reference::npy_array("<u4", {values.size()}, values));
  };
  const Bytes floats = reference::write_npy(reference::npy_array("<f4", {1}, std::vector<float>{1}));
  const Bytes archive = reference::write_zip({{"b.npy", npy({1, 2})}, {"com.npy", floats}, {"a", npy({3})}, {"x.npy.npy", npy({})}, {"count", {}}});
  Status status;
  CHECK(read(archive, status) == Arrays{{"b", {1, 2}}, {"a", {3}}, {"x.npy", {}}});
  check_ok(status);
  CHECK(read(reference::write_zip({}), status).empty());
  check_ok(status);

  read(reference::write_zip({{"b.npy", npy({1})}, {"a.npy", floats}}), status);
  check_refused(status, StatusCode::npz_layout);
  read(reference::write_zip({{"b.npy", npy({1})}, {"b", npy({1})}}), status);
  check_refused(status, StatusCode::npz_invalid, {"two arrays \"b\""});
  std::vector<std::pair<std::string, Bytes>> many;
  for (size_t i = 0; i < stemline::max_npz_arrays; ++i) many.emplace_back("a" + std::to_string(i), npy({1}));
  CHECK(read(reference::write_zip(many), status).size() == stemline::max_npz_arrays);
  check_ok(status);
  many.emplace_back("com", floats);
  read(reference::write_zip(many), status);
  check_refused(status, StatusCode::npz_invalid, {"65 arrays", "at most 64"});

  // Cut anywhere, with other bytes behind it, or changed: refused, or left to the general reader.
  for (size_t size = 0; size < archive.size(); ++size) {
    read({archive.begin(), archive.begin() + static_cast<std::ptrdiff_t>(size)}, status);
    CHECK(!status.ok());
  }
  Bytes longer = archive;
  longer.push_back(0);
  read(longer, status);
  check_refused(status, StatusCode::npz_layout);
  for_random_cases("changed directories", 2000, [&](Random& random) {
    Bytes changed = archive;
    for (int64_t changes = random.between(1, 4); changes > 0; --changes) {
      const size_t from = archive.size() - 22 - 5 * 46;
      changed[from + random.below(archive.size() - from)] = static_cast<uint8_t>(random.bits());
    }
    read(changed, status);
    if (!status.ok()) CHECK((status.code == StatusCode::npz_invalid || status.code == StatusCode::npz_layout));
  });
}
