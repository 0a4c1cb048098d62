// Whole messages: bytes in, bytes out.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "case.h"
#include "center_of_mass_partial.h"
#include "center_of_mass_reduce.h"
#include "machine.h"
#include "message.h"
#include "scan_analysis.h"

namespace bench {

namespace {

using stemline::Backend;
using stemline::BufferPool;
using stemline::ComPartialOptions;
using stemline::ComPartialResult;
using stemline::ComReduceOptions;

ComPartialOptions partial_options(Crop crop, const Backend& backend) {
  ComPartialOptions options;
  if (crop != Crop::none) options.crop_to = {crop_half_rows, crop_half_columns};
  if (crop == Crop::box || crop == Crop::disk) options.init_center = {crop_row, crop_column};
  options.crop_shape = crop == Crop::disk ? stemline::CropShape::disk : stemline::CropShape::box;
  options.backend = &backend;
  return options;
}

bool same_bytes(const std::vector<uint8_t>& got, const void* expected, size_t size) {
  return got.size() == size && std::memcmp(got.data(), expected, size) == 0;
}

std::string check_com(std::span<const uint8_t> archive, const std::vector<float>& expected) {
  const std::vector<uint8_t> com = naive_npz_member(archive.data(), archive.size(), "com");
  return same_bytes(com, expected.data(), 4 * expected.size()) ? "" : "wrong com";
}

Amount amount_of(const Message& message) {
  return {static_cast<double>(message.counts.size()), static_cast<double>(message.events.size()),
          static_cast<double>(message.meta.size() + message.data_bytes())};
}

struct Partial {
  Partial(const MessagePlan& plan, Crop crop_shape, const Backend& backend)
      : message(shared_message(plan)),
        data(events_as(plan.dtype, *message)),
        crop(crop_shape),
        options(partial_options(crop, backend)) {}

  void run() {
    ComPartialResult next;
    status = center_of_mass_partial(message->meta, data, options, *pool, next);
    result = std::move(next);  // the reply before is given back now, as one that was sent meanwhile
  }

  std::string check() const {
    if (!status.ok()) return status.message;
    const std::string json = naive_json(*message);
    const std::span<const uint8_t> meta = result.meta.bytes(), archive = result.data.bytes();
    if (meta.size() != json.size() || std::memcmp(meta.data(), json.data(), json.size()) != 0) return "wrong JSON";
    const NaiveArrays expected = naive_center_of_mass(*message, crop);
    if (!same_bytes(naive_npz_member(archive.data(), archive.size(), "count"), expected.count.data(),
                    4 * expected.count.size()))
      return "wrong count";
    return check_com(archive, expected.com);
  }

  std::shared_ptr<const Message> message;
  std::vector<uint8_t> data;
  Crop crop;
  ComPartialOptions options;
  std::shared_ptr<BufferPool> pool = BufferPool::create(size_t{256} << 20);
  ComPartialResult result = {};
  stemline::Status status = {};
};

Case partial_case(const MessagePlan& plan, Crop crop, const Backend& backend) {
  const auto partial = std::make_shared<Partial>(plan, crop, backend);
  Amount amount = amount_of(*partial->message);
  amount.bytes = static_cast<double>(partial->message->meta.size() + partial->data.size());
  return {amount,
          [=] { partial->run(); }, [=] { return partial->check(); }};
}

struct Analysis {
  Analysis(const MessagePlan& plan, Crop crop_shape, uint32_t detector_count, const Backend& backend)
      : message(shared_message(plan)), crop(crop_shape), regions(rings(detector_count)), options(partial_options(crop, backend)) {
    std::vector<stemline::VirtualDetector> list;
    for (const Ring& ring : regions) {
      list.push_back({"ring_" + std::to_string(list.size()),
                      stemline::Annulus{stemline::Annulus::Center{crop_row, crop_column}, ring.inner, ring.outer}});
    }
    status = stemline::VirtualDetectors::create(std::move(list), stemline::analysis_array_names, detectors);
  }

  void run() {
    if (detectors == nullptr) return;
    stemline::ScanAnalysisResult next;
    status = scan_analysis(message->meta, {message->data(), message->data_bytes()}, options, *detectors, *pool, next);
    result = std::move(next);
  }

  std::string check() const {
    if (!status.ok()) return status.message;
    const std::span<const uint8_t> archive = result.data.bytes();
    const NaiveCounts counts = naive_counts(*message, regions);
    const auto is = [&](const std::string& name, const std::vector<uint32_t>& expected) {
      return same_bytes(naive_npz_member(archive.data(), archive.size(), name), expected.data(), 4 * expected.size());
    };
    if (!is("pattern", counts.pattern)) return "wrong pattern";
    for (size_t d = 0; d < regions.size(); ++d) {
      if (!is("ring_" + std::to_string(d), counts.detectors[d])) return "wrong counts of a detector";
    }
    return check_com(archive, naive_center_of_mass(*message, crop).com);
  }

  std::shared_ptr<const Message> message;
  Crop crop;
  std::vector<Ring> regions;
  stemline::BatchOptions options;
  std::shared_ptr<stemline::VirtualDetectors> detectors;
  std::shared_ptr<BufferPool> pool = BufferPool::create(size_t{256} << 20);
  stemline::ScanAnalysisResult result = {};
  stemline::Status status = {};
};

Case analysis_case(const MessagePlan& plan, Crop crop, uint32_t detectors, const Backend& backend) {
  const auto analysis = std::make_shared<Analysis>(plan, crop, detectors, backend);
  return {amount_of(*analysis->message), [=] { analysis->run(); }, [=] { return analysis->check(); }};
}

// The arithmetic alone: neither header is read or written.
Case naive_analysis_case(const MessagePlan& plan, Crop crop, uint32_t detectors) {
  const auto message = shared_message(plan);
  return {amount_of(*message),
          [=] {
            const NaiveArrays arrays = naive_center_of_mass(*message, crop);
            const NaiveCounts counts = naive_counts(*message, rings(detectors));
            keep(arrays.com.data());
            keep(counts.pattern.data());
          },
          {}};
}

// Partial results of a scan, whose messages follow each other.
struct Reduction {
  Reduction(const std::vector<MessagePlan>& plans, const Backend& backend)
      : positions(size_t{plans[0].scan_rows} * plans[0].scan_columns),
        partials(plans.size()),
        expected(2 * positions, std::numeric_limits<float>::quiet_NaN()) {
    options.emit_every = 50;
    options.replace_nans = false;
    options.backend = &backend;
    for (size_t i = 0; i < plans.size(); ++i) {
      const auto message = shared_message(plans[i]);
      const stemline::Status made =
          center_of_mass_partial(message->meta, {message->data(), message->data_bytes()},
                                 partial_options(Crop::none, backend), *pool, partials[i]);
      if (!made.ok()) {
        std::fprintf(stderr, "%s\n", made.message.c_str());
        std::_Exit(EXIT_FAILURE);
      }
      // Every position has all of its frames in one message, so the scan's means are those of the messages.
      const NaiveArrays part = naive_center_of_mass(*message, Crop::none);
      for (const uint32_t position : message->positions) {
        expected[position] = part.com[position];
        expected[positions + position] = part.com[positions + position];
      }
      amount.frames += static_cast<double>(message->counts.size());
      amount.events += static_cast<double>(message->events.size());
      amount.bytes += static_cast<double>(partials[i].meta.size() + partials[i].data.size());
    }
  }

  void add_all() {
    emissions.clear();
    for (const ComPartialResult& partial : partials) {
      status = reducer.add(partial.meta.bytes(), partial.data.bytes(), options, *pool, emissions);
      if (!status.ok()) return;
    }
  }

  // `emissions` has one, of what was added.
  std::string check_emission() const {
    if (!status.ok()) return status.message;
    if (emissions.size() != 1) return "expected one emission";
    return check_com(emissions[0].data.bytes(), expected);
  }

  size_t positions;
  std::vector<ComPartialResult> partials;
  std::vector<float> expected;
  ComReduceOptions options;
  Amount amount;
  std::shared_ptr<BufferPool> pool = BufferPool::create(size_t{256} << 20);
  stemline::ComReducer reducer;
  std::vector<stemline::ComEmission> emissions;
  stemline::Status status;
};

// A message that arrives in the middle of a scan, with its share of the emission after every fifty.
Case one_message_case(const Backend& backend) {
  const auto reduction = std::make_shared<Reduction>(std::vector{paired_message(10, 512)}, backend);
  return {reduction->amount, [=] { reduction->add_all(); },
          [=] {
            reduction->reducer.flush(reduction->options, *reduction->pool, reduction->emissions);
            return reduction->check_emission();
          }};
}

// All messages of a scan, its emission and its new state included.
Case whole_scan_case(const Backend& backend) {
  std::vector<MessagePlan> plans;
  for (uint32_t i = 0; i < 8; ++i) plans.push_back(scan_message(10, 512, i));
  const auto reduction = std::make_shared<Reduction>(plans, backend);
  reduction->options.emit_every = 0;
  return {reduction->amount, [=] { reduction->add_all(); }, [=] { return reduction->check_emission(); }};
}

}  // namespace

void register_operators() {
  const Backend* const best = usable_backends().front();
  for (const uint32_t events : {10, 30, 100, 300}) {
    for (const uint32_t side : {128u, 512u}) {
      const std::string axes = std::to_string(events) + "/" + std::to_string(side);
      for (const Crop crop : all_crops) {
        if (side == 128 && crop != Crop::none) continue;
        for (const Backend* backend : usable_backends()) {
          register_case("partial/" + crop_name(crop) + "/" + backend->name + "/" + axes,
                        [=] { return partial_case(real_message(events, side), crop, *backend); });
        }
      }
      register_case(std::string("small/none/") + best->name + "/" + axes,
                    [=] { return partial_case(small_message(events, side), Crop::none, *best); });
    }
    for (const auto& [crop, detectors] : {std::pair{Crop::none, 2u}, std::pair{Crop::own_box, 8u}}) {
      const MessagePlan plan = real_message(events, 512);
      const std::string variant = "analysis/" + crop_name(crop) + "-" + std::to_string(detectors) + "/";
      const std::string axes = "/" + std::to_string(events) + "/512";
      for (const Backend* backend : usable_backends()) {
        register_case(variant + backend->name + axes, [=] { return analysis_case(plan, crop, detectors, *backend); });
      }
      register_case(variant + "naive" + axes, [=] { return naive_analysis_case(plan, crop, detectors); });
    }
    register_case(std::string("partial/none/") + best->name + "/" + std::to_string(events) + "/512",
                  [=] { return partial_case(real_message(events, 512), Crop::none, *best); }, 2);
  }

  for (const uint32_t side : {32u, 64u, 128u, 256u, 512u, 1024u, 2048u}) {
    register_case(std::string("shape/scan/") + best->name + "/" + std::to_string(side),
                  [=] { return partial_case(real_message(10, side), Crop::none, *best); });
  }
  for (const char* dtype : {"uint8", "uint16", "uint32", "int32", "float32", "float64"}) {
    MessagePlan plan = real_message(100, 512);
    plan.dtype = dtype;
    // Every index of the frame has to fit into the type.
    if (plan.dtype == "uint8") plan.frame_side = 16;
    if (plan.dtype == "uint16") plan.frame_side = 256;
    register_case(std::string("shape/dtype/") + best->name + "/" + dtype,
                  [=] { return partial_case(plan, Crop::none, *best); });
  }

  for (const Backend* backend : usable_backends()) {
    register_case(std::string("reduce/json/") + backend->name + "/32768", [=] { return one_message_case(*backend); });
    register_case(std::string("reduce/scan/") + backend->name + "/512", [=] { return whole_scan_case(*backend); });
  }
}

}  // namespace bench
