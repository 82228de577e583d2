#include "catalog/allowance.h"

#include <algorithm>

namespace pontage::catalog {
namespace {

constexpr int64_t kNsPerMs = 1'000'000;
constexpr uint32_t kFull = 1U << 16;

int64_t Ns(SteadyMs t) { return t.ms() * kNsPerMs; }

Millis UpToMillis(int64_t ns) { return Millis((ns + kNsPerMs - 1) / kNsPerMs); }

// How long one request uses, and how long all of them together. `count` is at least 1.
struct Cells {
  int64_t one = 0;
  int64_t all = 0;
};
Cells CellsOf(const Allowance& a) {
  const auto count = static_cast<int64_t>(a.count);
  const int64_t window = a.window.count() * kNsPerMs;
  const int64_t one = (window + count - 1) / count;
  return {one, one * count};
}

uint32_t Share(int64_t part, int64_t whole) {
  if (whole <= 0 || part <= 0) return 0;
  if (part >= whole) return kFull;
  return static_cast<uint32_t>(static_cast<__int128>(part) * kFull / whole);
}

int64_t UpToSeconds(Millis d) { return (d.count() + 999) / 1000; }

}  // namespace

Verdict TakeRate(const Allowance& allowance, Usage& usage, SteadyMs now) {
  const Cells cells = CellsOf(allowance);
  const int64_t at = Ns(now);
  int64_t used = std::max<int64_t>(usage.until_ns - at, 0);
  if (usage.one_ns != 0 && usage.one_ns != cells.one) {
    const auto scaled = static_cast<__int128>(used) * cells.one / usage.one_ns;
    used = static_cast<int64_t>(std::min<__int128>(scaled, cells.all));
  }
  usage.one_ns = cells.one;
  // More than everything can only be left from a larger allowance.
  const int64_t before = at + std::min(used, cells.all);
  const int64_t after = before + cells.one;
  Verdict verdict;
  verdict.pass = after - at <= cells.all;
  usage.until_ns = verdict.pass ? after : before;
  verdict.reset = UpToMillis(usage.until_ns - at);
  if (verdict.pass) {
    verdict.left = static_cast<uint64_t>((cells.all - (after - at)) / cells.one);
  } else {
    verdict.retry = UpToMillis(after - at - cells.all);
  }
  return verdict;
}

Verdict TakeQuota(const Allowance& allowance, Usage& usage, SteadyMs now) {
  const int64_t at = Ns(now);
  const int64_t window = allowance.window.count() * kNsPerMs;
  if (usage.until_ns <= at) usage = {.until_ns = at + window, .used = 0, .one_ns = 0};
  usage.until_ns = std::min(usage.until_ns, at + window);
  Verdict verdict;
  verdict.pass = usage.used < allowance.count;
  if (verdict.pass) ++usage.used;
  verdict.left = allowance.count - std::min(usage.used, allowance.count);
  verdict.reset = UpToMillis(usage.until_ns - at);
  if (!verdict.pass) verdict.retry = verdict.reset;
  return verdict;
}

uint32_t FillOfRate(const Allowance& allowance, const Usage& usage, SteadyMs now) {
  return Share(usage.until_ns - Ns(now), CellsOf(allowance).all);
}

uint32_t FillOfQuota(const Allowance& allowance, const Usage& usage, SteadyMs now) {
  if (usage.until_ns <= Ns(now)) return 0;
  const uint64_t used = std::min(usage.used, allowance.count);
  return Share(static_cast<int64_t>(used), static_cast<int64_t>(allowance.count));
}

std::string PolicyMember(std::string_view name, const Allowance& allowance) {
  return "\"" + std::string(name) + "\";q=" + std::to_string(allowance.count) +
         ";w=" + std::to_string(UpToSeconds(allowance.window));
}

std::string LimitMember(std::string_view name, const Verdict& verdict) {
  return "\"" + std::string(name) + "\";r=" + std::to_string(verdict.left) +
         ";t=" + std::to_string(UpToSeconds(verdict.reset));
}

int64_t RetrySeconds(Millis wait) { return std::max<int64_t>(1, UpToSeconds(wait)); }

}  // namespace pontage::catalog
