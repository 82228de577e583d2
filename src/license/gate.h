#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "base/error.h"
#include "base/time.h"
#include "license/decision.h"
#include "license/entitlements.h"
#include "license/verifier.h"

namespace pontage::license {

// Judges the licenses that one loop is shown: offline, and each text's signature once. Belongs to
// its loop.
class Gate {
 public:
  // With room for about so many texts that it has found good, at most twice as many. Each has a few
  // places that it can take, so some leave before the last place is taken.
  explicit Gate(size_t most = kMost);
  ~Gate();

  struct Passed {
    std::shared_ptr<const Claims> claims;  // without the issuer, who is the verifier's
    Limits limits;                         // in force
  };
  // The license, when it opens what `demand` asks for; else why not. `verifier` is the current
  // configuration's.
  Result<Passed> Judge(const std::shared_ptr<const Verifier>& verifier, std::string_view token,
                       const Demand& demand, UnixMs now);

  // From the next call on.
  void Use(std::shared_ptr<const Entitlements> words) { words_ = std::move(words); }
  const Entitlements& words() const { return *words_; }
  size_t kept() const;

  // Some hundred bytes each; whoever has more customers at once on one loop has some of them
  // verified again.
  static constexpr size_t kMost = 32'768;

 private:
  struct Seen {
    std::shared_ptr<const Claims> claims;
    Entitlements::Key words_key;
    UnixMs key_until;
  };
  // By the SHA-256 of the text.
  using Digest = std::array<uint8_t, 32>;
  struct Table;

  std::unique_ptr<Table> table_;
  // Held, so that another one cannot come to lie at its address.
  std::shared_ptr<const Verifier> verifier_;
  uint64_t version_ = 0;  // of its keys
  std::shared_ptr<const Entitlements> words_;
};

}  // namespace pontage::license
