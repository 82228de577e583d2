#include "base/check.h"
#include "codec/json.h"
#include "license/claims.h"
#include "testing/fuzz.h"

namespace pontage::license {
namespace {

// What a tree of the same document says at `name`; empty text for anything but a string.
std::string TextAt(const codec::Json& in, std::string_view name) {
  const codec::Json* found = in.Find(name);
  return found == nullptr || found->AsString() == nullptr ? "" : *found->AsString();
}

}  // namespace

// What is read without a tree is what a tree of it says, and says the same when it is written
// again.
FUZZ_TARGET(claims) {
  const Result<Claims> claims = ReadClaims(input);
  if (!claims) return;
  const Claims& plain = *claims;
  const Result<Claims> again = ReadClaims(codec::ToString(ToJson(plain)));
  PTG_CHECK(!plain.products.empty() || again.has_value());
  if (again) PTG_CHECK(*again == plain);
  const Result<codec::Json> tree = codec::ParseJson(input);
  // A tree has no member twice; claims pass over those that they do not know.
  if (!tree) return;
  PTG_CHECK(TextAt(*tree, "iss") == plain.issuer && TextAt(*tree, "sub") == plain.customer &&
            TextAt(*tree, "jti") == plain.id);
  PTG_CHECK(UnixMs::FromSeconds(tree->Find("exp")->AsInt64().value()) == plain.expires);
  const codec::Json& lic = *tree->Find("lic");
  PTG_CHECK(TextAt(lic, "plan") == plain.plan && TextAt(lic, "tier") == plain.tier &&
            TextAt(lic, "sub") == plain.subscription);
}

}  // namespace pontage::license
