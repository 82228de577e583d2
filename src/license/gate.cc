#include "license/gate.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>
#include <vector>

#include "base/try.h"
#include "crypto/hash.h"

namespace pontage::license {

// What was found good. Whoever is new finds everything in memory that nobody has touched for long,
// so there is little to touch: a digest has eight places, which lie together, and one leaves one of
// them for one that comes.
struct Gate::Table {
  static constexpr size_t kPlaces = 8;
  static constexpr size_t kLine = 64;    // of a cache
  static constexpr size_t kCounts = 16;  // of a shared_ptr's block
  struct Entry {
    Digest digest{};
    Seen seen{};
  };
  struct Set {
    std::array<uint64_t, kPlaces> fronts{};  // of the digests; 0: nobody is there
    std::array<Entry, kPlaces> entries{};
  };

  explicit Table(size_t most) : most_sets(std::bit_ceil(std::max<size_t>(1, most / kPlaces))) {}

  static uint64_t FrontOf(const Digest& digest) {
    uint64_t front = 0;
    std::memcpy(&front, digest.data(), sizeof front);
    return std::max<uint64_t>(front, 1);
  }
  // Digests are as good as drawn: so are their sets, and which of eight one takes.
  Set& SetOf(uint64_t front) { return sets[front & (sets.size() - 1)]; }

  // Of whoever leaves for this digest when its set is full.
  static size_t LeaverOf(const Digest& digest) { return digest[sizeof(uint64_t)] % kPlaces; }
  // kPlaces when there is none.
  static size_t FreeIn(const Set& set) {
    const auto free = std::ranges::find(set.fronts, 0U);
    return static_cast<size_t>(free - set.fronts.begin());
  }
  static size_t Find(const Set& set, uint64_t front, const Digest& digest) {
    size_t i = 0;
    while (i < kPlaces && (set.fronts[i] != front || set.entries[i].digest != digest)) ++i;
    return i;
  }

  const Seen* Find(const Digest& digest) {
    const uint64_t front = FrontOf(digest);
    const Set& set = SetOf(front);
    const size_t place = Find(set, front, digest);
    return place < kPlaces ? &set.entries[place].seen : nullptr;
  }

  // Before a signature is verified, which takes long: what would leave for this one lies in memory
  // that nobody has touched for long, and comes meanwhile.
  void Expect(const Digest& digest) {
    if (sets.size() < most_sets) return;
    const Entry& old = SetOf(FrontOf(digest)).entries[LeaverOf(digest)];
    if (old.seen.claims == nullptr) return;
    // With the counts of its owners, which lie before it in the same piece.
    const char* const piece = reinterpret_cast<const char*>(old.seen.claims.get()) - kCounts;
    for (size_t at = 0; at < kCounts + sizeof(Claims); at += kLine) {
      __builtin_prefetch(piece + at, 1);
    }
  }

  // Once there is no more room than these sets, one leaves for each that comes: to forget all of
  // them at once would hold up everybody on this loop, now and while they are verified again.
  const Seen& Keep(const Digest& digest, Seen seen) {
    const uint64_t front = FrontOf(digest);
    while (sets.size() < most_sets && FreeIn(SetOf(front)) == kPlaces) Grow();
    Set& set = SetOf(front);
    size_t place = FreeIn(set);
    if (place == kPlaces) {
      place = LeaverOf(digest);
    } else {
      ++kept;
    }
    set.fronts[place] = front;
    set.entries[place] = {.digest = digest, .seen = std::move(seen)};
    return set.entries[place].seen;
  }

  void Forget(const Digest& digest) {
    const uint64_t front = FrontOf(digest);
    Set& set = SetOf(front);
    const size_t place = Find(set, front, digest);
    if (place == kPlaces) return;
    set.fronts[place] = 0;
    set.entries[place] = {};
    --kept;
  }

  // Each set becomes two, between which those in it are divided.
  void Grow() {
    std::vector<Set> before(sets.size() * 2);
    before.swap(sets);
    for (Set& set : before) {
      for (size_t i = 0; i < kPlaces; ++i) {
        if (set.fronts[i] == 0) continue;
        Set& to = SetOf(set.fronts[i]);
        to.fronts[i] = set.fronts[i];
        to.entries[i] = std::move(set.entries[i]);
      }
    }
  }

  void Clear() {
    sets = std::vector<Set>(1);
    kept = 0;
  }

  const size_t most_sets;
  std::vector<Set> sets{1};  // a power of two of them
  size_t kept = 0;
};

Gate::Gate(size_t most)
    : table_(std::make_unique<Table>(most)), words_(std::make_shared<const Entitlements>()) {}

Gate::~Gate() = default;

size_t Gate::kept() const { return table_->kept; }

void Gate::Follow(const std::shared_ptr<const Verifier>& verifier) {
  const uint64_t version = verifier->version();
  if (verifier_ == verifier && version_ == version) return;
  table_->Clear();
  verifier_ = verifier;
  version_ = version;
}

const Gate::Seen* Gate::Find(const Digest& digest, UnixMs now) {
  const Seen* const seen = table_->Find(digest);
  if (seen == nullptr || now < seen->key_until) return seen;
  table_->Forget(digest);
  return nullptr;
}

Result<Gate::Passed> Gate::JudgeSeen(const Seen& seen, const Demand& demand, UnixMs now) const {
  const Claims& claims = *seen.claims;
  const std::optional<Entitlement> word = words_->Find(seen.words_key);
  PTG_RUN(Decide(claims, word, demand, now));
  return Passed{.claims = seen.claims, .limits = *TermsOf(claims, word, demand.terms).limits};
}

std::optional<Result<Gate::Passed>> Gate::TryJudge(const std::shared_ptr<const Verifier>& verifier,
                                                   std::string_view token, const Demand& demand,
                                                   UnixMs now, Digest& digest) {
  Follow(verifier);
  // Before it is hashed: what is longer is none.
  if (token.size() > kMaxToken) {
    return Fail(Code::kLicenseInvalid, "this is too long for a license");
  }
  const Digest* const known = digests_.Find(token);
  digest = known != nullptr ? *known : crypto::Sha256(codec::AsBytes(token));
  const Seen* const seen = Find(digest, now);
  if (seen == nullptr) return std::nullopt;
  if (known == nullptr) digests_.MayKeep(token, digest);
  return JudgeSeen(*seen, demand, now);
}

Result<Gate::Passed> Gate::JudgeNew(const std::shared_ptr<const Verifier>& verifier,
                                    std::string_view token, const Digest& digest,
                                    const Demand& demand, UnixMs now) {
  // Another request may have brought the same one meanwhile, or a configuration another verifier.
  Follow(verifier);
  if (const Seen* const seen = Find(digest, now)) return JudgeSeen(*seen, demand, now);
  table_->Expect(digest);
  PTG_TRY(Verified verified, verifier->Read(token, now));
  verified.claims.issuer = {};  // the verifier's, of all of them
  const Entitlements::Key key = Entitlements::KeyOf(verified.claims.id);
  const Seen& seen =
      table_->Keep(digest, {.claims = std::make_shared<const Claims>(std::move(verified.claims)),
                            .words_key = key,
                            .key_until = verified.key_until});
  return JudgeSeen(seen, demand, now);
}

Result<Gate::Passed> Gate::Judge(const std::shared_ptr<const Verifier>& verifier,
                                 std::string_view token, const Demand& demand, UnixMs now) {
  Digest digest;
  if (std::optional<Result<Passed>> judged = TryJudge(verifier, token, demand, now, digest)) {
    return *std::move(judged);
  }
  return JudgeNew(verifier, token, digest, demand, now);
}

}  // namespace pontage::license
