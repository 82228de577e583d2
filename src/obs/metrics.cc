#include "obs/metrics.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/check.h"
#include "base/utf8.h"

namespace pontage::obs {
namespace {

constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();

uint64_t SaturatingSum(uint64_t a, uint64_t b) { return a > kMost - b ? kMost : a + b; }

// A small number for each thread, given out in turn.
size_t ThreadNumber() {
  static std::atomic<size_t> next = 0;
  thread_local const size_t mine = next.fetch_add(1, std::memory_order_relaxed);
  return mine;
}

// Lets a map of strings be asked with a string_view, without making a string.
struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
template <typename T>
using TextMap = std::unordered_map<std::string, T, TextHash, std::equal_to<>>;

// [a-zA-Z_][a-zA-Z0-9_]*; the colon that Prometheus allows is for its own recording rules.
bool IsName(std::string_view name) {
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) return false;
  return std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

void AppendEscaped(std::string& out, std::string_view text, bool quotes) {
  const auto is_plain = [](char c) { return c >= ' ' && c < 0x7f && c != '\\' && c != '"'; };
  while (!text.empty()) {
    // Almost every value is plain throughout.
    const auto plain = static_cast<size_t>(std::ranges::find_if_not(text, is_plain) - text.begin());
    out += text.substr(0, plain);
    text.remove_prefix(plain);
    if (text.empty()) return;
    const size_t length = Utf8Length(text);
    if (length == 0) {
      out += '?';
    } else if (text[0] == '\\') {
      out += "\\\\";
    } else if (text[0] == '\n') {
      out += "\\n";
    } else if (quotes && text[0] == '"') {
      out += "\\\"";
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
}

using Label = std::pair<std::string_view, std::string_view>;

// `name="value",…` sorted by name, as it is printed; also the key of a series. `value` instead of
// the labels' own values when it is not null.
void LabelText(std::span<const Label> labels, const char* value, std::string& out) {
  out.clear();
  for (const Label& label : labels) {
    if (!out.empty()) out += ',';
    out += label.first;
    out += "=\"";
    AppendEscaped(out, value != nullptr ? value : label.second.substr(0, kMaxLabelValue), true);
    out += '"';
  }
}

// 1500000 microseconds as "1.5".
std::string Seconds(int64_t us) {
  constexpr int64_t kPerSecond = 1'000'000;
  std::string text = std::to_string(us / kPerSecond);
  if (us % kPerSecond == 0) return text;
  const std::string fraction = std::to_string(kPerSecond + us % kPerSecond).substr(1);
  text += '.';
  text += fraction.substr(0, fraction.find_last_not_of('0') + 1);
  return text;
}

void AppendLine(std::string& out, std::string_view name, std::string_view suffix,
                std::string_view labels, std::string_view value) {
  out += name;
  out += suffix;
  if (!labels.empty()) {
    out += '{';
    out += labels;
    out += '}';
  }
  out += ' ';
  out += value;
  out += '\n';
}

void Print(std::string& out, std::string_view name, std::string_view labels, const Counter& c) {
  AppendLine(out, name, "", labels, std::to_string(c.value()));
}

void Print(std::string& out, std::string_view name, std::string_view labels, const Gauge& g) {
  AppendLine(out, name, "", labels, std::to_string(g.value()));
}

void Print(std::string& out, std::string_view name, std::string_view labels, const Histogram& h) {
  const std::string before = labels.empty() ? "" : std::string(labels) + ",";
  uint64_t so_far = 0;
  for (size_t i = 0; i <= Histogram::kBoundsUs.size(); ++i) {
    so_far += h.bucket(i);
    const bool last = i == Histogram::kBoundsUs.size();
    const std::string bound = last ? "+Inf" : Seconds(Histogram::kBoundsUs[i]);
    std::string with_bound = before;
    with_bound += "le=\"";
    with_bound += bound;
    with_bound += '"';
    AppendLine(out, name, "_bucket", with_bound, std::to_string(so_far));
  }
  AppendLine(out, name, "_sum", labels, Seconds(h.sum().count()));
  // Of the buckets as they were read, so that it always equals +Inf.
  AppendLine(out, name, "_count", labels, std::to_string(so_far));
}

}  // namespace

void Counter::Add(uint64_t n) {
  std::atomic<uint64_t>& shard = shards_[ThreadNumber() % kShards].n;
  uint64_t seen = shard.load(std::memory_order_relaxed);
  while (!shard.compare_exchange_weak(seen, SaturatingSum(seen, n), std::memory_order_relaxed)) {
  }
}

uint64_t Counter::value() const {
  uint64_t sum = 0;
  for (const Shard& shard : shards_) {
    sum = SaturatingSum(sum, shard.n.load(std::memory_order_relaxed));
  }
  return sum;
}

void Histogram::Observe(std::chrono::microseconds v) {
  const int64_t us = std::max<int64_t>(v.count(), 0);
  const auto bound = std::ranges::lower_bound(kBoundsUs, us);
  buckets_[static_cast<size_t>(bound - kBoundsUs.begin())].fetch_add(1, std::memory_order_relaxed);
  sum_us_.fetch_add(us, std::memory_order_relaxed);
}

uint64_t Histogram::count() const {
  uint64_t sum = 0;
  for (const auto& bucket : buckets_) sum += bucket.load(std::memory_order_relaxed);
  return sum;
}

std::chrono::microseconds Histogram::sum() const {
  return std::chrono::microseconds(sum_us_.load(std::memory_order_relaxed));
}

struct Registry::State {
  // References into an unordered_map stay good when it grows, and nothing is ever erased.
  template <typename T>
  struct Series {
    TextMap<T> by_labels;
  };
  struct Family {
    std::string help;
    std::variant<Series<Counter>, Series<Gauge>, Series<Histogram>> series;
  };

  mutable std::shared_mutex mutex;  // Exclusive only while a new series is made.
  TextMap<Family> families;

  template <typename T>
  T* Find(std::string_view name, std::string_view labels) {
    const auto family = families.find(name);
    if (family == families.end()) return nullptr;
    auto* series = std::get_if<Series<T>>(&family->second.series);
    PTG_CHECK(series != nullptr);  // One name, two kinds of metric.
    const auto found = series->by_labels.find(labels);
    return found == series->by_labels.end() ? nullptr : &found->second;
  }

  template <typename T>
  T& Of(std::string_view name, std::string_view help, Labels labels) {
    std::array<Label, kMaxLabels> sorted;
    PTG_CHECK(labels.size() <= kMaxLabels);
    std::ranges::copy(labels, sorted.begin());
    const std::span<Label> used(sorted.data(), labels.size());
    std::ranges::sort(used, {}, &Label::first);

    thread_local std::string text;  // Kept, so that a lookup does not allocate.
    LabelText(used, nullptr, text);
    {
      const std::shared_lock lock(mutex);
      if (T* found = Find<T>(name, text)) return *found;
    }
    CheckNames(name, used);
    const std::unique_lock lock(mutex);
    auto family = families.find(name);
    if (family == families.end()) {
      family = families.try_emplace(std::string(name)).first;
      family->second.help = help;
      family->second.series.template emplace<Series<T>>();
    }
    auto* series = std::get_if<Series<T>>(&family->second.series);
    PTG_CHECK(series != nullptr);
    // The last place is for "other".
    if (!series->by_labels.contains(text) && series->by_labels.size() >= kMaxSeriesPerMetric - 1) {
      LabelText(used, "other", text);
    }
    return series->by_labels.try_emplace(text).first->second;
  }

  static void CheckNames(std::string_view name, std::span<const Label> labels) {
    PTG_CHECK(IsName(name));
    for (size_t i = 0; i < labels.size(); ++i) {
      PTG_CHECK(IsName(labels[i].first) && labels[i].first != "le");
      PTG_CHECK(i == 0 || labels[i - 1].first != labels[i].first);
    }
  }
};

Registry::Registry() : state_(std::make_unique<State>()) {}
Registry::~Registry() = default;

Counter& Registry::CounterOf(std::string_view name, std::string_view help, Labels labels) {
  return state_->Of<Counter>(name, help, labels);
}

Gauge& Registry::GaugeOf(std::string_view name, std::string_view help, Labels labels) {
  return state_->Of<Gauge>(name, help, labels);
}

Histogram& Registry::HistogramOf(std::string_view name, std::string_view help, Labels labels) {
  return state_->Of<Histogram>(name, help, labels);
}

std::string Registry::Expose() const {
  constexpr std::array<std::string_view, 3> kKinds = {"counter", "gauge", "histogram"};
  const std::shared_lock lock(state_->mutex);
  std::map<std::string_view, const State::Family*> families;
  for (const auto& [name, family] : state_->families) families.emplace(name, &family);

  std::string out;
  for (const auto& [name, family] : families) {
    out += "# HELP ";
    out += name;
    out += ' ';
    AppendEscaped(out, family->help, false);
    out += "\n# TYPE ";
    out += name;
    out += ' ';
    out += kKinds[family->series.index()];
    out += '\n';
    const auto print_all = [&out, name](const auto& series) {
      using Metric = typename std::remove_cvref_t<decltype(series.by_labels)>::mapped_type;
      std::map<std::string_view, const Metric*> sorted;
      for (const auto& [labels, metric] : series.by_labels) sorted.emplace(labels, &metric);
      for (const auto& [labels, metric] : sorted) Print(out, name, labels, *metric);
    };
    std::visit(print_all, family->series);
  }
  return out;
}

}  // namespace pontage::obs
