#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "catalog/allowance.h"
#include "codec/bytes.h"
#include "crypto/hash.h"

namespace pontage::gateway {

// Who is counted as one client: an IPv4 address, or the /64 of an IPv6 address, since whoever has
// one address of a /64 has all of them. Everything that is no address is one client together.
std::string ClientKey(std::string_view address);

// How much each client has used of each route's allowance, in fixed memory. One object serves all
// loops of a process and outlives configurations, so a reload keeps the counts; another process
// counts on its own.
//
// A table of sets of kWays entries: where a client lies is chosen by a keyed hash, so nobody can
// pick addresses that lie together. In a full set the entry goes that is used up the least, which
// costs its owner the least: to be forgotten himself, a client who has used up everything would
// have to use up as much with kWays other addresses that happen to lie with his.
class Limiter {
 public:
  // 131,072 clients of a route and 6 MiB for each of the two kinds, taken when the first is asked
  // about. A site with more clients than that at once forgives some of them a little.
  static constexpr size_t kSets = 16'384;
  static constexpr size_t kWays = 8;

  explicit Limiter(Rng& rng, size_t sets = kSets) : rates_(rng, sets), quotas_(rng, sets) {}

  // One request of `client` (a ClientKey) for the route named `route`. From any thread.
  catalog::Verdict TakeRate(std::string_view route, std::string_view client,
                            const catalog::Allowance& allowance, SteadyMs now);
  catalog::Verdict TakeQuota(std::string_view route, std::string_view client,
                             const catalog::Allowance& allowance, SteadyMs now);

 private:
  using Take = catalog::Verdict (*)(const catalog::Allowance&, catalog::Usage&, SteadyMs);
  using Fill = uint32_t (*)(const catalog::Allowance&, const catalog::Usage&, SteadyMs);

  class Table {
   public:
    Table(Rng& rng, size_t sets);
    catalog::Verdict Ask(Take take, Fill fill, std::string_view route, std::string_view client,
                         const catalog::Allowance& allowance, SteadyMs now);

   private:
    struct Entry {
      std::array<uint64_t, 2> who{};  // zero: nobody
      catalog::Usage usage;
      uint32_t fill = 0;  // when it was used last
    };
    using Set = std::array<Entry, kWays>;
    Entry& Find(Set& set, const std::array<uint64_t, 2>& who, SteadyMs now);

    // Few enough to be nothing, many enough that two loops seldom wait for each other.
    static constexpr size_t kLocks = 64;
    const size_t count_;
    codec::Bytes32 key_{};
    std::once_flag made_;
    std::vector<Set> sets_;
    std::array<std::mutex, kLocks> locks_;
  };

  Table rates_;
  Table quotas_;
};

}  // namespace pontage::gateway
