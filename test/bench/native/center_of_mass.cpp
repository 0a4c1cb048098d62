// Kernels of each backend on the events of many frames, beside a naive loop and the stream read of the same bytes.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>

#include "backend.h"
#include "case.h"
#include "machine.h"
#include "message.h"

namespace bench {

namespace {

using stemline::Backend;
using stemline::CroppedSums;
using stemline::CropShape;
using stemline::CropWindow;
using stemline::EventRange;
using stemline::FrameSums;
using stemline::window_around_own;

using MessagePtr = std::shared_ptr<const Message>;

// As center_of_mass_partial calls the kernels.
constexpr size_t block_frames = 512;

constexpr float half_rows = crop_half_rows, half_columns = crop_half_columns;

// sqrt(s) <= radius in float32 holds up to the largest s whose root rounds to the radius; a whole radius is its own
// root.
float disk_limit() {
  float limit = half_rows * half_rows;
  for (float next = limit; std::sqrt(next) <= half_rows;
       next = std::nextafter(next, std::numeric_limits<float>::infinity()))
    limit = next;
  return limit;
}

// Frames of a message's events: its own, or of the same lengths in another order.
struct Frames {
  std::vector<uint32_t> counts;
  std::vector<EventRange> ranges;
};

// Messages are new each time, but a branch predictor learns the lengths of some ten thousand frames that come again and again.
// So a kernel gets them in other orders, until there are more frames than that, or sixteen orders.
constexpr size_t foreseeable_frames = 65536;
constexpr size_t most_orders = 16;

const std::vector<Frames>& orders_of(const MessagePtr& message) {
  static std::map<const Message*, std::vector<Frames>> all;
  std::vector<Frames>& orders = all[message.get()];
  if (!orders.empty()) return orders;
  Random random(message->plan.seed);
  std::vector<uint32_t> counts = message->counts;
  while (orders.size() * counts.size() < foreseeable_frames && orders.size() < most_orders) {
    Frames order{counts, {}};
    uint64_t begin = 0;
    for (const uint32_t count : counts) {
      order.ranges.push_back({begin, count});
      begin += count;
    }
    orders.push_back(std::move(order));
    for (size_t i = counts.size(); i > 1; --i) std::swap(counts[i - 1], counts[random.below(static_cast<uint32_t>(i))]);
  }
  return orders;
}

CropWindow window_around(float row, float column, float limit) {
  return {row - half_rows, row + half_rows, column - half_columns, column + half_columns, row, column, limit};
}

class Kernel {
 public:
  Kernel(const Backend& backend, MessagePtr message, Crop crop)
      : backend_(backend),
        message_(std::move(message)),
        orders_(orders_of(message_)),
        crop_(crop),
        fixed_window_(
            window_around(static_cast<float>(crop_row), static_cast<float>(crop_column), disk_limit())) {}

  void run() {
    const uint32_t largest = blocks(orders_[turn_++ % orders_.size()].ranges, [](size_t, size_t) {});
    keep(&largest);
  }

  std::string check(const Frames& order, const std::vector<NaiveSums>& expected) {
    std::vector<NaiveSums> got(order.ranges.size());
    const uint64_t side = message_->plan.frame_side;
    const uint32_t largest = blocks(order.ranges, [&](size_t first, size_t count) {
      for (size_t i = 0; i < count; ++i) {
        if (crop_ == Crop::none) {
          const FrameSums& sums = plain_[i];
          got[first + i] = {sums.row_sum, sums.index_sum - side * sums.row_sum, order.counts[first + i]};
        } else {
          got[first + i] = {cropped_[i].row_sum, cropped_[i].column_sum, cropped_[i].count};
        }
      }
    });
    if (largest != *std::max_element(message_->events.begin(), message_->events.end())) return "wrong largest event";
    for (size_t i = 0; i < got.size(); ++i) {
      if (got[i].rows != expected[i].rows || got[i].columns != expected[i].columns ||
          got[i].count != expected[i].count) {
        return "wrong sums of frame " + std::to_string(i);
      }
    }
    return "";
  }

 private:
  // Sums go to a block that stays in cache, as in the runtime; `store` sees each block.
  template <class Store>
  uint32_t blocks(const std::vector<EventRange>& ranges, Store store) {
    uint32_t largest = 0;
    for (size_t first = 0; first < ranges.size(); first += block_frames) {
      const size_t count = std::min(block_frames, ranges.size() - first);
      const EventRange* const frames = ranges.data() + first;
      largest = std::max(largest, crop_ == Crop::none      ? sum_plain(frames, count)
                                  : crop_ == Crop::own_box ? sum_around_own(frames, count)
                                                           : sum_cropped(frames, count));
      store(first, count);
    }
    return largest;
  }

  uint32_t sum_plain(const EventRange* frames, size_t count) {
    const uint32_t largest = backend_.sum_frames(message_->data(), frames, count, message_->plan.frame_side,
                                                 message_->pixels(), plain_);
    keep(plain_);
    return largest;
  }

  uint32_t sum_cropped(const EventRange* frames, size_t count) {
    const uint32_t largest =
        backend_.sum_in_window(message_->data(), frames, count, message_->plan.frame_side, message_->pixels(),
                               crop_ == Crop::disk ? CropShape::disk : CropShape::box, fixed_window_, cropped_);
    keep(cropped_);
    return largest;
  }

  uint32_t sum_around_own(const EventRange* frames, size_t count) {
    const uint32_t largest = sum_plain(frames, count);
    for (size_t i = 0; i < count; ++i) {
      const uint64_t rows = plain_[i].row_sum, columns = plain_[i].index_sum - message_->plan.frame_side * rows;
      own_windows_[i] = window_around_own({rows, columns, frames[i].count}, half_rows, half_columns, fixed_window_.limit);
    }
    backend_.sum_in_windows(message_->data(), frames, count, message_->plan.frame_side, message_->pixels(), CropShape::box,
                            own_windows_, cropped_);
    keep(cropped_);
    return largest;
  }

  const Backend& backend_;
  MessagePtr message_;
  const std::vector<Frames>& orders_;
  size_t turn_ = 0;
  Crop crop_;
  CropWindow fixed_window_;
  FrameSums plain_[block_frames];
  CroppedSums cropped_[block_frames];
  CropWindow own_windows_[block_frames];
};

Amount amount_of(const Message& message) {
  return {static_cast<double>(message.counts.size()), static_cast<double>(message.events.size()),
          static_cast<double>(message.data_bytes())};
}

// Of each order; every backend is checked against the same.
const std::vector<std::vector<NaiveSums>>& expected_sums(const MessagePtr& message, Crop crop) {
  static std::map<std::pair<const Message*, Crop>, std::vector<std::vector<NaiveSums>>> all;
  std::vector<std::vector<NaiveSums>>& sums = all[{message.get(), crop}];
  if (sums.empty()) {
    for (const Frames& order : orders_of(message)) naive_frame_sums(*message, order.counts, crop, sums.emplace_back());
  }
  return sums;
}

Case kernel_case(const Backend& backend, const MessagePtr& message, Crop crop) {
  const auto kernel = std::make_shared<Kernel>(backend, message, crop);
  return {amount_of(*message), [=] { kernel->run(); }, [=]() -> std::string {
            const auto& expected = expected_sums(message, crop);
            for (size_t i = 0; i < expected.size(); ++i) {
              if (const std::string wrong = kernel->check(orders_of(message)[i], expected[i]); !wrong.empty()) return wrong;
            }
            return "";
          }};
}

Case naive_case(const MessagePtr& message, Crop crop) {
  const auto sums = std::make_shared<std::vector<NaiveSums>>();
  const auto turn = std::make_shared<size_t>(0);
  const std::vector<Frames>& orders = orders_of(message);
  return {amount_of(*message),
          [=, &orders] {
            naive_frame_sums(*message, orders[(*turn)++ % orders.size()].counts, crop, *sums);
            keep(sums->data());
          },
          nullptr};
}

Case stream_case(const MessagePtr& message) {
  const size_t bytes = message->data_bytes() / 2048 * 2048;
  const auto sum = std::make_shared<uint64_t>(0);
  Amount amount = amount_of(*message);
  amount.bytes = static_cast<double>(bytes);
  return {amount,
          [=] {
            *sum = stream_read(message->data(), bytes);
            keep(sum.get());
          },
          [=] {
            uint64_t expected = 0;
            for (size_t i = 0; i < bytes; i += 8) {
              uint64_t word;
              std::memcpy(&word, message->data() + i, 8);
              expected += word;
            }
            return *sum == expected ? "" : "wrong sum";
          }};
}

// Every backend, the naive loop and the stream read over the events of one message; names are
// `prefix`/WHO/`suffix`.
void register_comparison(const std::string& prefix, const std::string& suffix, const MessagePlan& plan, Crop crop) {
  const auto name = [&](const std::string& who) { return prefix + "/" + who + "/" + suffix; };
  register_case(name("stream"), [=] { return stream_case(shared_message(plan)); });
  register_case(name("naive"), [=] { return naive_case(shared_message(plan), crop); });
  for (const Backend* backend : usable_backends())
    register_case(name(backend->name), [=] { return kernel_case(*backend, shared_message(plan), crop); });
}

}  // namespace

void register_center_of_mass() {
  for (const Crop crop : all_crops) {
    for (const Level level : {Level::l2, Level::l3, Level::dram}) {
      for (const uint32_t events : {10, 30, 100, 300}) {
        // Shorter frames are limited by instructions, not by memory.
        if (level == Level::dram && events < 100) continue;
        register_comparison("com/" + crop_name(crop), std::to_string(events) + "/" + level_name(level),
                            message_in(level, events), crop);
      }
    }
  }
  // Other shapes: about 4 MB of events in frames of every length, and frames of every width.
  for (const uint32_t events : {1, 2, 3, 5, 8, 15, 16, 17, 33, 64, 127, 256, 1000, 4096, 65536, 500000}) {
    MessagePlan plan = message_in(Level::l3, events);
    plan.frames = std::max(plan.frames, 2u);
    register_comparison("shape/events", std::to_string(events), plan, Crop::none);
  }
  for (const uint32_t side : {1, 2, 3, 16, 100, 255, 256, 257, 512, 1000, 1024, 2048, 3000, 4096}) {
    MessagePlan plan = message_in(Level::l3, 100);
    plan.frame_side = side;
    register_comparison("shape/width", std::to_string(side), plan, Crop::none);
  }
}

}  // namespace bench
