#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "codec/json.h"

// Members of Stripe's objects, which we keep as the documents that go over the wire.
namespace pontage::sandbox::stripe {

// A null when there is none.
const codec::Json& Member(const codec::Json& object, std::string_view key);
// "" unless it is a text.
std::string TextOf(const codec::Json& object, std::string_view key);
// Zero unless it is a whole number.
int64_t IntOf(const codec::Json& object, std::string_view key);
bool IsTrue(const codec::Json& object, std::string_view key);
// A member that holds a time in seconds; nothing unless it does.
std::optional<UnixMs> TimeOf(const codec::Json& object, std::string_view key);

// A text or a null.
codec::Json OrNull(std::optional<std::string> text);

// {"object": "list", …} with everything in it.
codec::Json WholeList(std::vector<codec::Json> items, std::string url);
// Its items.
const std::vector<codec::Json>& ItemsOf(const codec::Json& list);

// http:// or https:// and printable ASCII: what may stand in a link or a Location.
bool IsWebUrl(std::string_view text);

// What `after` has changed, as previous_attributes says it: the old values, of nested objects only
// their changed members, of lists all. Null when nothing differs.
codec::Json Changes(const codec::Json& before, const codec::Json& after);

}  // namespace pontage::sandbox::stripe
