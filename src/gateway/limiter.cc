#include "gateway/limiter.h"

#include <algorithm>
#include <cstring>

#include <arpa/inet.h>

namespace pontage::gateway {
namespace {

// What counts as used up so little that it goes first: time is over, or nobody was ever there.
bool Spent(const catalog::Usage& usage, SteadyMs now) {
  return usage.until_ns <= now.ms() * 1'000'000;
}

}  // namespace

std::string ClientKey(std::string_view address) {
  const std::string text(address);
  std::array<char, 16> bytes{};
  if (inet_pton(AF_INET, text.c_str(), bytes.data()) == 1) return {bytes.data(), 4};
  if (inet_pton(AF_INET6, text.c_str(), bytes.data()) != 1) return {};
  constexpr std::array<char, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '\xff', '\xff'};
  if (std::equal(kMapped.begin(), kMapped.end(), bytes.begin())) return {bytes.data() + 12, 4};
  return {bytes.data(), 8};
}

Limiter::Table::Table(Rng& rng, size_t sets) : count_(sets) { rng.Fill(key_); }

catalog::Verdict Limiter::Table::Ask(Take take, Fill fill, std::string_view route,
                                     std::string_view client, const catalog::Allowance& allowance,
                                     SteadyMs now) {
  std::call_once(made_, [this] { sets_.resize(count_); });
  const std::string_view between("\0", 1);
  const crypto::Hash32 hash = crypto::Sha256(
      {key_, codec::AsBytes(route), codec::AsBytes(between), codec::AsBytes(client)});
  std::array<uint64_t, 3> words{};
  std::memcpy(words.data(), hash.data(), sizeof words);
  const size_t index = words[2] % count_;
  const std::array<uint64_t, 2> who{words[0], words[1]};
  const std::lock_guard lock(locks_[index % kLocks]);
  Entry& entry = Find(sets_[index], who, now);
  const catalog::Verdict verdict = take(allowance, entry.usage, now);
  entry.fill = fill(allowance, entry.usage, now);
  return verdict;
}

Limiter::Table::Entry& Limiter::Table::Find(Set& set, const std::array<uint64_t, 2>& who,
                                            SteadyMs now) {
  Entry* least = set.data();
  for (Entry& entry : set) {
    if (entry.who == who) return entry;
    const auto rank = [now](const Entry& e) {
      const bool spent = Spent(e.usage, now);
      return std::pair(spent ? 0U : e.fill, spent ? 0 : e.usage.until_ns);
    };
    if (rank(entry) < rank(*least)) least = &entry;
  }
  *least = Entry{.who = who, .usage = {}, .fill = 0};
  return *least;
}

catalog::Verdict Limiter::TakeRate(std::string_view route, std::string_view client,
                                   const catalog::Allowance& allowance, SteadyMs now) {
  return rates_.Ask(&catalog::TakeRate, &catalog::FillOfRate, route, client, allowance, now);
}

catalog::Verdict Limiter::TakeQuota(std::string_view route, std::string_view client,
                                    const catalog::Allowance& allowance, SteadyMs now) {
  return quotas_.Ask(&catalog::TakeQuota, &catalog::FillOfQuota, route, client, allowance, now);
}

}  // namespace pontage::gateway
