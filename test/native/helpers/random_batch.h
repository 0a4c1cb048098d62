// Random batches, options and spellings of headers, from well-behaved to odd.
#pragma once

#include <algorithm>
#include <cmath>

#include "../reference/batch.h"
#include "../reference/center_of_mass.h"
#include "../reference/json.h"
#include "random.h"

namespace helpers {

using reference::Int;

struct BatchKnobs {
  std::vector<std::string> dtypes{"uint8", "uint16", "uint32", "int32", "float32", "float64"};
  int64_t max_scan_side = 9;
  int64_t max_frames_per_position = 3;
  int64_t max_events = 90;
  double long_frame = 0.01;        // a frame with 30 times as many events
  double missing = 0.1;            // a position without frames
  double empty = 0.1;              // a frame without events
  double outside_scan = 0;         // a frame whose position lies outside the scan
  double bad_event = 0;            // a frame with an event that is no pixel
  bool small_frames_only = false;  // at most 64 x 64 pixels
};

struct FrameShape {
  int64_t rows, columns;
};

inline FrameShape random_frame_shape(Random& random, bool small_only) {
  if (small_only || random.chance(0.4)) return {random.between(1, 64), random.between(1, 64)};
  return random.pick<FrameShape>({{576, 576},     {128, 128},   {256, 256},   {512, 512},   {1, 577},     {577, 1},
                                  {576, 288},     {288, 576},   {1, 65535},   {65535, 1},   {2, 65535},   {127, 65535},
                                  {65535, 3},     {2896, 2896}, {2897, 2896}, {4096, 2048}, {2048, 4096}, {4096, 2049},
                                  {65535, 65535}, {1, 1},       {1, 2}});
}

// Events near `row`, `column` or anywhere; often on the borders of rows.
inline double random_event(Random& random, const FrameShape& shape, double row, double column, double spread) {
  const int64_t pixels = shape.rows * shape.columns;
  if (random.chance(0.1)) {
    const int64_t border = random.between(0, shape.rows) * shape.columns + random.between(-1, 1);
    return static_cast<double>(std::clamp<int64_t>(border, 0, pixels - 1));
  }
  const auto near = [&](double center, int64_t side) {
    const double offset = (random.unit() + random.unit() - 1) * spread;
    return std::clamp<int64_t>(static_cast<int64_t>(center + offset), 0, side - 1);
  };
  return static_cast<double>(near(row, shape.rows) * shape.columns + near(column, shape.columns));
}

// The nearest event that the dtype can hold.
inline double event_of_dtype(double event, const std::string& dtype, double pixels) {
  if (dtype == "uint8") return std::fmod(event, 256);
  if (dtype == "uint16") return std::fmod(event, 65536);
  if (dtype == "int32") return std::fmod(event, 2147483648.0);
  if (dtype == "float32") {
    const double rounded = static_cast<double>(static_cast<float>(event));
    return rounded < pixels ? rounded : 0;
  }
  return event;
}

inline double random_bad_event(Random& random, const std::string& dtype, double pixels) {
  if (dtype == "uint8") return pixels + static_cast<double>(random.below(static_cast<uint64_t>(256 - pixels)));
  if (dtype == "uint16") return pixels + static_cast<double>(random.below(static_cast<uint64_t>(65536 - pixels)));
  if (dtype == "uint32")
    return random.pick<double>(
        {pixels, pixels + 1, 4294967295.0, std::max(pixels, 2147483648.0), std::max(pixels, 16777217.0)});
  if (dtype == "int32") {
    if (pixels <= 2147483647.0 && random.chance(0.5))
      return std::max(pixels, random.pick<double>({0, 16777216.0, 2147483647.0}));
    return -1;
  }
  return random.pick<double>({-1, -0.5, 0.5, 1e30, -1e30, 4294967296.0, 8589934593.0, HUGE_VAL, -HUGE_VAL, NAN});
}

inline reference::Batch random_batch(Random& random, const BatchKnobs& knobs = {}) {
  reference::Batch batch;
  batch.dtype = random.pick(knobs.dtypes);
  batch.scan_number =
      random.pick<Int>({1, 0, -7, 127, 128, 4242, 70000, Int{1} << 40, (Int{1} << 64) - 1, -(Int{1} << 63)});
  batch.frame_scan_number = random.chance(0.8) ? batch.scan_number : random.pick<Int>({5, -5, Int{1} << 33});
  batch.scan_rows = random.between(1, knobs.max_scan_side);
  batch.scan_columns = random.between(1, knobs.max_scan_side);
  FrameShape shape = random_frame_shape(random, knobs.small_frames_only);
  const bool wants_bad_events = knobs.bad_event > 0;
  // Small types cannot hold an index outside a large frame.
  if (wants_bad_events && batch.dtype == "uint8") shape = {random.between(1, 15), random.between(1, 17)};
  if (wants_bad_events && batch.dtype == "uint16") shape = {random.between(1, 255), random.between(1, 257)};
  batch.frame_rows = shape.rows;
  batch.frame_columns = shape.columns;
  const double pixels = static_cast<double>(shape.rows) * static_cast<double>(shape.columns);
  batch.total_batches = random.chance(0.5) ? std::optional<Int>(random.between(-3, 1000)) : std::nullopt;
  batch.total_frames = random.chance(0.5) ? std::optional<Int>(Int{1} << random.between(0, 63)) : std::nullopt;
  batch.current_batch_index = random.chance(0.5) ? std::optional<Int>(random.between(0, 300)) : std::nullopt;
  const bool numbered = random.chance(0.5), mixed_numbers = random.chance(0.2), mixed_modules = random.chance(0.3);
  const std::vector<Int> modules =
      random.pick<std::vector<Int>>({{0, 1, 2, 3}, {}, {2}, {0, 1, 2, 300}, {-1, Int{1} << 60}});
  Int number = random.pick<Int>({0, 100, 65530, 4294967290, (Int{1} << 63) - 3});

  const double center_row = random.unit() * static_cast<double>(shape.rows);
  const double center_column = random.unit() * static_cast<double>(shape.columns);
  const double spread = random.pick<double>({1, 5, 40, 400, 100000});
  for (Int row = 0; row < batch.scan_rows; ++row) {
    for (Int column = 0; column < batch.scan_columns; ++column) {
      if (random.chance(knobs.missing)) continue;
      const int64_t frames = random.between(1, knobs.max_frames_per_position);
      for (int64_t i = 0; i < frames; ++i) {
        reference::Frame frame;
        frame.row = row;
        frame.column = column;
        frame.modules = mixed_modules && random.chance(0.3) ? std::vector<Int>{random.between(0, 3)} : modules;
        if (mixed_numbers ? random.chance(0.5) : numbered) frame.frame_number = number++;
        if (mixed_numbers && number <= Int{1} << 63 && random.chance(0.1)) frame.frame_number = -number;
        int64_t events = random.chance(knobs.empty) ? 0 : random.between(0, knobs.max_events);
        if (random.chance(knobs.long_frame)) events *= 30;
        for (int64_t e = 0; e < events; ++e) {
          frame.events.push_back(
              event_of_dtype(random_event(random, shape, center_row, center_column, spread), batch.dtype, pixels));
        }
        if (random.chance(knobs.outside_scan)) {
          Int& axis = random.chance(0.5) ? frame.row : frame.column;
          const Int side = &axis == &frame.row ? batch.scan_rows : batch.scan_columns;
          axis = random.pick<Int>(
              {side, side + 1, -1, -128, 4294967295, Int{1} << 32, (Int{1} << 32) + 1, (Int{1} << 64) - 1});
        }
        if (!frame.events.empty() && random.chance(knobs.bad_event)) {
          frame.events[random.below(frame.events.size())] = random_bad_event(random, batch.dtype, pixels);
        }
        batch.frames.push_back(std::move(frame));
      }
    }
  }
  if (batch.frames.empty()) batch.frames.push_back({});
  if (random.chance(0.5)) random.shuffle(batch.frames);
  return batch;
}

inline reference::ComOptions random_com_options(Random& random, const reference::Batch& batch) {
  reference::ComOptions options;
  const auto number = [&](double scale) {
    const double value = random.unit() * scale;
    return random.pick<double>(
        {std::floor(value), std::floor(value) + 0.5, value, static_cast<double>(static_cast<float>(value))});
  };
  const double rows = static_cast<double>(batch.frame_rows), columns = static_cast<double>(batch.frame_columns);
  if (random.chance(0.75)) {
    options.crop_to =
        reference::Crop{number(random.pick<double>({3, 20, rows})), number(random.pick<double>({3, 20, columns}))};
    if (random.chance(0.05))
      options.crop_to =
          reference::Crop{random.pick<double>({-1, 0, 1e30, 255}), random.pick<double>({-1, 0, 1e-30, 255})};
  }
  if (random.chance(0.5)) {
    options.init_center = reference::Crop{number(rows), number(columns)};
    if (random.chance(0.05)) options.init_center = reference::Crop{-3, 1e20};
  }
  options.disk = random.chance(0.5);
  options.replace_nans = random.chance(0.3);
  return options;
}

// How a header is spelt. The canonical one is what the peer writes.
struct SpellingKnobs {
  size_t layouts = 1;        // different spellings of frames, chosen at random for each frame
  double shuffled_keys = 0;  // chance of each layout
  double unknown_keys = 0;
  double repeated_keys = 0;  // the first of the two is wrong
  double wide_numbers = 0;
  double absent_optionals = 0;  // leave out what is null or has its default
};

inline reference::Value random_unknown(Random& random, int depth = 0) {
  using reference::Value;
  switch (random.below(depth > 3 ? 6 : 8)) {
    case 0: return Value::nil();
    case 1: return Value::of_bool(random.chance(0.5));
    case 2: return Value::of(random.between(-300, 70000));
    case 3: return Value::of_real(random.unit());
    case 4: return Value::of_text(std::string(random.below(40), 'x'));
    case 5: return Value::of_text("dtype");
    case 6: {
      Value array = Value::of_array({});
      for (uint64_t i = random.below(4); i > 0; --i) array.items.push_back(random_unknown(random, depth + 1));
      return array;
    }
    default: {
      Value map = Value::of_map({});
      for (uint64_t i = random.below(4); i > 0; --i)
        map.add(random.pick<std::string>({"a", "dtype", "headers"}), random_unknown(random, depth + 1));
      return map;
    }
  }
}

// One way to spell a map: drawn once, applied to many.
struct MapSpelling {
  std::vector<size_t> order;
  std::vector<std::pair<size_t, reference::Value>> unknown;  // before which member
  std::vector<size_t> repeated;
  bool wide = false;
  bool wide_signed = false;
  unsigned width = 0;
  bool absent_optionals = false;

  static MapSpelling draw(Random& random, const SpellingKnobs& knobs, size_t members) {
    MapSpelling spelling;
    for (size_t i = 0; i < members; ++i) spelling.order.push_back(i);
    if (random.chance(knobs.shuffled_keys)) random.shuffle(spelling.order);
    if (random.chance(knobs.unknown_keys)) {
      for (uint64_t i = random.between(1, 3); i > 0; --i)
        spelling.unknown.emplace_back(random.below(members), random_unknown(random));
    }
    if (random.chance(knobs.repeated_keys)) {
      for (uint64_t i = random.between(1, 2); i > 0; --i) spelling.repeated.push_back(random.below(members));
    }
    spelling.wide = random.chance(knobs.wide_numbers);
    spelling.wide_signed = random.chance(0.5);
    spelling.width = random.pick<unsigned>({1, 2, 4, 8});
    spelling.absent_optionals = random.chance(knobs.absent_optionals);
    return spelling;
  }

  reference::Value apply(const reference::Value& map) const {
    using reference::Value;
    Value spelt = Value::of_map({});
    const auto put = [&](const Value& key, Value value) {
      if (wide) widen(value);
      spelt.items.push_back(key);
      if (wide) spelt.items.back().width = std::min(width, 4u);
      spelt.items.push_back(std::move(value));
    };
    // A wrong value first: only the last of a repeated key counts.
    for (const size_t member : repeated) put(map.items[2 * member], wrong(map.items[2 * member + 1]));
    for (size_t i = 0; i < order.size(); ++i) {
      for (const auto& [before, value] : unknown) {
        if (before == i) spelt.add("unknown_" + std::to_string(i), value);
      }
      const Value& key = map.items[2 * order[i]];
      const Value& value = map.items[2 * order[i] + 1];
      const bool optional = value.kind == Value::Kind::nil || (key.text == "dtype" && value.text == "uint32");
      if (!(absent_optionals && optional && repeated.empty())) put(key, value);
    }
    return spelt;
  }

 private:
  void widen(reference::Value& value) const {
    value.width = value.kind == reference::Value::Kind::integer ? width : width == 8 ? 4 : width == 1 ? 2 : width;
    value.as_signed = wide_signed;
    if (value.kind == reference::Value::Kind::string) value.width = std::min(width, 4u);
    for (reference::Value& item : value.items) widen(item);
  }

  // Another value of the same type, where any is harmless.
  static reference::Value wrong(reference::Value value) {
    if (value.kind == reference::Value::Kind::integer) value.integer = value.integer == 3 ? 4 : 3;
    if (value.kind == reference::Value::Kind::nil) value = reference::Value::of(9);
    if (value.kind == reference::Value::Kind::string) value.text = value.text == "uint8" ? "float64" : "uint8";
    if (value.kind == reference::Value::Kind::array && value.items.size() == 2) value.items[0].integer = 9;
    return value;
  }
};

// The same header, spelt otherwise.
inline reference::Value respelt(Random& random, const reference::Value& batch, const SpellingKnobs& knobs) {
  std::vector<MapSpelling> layouts;
  for (size_t i = 0; i < knobs.layouts; ++i) layouts.push_back(MapSpelling::draw(random, knobs, 10));
  reference::Value copy = batch;
  reference::Value& headers = copy.at("headers");
  for (reference::Value& frame : headers.items) frame = layouts[random.below(layouts.size())].apply(frame);
  MapSpelling top = MapSpelling::draw(random, knobs, 6);
  top.wide = false;
  return top.apply(copy);
}

inline SpellingKnobs random_spelling(Random& random) {
  SpellingKnobs knobs;
  if (random.chance(0.4)) return knobs;
  knobs.layouts = random.pick<size_t>({1, 1, 2, 3, 7});
  knobs.shuffled_keys = 0.5;
  knobs.unknown_keys = 0.3;
  knobs.repeated_keys = 0.2;
  knobs.wide_numbers = 0.3;
  knobs.absent_optionals = 0.3;
  return knobs;
}

// White space and escapes wherever JSON allows them.
inline reference::JsonStyle random_json_style(Random& random, double space, double escape) {
  reference::JsonStyle style;
  if (space > 0) {
    style.space = [&random, space] {
      std::string text;
      while (random.chance(space)) text += random.pick<char>({' ', '\n', '\r', '\t'});
      return text;
    };
  }
  if (escape > 0) {
    style.quote = [&random, escape](const std::string& text) {
      static const char* const digits[] = {"0123456789abcdef", "0123456789ABCDEF"};
      std::string quoted = "\"";
      for (const char c : text) {
        if (random.chance(escape)) {
          const char* hex = digits[random.below(2)];
          quoted += std::string("\\u00") + hex[static_cast<uint8_t>(c) >> 4] + hex[c & 15];
        } else {
          quoted += c;
        }
      }
      return quoted + "\"";
    };
  }
  return style;
}

}  // namespace helpers
