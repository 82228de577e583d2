#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

// Numbers for a monitoring system, in the text format of Prometheus (exposition format 0.0.4). The
// names are listed in docs/reference/metrics.md. Everything here is safe to call from any thread,
// and nothing here waits for a reader.
namespace pontage::obs {

// A number that only grows. Token amounts are counted in atomic units. Stops at 2^64 - 1 instead of
// starting again at zero.
class Counter {
 public:
  void Add(uint64_t n = 1);
  uint64_t value() const;

 private:
  // One cache line for each of a few groups of threads: the loops of a small machine do not write
  // to each other's lines.
  static constexpr size_t kShards = 4;
  struct alignas(64) Shard {
    std::atomic<uint64_t> n = 0;
  };
  std::array<Shard, kShards> shards_;
};

// A number that goes up and down.
class Gauge {
 public:
  void Set(int64_t v) { value_.store(v, std::memory_order_relaxed); }
  void Add(int64_t d) { value_.fetch_add(d, std::memory_order_relaxed); }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_ = 0;
};

// How long things took. Names end in "_seconds"; the seconds are printed as exact decimal text.
class Histogram {
 public:
  // Upper bounds in microseconds: from a check in memory (100 us) to the longest wait for a
  // settlement (60 s). What took longer is counted in +Inf.
  static constexpr std::array<int64_t, 18> kBoundsUs = {
      100,       250,       500,       1'000,      2'500,      5'000,
      10'000,    25'000,    50'000,    100'000,    250'000,    500'000,
      1'000'000, 2'500'000, 5'000'000, 10'000'000, 30'000'000, 60'000'000};

  // A negative duration counts as zero.
  void Observe(std::chrono::microseconds v);

  uint64_t count() const;
  std::chrono::microseconds sum() const;
  // How many fell into the bucket `i` alone (not cumulative); i == kBoundsUs.size() is +Inf.
  uint64_t bucket(size_t i) const { return buckets_[i].load(std::memory_order_relaxed); }

 private:
  std::array<std::atomic<uint64_t>, kBoundsUs.size() + 1> buckets_ = {};
  std::atomic<int64_t> sum_us_ = 0;
};

using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

// Label sets of one metric. A route table of a few hundred routes times a handful of outcomes fits;
// a label that grows with traffic does not, and must not eat the memory. Beyond it everything is
// counted in one series whose label values are all "other".
inline constexpr size_t kMaxSeriesPerMetric = 1000;
// Bytes of one label value that are kept; a route pattern is shorter.
inline constexpr size_t kMaxLabelValue = 256;
// Labels of one series.
inline constexpr size_t kMaxLabels = 8;

// All metrics of a process. The same name and labels (in any order) give the same object, which
// lives as long as the registry; a hot caller keeps the reference. The first `help` of a name is
// the one that is shown.
//
// Names and label names are our own constants: a name that Prometheus does not know as one, a name
// used for two kinds of metric or a label given twice is a bug and aborts. Label values may be any
// text; bytes that are not UTF-8 are shown as '?'.
class Registry {
 public:
  Registry();
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  Counter& CounterOf(std::string_view name, std::string_view help, Labels labels = {});
  Gauge& GaugeOf(std::string_view name, std::string_view help, Labels labels = {});
  Histogram& HistogramOf(std::string_view name, std::string_view help, Labels labels = {});

  // The body of an answer with content type kExpositionType: metrics by name, series by labels.
  std::string Expose() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

inline constexpr std::string_view kExpositionType = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace pontage::obs
