// Work of which the instructions are counted: `measured_call` alone, with warm buffers. See ../instructions/. Prints the
// compiler that it was built with.
//   valgrind --tool=callgrind --toggle-collect=measured_call stemline_instructions CASE BACKEND
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <utility>

#include "center_of_mass_partial.h"
#include "center_of_mass_reduce.h"
#include "message.h"

namespace {

using bench::Crop;
using bench::Message;
using bench::MessagePlan;
using stemline::Backend;
using stemline::ComPartialOptions;
using stemline::ComPartialResult;
using stemline::Status;

const auto pool = stemline::BufferPool::create(size_t{64} << 20);

// An instruction takes fifty times as long when it is counted: these are small messages.
MessagePlan plan_of(uint32_t frames, double events_per_frame) {
  return {.scan_rows = 64,
          .scan_columns = 64,
          .frames = frames,
          .events_per_frame = events_per_frame,
          .first_frame = 100,
          .seed = 47};
}

// Around each position's own centre: the kernels with and without crop.
Status partial(const Message& message, Crop crop, const Backend& backend, ComPartialResult& result) {
  result = ComPartialResult{};
  ComPartialOptions options;
  options.backend = &backend;
  if (crop == Crop::own_box) options.crop_to = {bench::crop_half_rows, bench::crop_half_columns};
  return center_of_mass_partial(message.meta, {message.data(), message.data_bytes()}, options, *pool, result);
}

std::function<Status()> partial_case(const MessagePlan& plan, Crop crop, const Backend& backend) {
  return [message = bench::shared_message(plan), result = std::make_shared<ComPartialResult>(), crop, &backend] {
    return partial(*message, crop, backend, *result);
  };
}

struct Reduction {
  ComPartialResult received;
  stemline::ComReduceOptions options;
  stemline::ComReducer reducer;
  std::vector<stemline::ComEmission> emissions;
};

std::function<Status()> reduce_case(const Backend& backend) {
  MessagePlan plan = plan_of(2048, 10);
  plan.frames_per_position = 2;
  auto reduction = std::make_shared<Reduction>();
  reduction->options.backend = &backend;
  reduction->options.emit_every = 0;
  if (!partial(bench::make_message(plan), Crop::none, backend, reduction->received).ok()) return {};
  return [reduction] {
    return reduction->reducer.add(reduction->received.meta.bytes(), reduction->received.data.bytes(),
                                  reduction->options, *pool, reduction->emissions);
  };
}

std::function<Status()> make(const std::string& name, const Backend& backend) {
  if (name == "partial/none/10") return partial_case(plan_of(2048, 10), Crop::none, backend);
  if (name == "partial/own-box/100") return partial_case(plan_of(512, 100), Crop::own_box, backend);
  if (name == "reduce/json") return reduce_case(backend);
  return {};
}

int fail(const std::string& message) {
  std::fprintf(stderr, "stemline_instructions: %s\n", message.c_str());
  return EXIT_FAILURE;
}

}  // namespace

extern "C" __attribute__((noinline, visibility("default"))) void measured_call(const std::function<Status()>& work,
                                                                              Status& status) {
  status = work();
}

int main(int argc, char** argv) {
  if (argc != 3) return fail("expected CASE BACKEND");
  std::string why;
  const Backend* const backend = stemline::find_backend(argv[2], why);
  if (backend == nullptr) return fail(why);
  const std::function<Status()> work = make(argv[1], *backend);
  if (!work) return fail(std::string("no such case: ") + argv[1]);
  Status status = work();
  if (status.ok()) measured_call(work, status);
  if (!status.ok()) return fail(status.message);
  std::puts(bench::compiler());
  return EXIT_SUCCESS;
}
