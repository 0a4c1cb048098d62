#include "../core/scan_analysis.h"

#include "batch_call.h"
#include "convert.h"
#include "error.h"
#include "exports.h"
#include "job.h"

namespace stemline {

namespace {

// Numbers and masks are checked where they are used, in VirtualDetectors.
VirtualDetector detector_argument(Napi::Value value) {
  const Napi::Object object = object_argument(value, "detector");
  const auto number = [&](const char* name) {
    const std::optional<double> member = number_member(object, name);
    if (!member) throw invalid_argument(value.Env(), std::string(name) + ": expected a number, got undefined");
    return *member;
  };
  VirtualDetector detector;
  detector.name = string_member(object, "name").value_or("");
  const std::optional<int64_t> rows = integer_member(object, "rows", 0, UINT32_MAX);
  const std::optional<int64_t> columns = integer_member(object, "columns", 0, UINT32_MAX);
  if (rows && columns) {
    // The last member that is read: reading others may run JavaScript, which could detach the array.
    const SharedBytes mask = bytes_argument(object.Get("mask"), "mask");
    detector.region = PixelMask{static_cast<uint32_t>(*rows), static_cast<uint32_t>(*columns), {mask.bytes.begin(), mask.bytes.end()}};
    return detector;
  }
  Annulus annulus{std::nullopt, number("innerRadius"), number("outerRadius")};
  const std::optional<double> row = number_member(object, "centerRow"), column = number_member(object, "centerColumn");
  if (row && column) annulus.center = Annulus::Center{*row, *column};
  detector.region = annulus;
  return detector;
}

class AnalysisJob : public Job {
 public:
  AnalysisJob(std::shared_ptr<VirtualDetectors> detectors, SharedBytes meta, SharedBytes data, const BatchOptions& options, Device device)
      : detectors_(std::move(detectors)), meta_(std::move(meta)), data_(std::move(data)), options_(options), device_(device) {}

 protected:
  Status execute() override {
    if (Status status = find_accelerator(device_, options_); !status.ok()) return status;
    options_.cancelled = cancelled();
    return scan_analysis(meta_.bytes, data_.bytes, options_, *detectors_, buffer_pool(), result_);
  }

  napi_value result(napi_env env) override {
    return batch_result(env, std::move(result_.meta), std::move(result_.data), result_);
  }

 private:
  std::shared_ptr<VirtualDetectors> detectors_;
  SharedBytes meta_;
  SharedBytes data_;
  BatchOptions options_;
  Device device_;
  ScanAnalysisResult result_;
};

class JsScanAnalyzer : public Napi::ObjectWrap<JsScanAnalyzer> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "ScanAnalyzer", {InstanceMethod<&JsScanAnalyzer::analyze>("analyze")});
  }

  explicit JsScanAnalyzer(const Napi::CallbackInfo& info) : Napi::ObjectWrap<JsScanAnalyzer>(info) {
    if (!info[0].IsArray()) throw invalid_argument(info.Env(), "detectors: expected an array");
    const Napi::Array array = info[0].As<Napi::Array>();
    std::vector<VirtualDetector> detectors;
    // One more than allowed is enough to be refused.
    for (uint32_t d = 0; d < array.Length() && d <= max_detectors; ++d) detectors.push_back(detector_argument(array.Get(d)));
    const Status status = VirtualDetectors::create(std::move(detectors), analysis_array_names, detectors_);
    if (!status.ok()) throw invalid_argument(info.Env(), status.message);
  }

 private:
  Napi::Value analyze(const Napi::CallbackInfo& info) {
    const Napi::Object object = object_argument(info[2], "options");
    BatchOptions options;
    Device device = Device::any;
    read_batch_options(object, options, device);
    const uint32_t number = job_number_member(object);
    SharedBytes meta = bytes_argument(info[0], "meta");
    SharedBytes data = bytes_argument(info[1], "data");
    return Job::start(std::make_unique<AnalysisJob>(detectors_, std::move(meta), std::move(data), options, device), info.Env(),
                      {info[0], info[1]}, number);
  }

  std::shared_ptr<VirtualDetectors> detectors_;
};

}  // namespace

Napi::Function define_scan_analyzer(Napi::Env env) { return JsScanAnalyzer::define(env); }

}  // namespace stemline
