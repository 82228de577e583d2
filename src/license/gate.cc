#include "license/gate.h"

#include <cstring>
#include <utility>

#include "base/try.h"
#include "crypto/hash.h"

namespace pontage::license {

size_t Gate::DigestHash::operator()(const Digest& digest) const {
  size_t word = 0;
  std::memcpy(&word, digest.data(), sizeof word);
  return word;
}

// One at a time: to forget all of them at once would hold up everybody on this loop, now and while
// they are verified again. Digests lie anywhere, so each of them has the same chance to stay.
void Gate::MakeRoom(const Digest& coming) {
  size_t bucket = seen_.bucket(coming);
  while (seen_.begin(bucket) == seen_.end(bucket)) bucket = (bucket + 1) % seen_.bucket_count();
  const Digest leaving = seen_.begin(bucket)->first;
  seen_.erase(leaving);
}

Result<Gate::Passed> Gate::Judge(const std::shared_ptr<const Verifier>& verifier,
                                 std::string_view token, const Demand& demand, UnixMs now) {
  const uint64_t version = verifier->version();
  if (verifier_ != verifier || version_ != version) {
    seen_.clear();
    verifier_ = verifier;
    version_ = version;
  }
  // Before it is hashed: what is longer is none.
  if (token.size() > kMaxToken) {
    return Fail(Code::kLicenseInvalid, "this is too long for a license");
  }
  const Digest digest = crypto::Sha256(codec::AsBytes(token));
  auto found = seen_.find(digest);
  if (found != seen_.end() && now >= found->second.key_until) {
    seen_.erase(found);
    found = seen_.end();
  }
  if (found == seen_.end()) {
    PTG_TRY(Verified verified, verifier->Read(token, now));
    if (seen_.size() >= most_) MakeRoom(digest);
    const Entitlements::Key key = Entitlements::KeyOf(verified.claims.id);
    Seen seen{.claims = std::make_shared<const Claims>(std::move(verified.claims)),
              .words_key = key,
              .key_until = verified.key_until};
    found = seen_.emplace(digest, std::move(seen)).first;
  }
  const Claims& claims = *found->second.claims;
  const std::optional<Entitlement> word = words_->Find(found->second.words_key);
  PTG_RUN(Decide(claims, word, demand, now));
  return Passed{.claims = found->second.claims,
                .limits = *TermsOf(claims, word, demand.terms).limits};
}

}  // namespace pontage::license
