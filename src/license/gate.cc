#include "license/gate.h"

#include <cstring>
#include <utility>
#include <vector>

#include <boost/unordered/unordered_flat_map.hpp>

#include "base/try.h"
#include "crypto/hash.h"

namespace pontage::license {

// What was found good. Whoever is new finds everything in memory that nobody has touched for long,
// so there is little to touch: what is kept lies in one table, and who leaves is known by a place.
struct Gate::Table {
  // A digest is mixed as well as anything.
  struct Hash {
    using is_avalanching = void;
    size_t operator()(const Digest& digest) const noexcept { return WordOf(digest); }
  };
  static size_t WordOf(const Digest& digest) {
    size_t word = 0;
    std::memcpy(&word, digest.data(), sizeof word);
    return word;
  }

  explicit Table(size_t most) : most(most) {}

  // One leaves for one that comes once it is full, whichever has its place: to forget all of them
  // at once would hold up everybody on this loop, now and while they are verified again. Digests
  // are as good as drawn, so each that is kept has the same chance to stay.
  const Seen& Keep(const Digest& digest, Seen seen) {
    if (places.size() < most) {
      places.push_back(digest);
    } else {
      Digest& place = places[WordOf(digest) % most];
      kept.erase(place);
      place = digest;
    }
    return kept.insert_or_assign(digest, std::move(seen)).first->second;
  }
  void Clear() {
    kept.clear();
    places.clear();
  }

  const size_t most;
  boost::unordered_flat_map<Digest, Seen, Hash> kept;
  std::vector<Digest> places;  // has each that is kept, and some that are no longer
};

Gate::Gate(size_t most)
    : table_(std::make_unique<Table>(most)), words_(std::make_shared<const Entitlements>()) {}

Gate::~Gate() = default;

size_t Gate::kept() const { return table_->kept.size(); }

Result<Gate::Passed> Gate::Judge(const std::shared_ptr<const Verifier>& verifier,
                                 std::string_view token, const Demand& demand, UnixMs now) {
  const uint64_t version = verifier->version();
  if (verifier_ != verifier || version_ != version) {
    table_->Clear();
    verifier_ = verifier;
    version_ = version;
  }
  // Before it is hashed: what is longer is none.
  if (token.size() > kMaxToken) {
    return Fail(Code::kLicenseInvalid, "this is too long for a license");
  }
  const Digest digest = crypto::Sha256(codec::AsBytes(token));
  const auto known = table_->kept.find(digest);
  const Seen* seen = known == table_->kept.end() ? nullptr : &known->second;
  if (seen == nullptr || now >= seen->key_until) {
    if (seen != nullptr) table_->kept.erase(known);
    PTG_TRY(Verified verified, verifier->Read(token, now));
    const Entitlements::Key key = Entitlements::KeyOf(verified.claims.id);
    seen =
        &table_->Keep(digest, {.claims = std::make_shared<const Claims>(std::move(verified.claims)),
                               .words_key = key,
                               .key_until = verified.key_until});
  }
  const Claims& claims = *seen->claims;
  const std::optional<Entitlement> word = words_->Find(seen->words_key);
  PTG_RUN(Decide(claims, word, demand, now));
  return Passed{.claims = seen->claims, .limits = *TermsOf(claims, word, demand.terms).limits};
}

}  // namespace pontage::license
