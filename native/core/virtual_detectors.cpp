#include "virtual_detectors.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>

namespace stemline {

namespace {

Status refuse(const std::string& name, const std::string& text) {
  return Status::error(StatusCode::invalid_argument, "detector \"" + name + "\": " + text);
}

bool is_name(const std::string& name) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  return !name.empty() && name.size() <= 64 && letter(name[0]) && std::all_of(name.begin(), name.end(), [&](char c) {
    return letter(c) || (c >= '0' && c <= '9') || c == '_';
  });
}

Status check(const std::string& name, const Annulus& annulus) {
  const auto text = [](double value) {
    char digits[32];
    std::snprintf(digits, sizeof digits, "%.10g", value);
    return std::string(digits);
  };
  if (annulus.center && !(std::isfinite(annulus.center->row) && std::isfinite(annulus.center->column))) {
    return refuse(name, "center: expected two finite numbers");
  }
  if (!(std::isfinite(annulus.inner_radius) && annulus.inner_radius >= 0)) {
    return refuse(name, "innerRadius: expected 0 or more pixels, got " + text(annulus.inner_radius));
  }
  if (!(std::isfinite(annulus.outer_radius) && annulus.outer_radius > annulus.inner_radius)) {
    return refuse(name, "outerRadius: expected more than innerRadius, which is " + text(annulus.inner_radius) + ", got " +
                            text(annulus.outer_radius));
  }
  return {};
}

Status check(const std::string& name, const PixelMask& mask) {
  const uint64_t pixels = uint64_t{mask.rows} * mask.columns;
  if (pixels == 0 || pixels > max_counted_pixels || mask.pixels.size() != pixels) {
    return refuse(name, "mask: expected " + std::to_string(mask.rows) + " x " + std::to_string(mask.columns) + " pixels, 1 to " +
                            std::to_string(max_counted_pixels) + ", got " + std::to_string(mask.pixels.size()));
  }
  return {};
}

void add_bits(const Annulus& annulus, uint32_t bit, DetectorMasks& masks) {
  const Annulus::Center center =
      annulus.center.value_or(Annulus::Center{(masks.rows - 1.0) / 2, (masks.columns - 1.0) / 2});
  const double inner = annulus.inner_radius * annulus.inner_radius, outer = annulus.outer_radius * annulus.outer_radius;
  for (uint32_t row = 0; row < masks.rows; ++row) {
    const double row_distance = row - center.row;
    uint32_t* const bits = masks.bits.data() + size_t{row} * masks.columns;
    for (uint32_t column = 0; column < masks.columns; ++column) {
      const double column_distance = column - center.column;
      const double squared = row_distance * row_distance + column_distance * column_distance;
      if (squared >= inner && squared < outer) bits[column] |= bit;
    }
  }
}

void add_bits(const PixelMask& mask, uint32_t bit, DetectorMasks& masks) {
  for (size_t pixel = 0; pixel < mask.pixels.size(); ++pixel) masks.bits[pixel] |= mask.pixels[pixel] != 0 ? bit : 0;
}

std::string shape_text(uint32_t rows, uint32_t columns) { return std::to_string(rows) + " x " + std::to_string(columns); }

}  // namespace

Status VirtualDetectors::create(std::vector<VirtualDetector> detectors, std::span<const std::string_view> reserved,
                                std::shared_ptr<VirtualDetectors>& created) {
  if (detectors.size() > max_detectors) {
    return Status::error(StatusCode::invalid_argument, "detectors: expected at most " + std::to_string(max_detectors) + ", got " +
                                                           std::to_string(detectors.size()));
  }
  for (size_t d = 0; d < detectors.size(); ++d) {
    const std::string& name = detectors[d].name;
    if (!is_name(name)) return refuse(name, "expected a name of 1 to 64 letters, digits and underscores that begins with a letter");
    if (std::find(reserved.begin(), reserved.end(), name) != reserved.end()) return refuse(name, "another array has this name");
    for (size_t other = 0; other < d; ++other) {
      if (detectors[other].name == name) return refuse(name, "expected different names");
    }
    if (Status status = std::visit([&](const auto& region) { return check(name, region); }, detectors[d].region); !status.ok()) return status;
  }
  created.reset(new VirtualDetectors(std::move(detectors)));
  return {};
}

Status VirtualDetectors::masks(uint32_t rows, uint32_t columns, std::shared_ptr<const DetectorMasks>& masks) {
  static std::atomic<uint64_t> last_key{0};
  if (uint64_t{rows} * columns > max_counted_pixels) {
    return Status::error(StatusCode::too_large, "frames of " + shape_text(rows, columns) + " pixels: expected at most " +
                                                    std::to_string(max_counted_pixels) + " pixels, whose events are counted one by one");
  }
  for (const VirtualDetector& detector : detectors_) {
    const PixelMask* const mask = std::get_if<PixelMask>(&detector.region);
    if (mask != nullptr && (mask->rows != rows || mask->columns != columns)) {
      return Status::error(StatusCode::detector_shape, "detector \"" + detector.name + "\" has a mask of " +
                                                           shape_text(mask->rows, mask->columns) + " pixels, but frames have " +
                                                           shape_text(rows, columns));
    }
  }
  const std::lock_guard lock(mutex_);
  if (last_ == nullptr || last_->rows != rows || last_->columns != columns) {
    auto made = std::make_shared<DetectorMasks>();
    made->rows = rows;
    made->columns = columns;
    made->bits.resize(size_t{rows} * columns);
    for (size_t d = 0; d < detectors_.size(); ++d) {
      std::visit([&](const auto& region) { add_bits(region, uint32_t{1} << d, *made); }, detectors_[d].region);
    }
    made->key = ++last_key;
    last_ = std::move(made);
  }
  masks = last_;
  return {};
}

}  // namespace stemline
