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
  const Message& message = *partial->message;
  return {{static_cast<double>(message.counts.size()), static_cast<double>(message.events.size()),
           static_cast<double>(message.meta.size() + partial->data.size())},
          [=] { partial->run(); }, [=] { return partial->check(); }};
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
