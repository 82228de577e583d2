#pragma once

#include <string>
#include <string_view>

#include "base/time.h"
#include "codec/json.h"
#include "license/decision.h"
#include "sales/shop.h"

// What buyers see and read of the role `sales`. Pure; everything in the pages is escaped.
namespace pontage::sales {

codec::Json PriceListJson(const Shop& shop);
std::string PriceListPage(const Shop& shop);

struct Bought {
  bool ready = false;  // else it is on its way
  std::string license;
  std::string license_id;
  std::string plan;
  license::Status status = license::Status::kActive;
  UnixMs expires_at;
  std::string invoice_url;  // of the latest paid invoice; empty: there is none
  std::string invoice_pdf;
  // In the place of the license, which is not shown: what shows it once, or where its mail is asked
  // for again.
  std::string claim_url{};
  std::string resend_url{};
};
codec::Json SuccessJson(const Bought& bought);
// Of what is ready.
std::string SuccessPage(const Shop& shop, const Bought& bought);
// While it is not. The page looks again by itself, often at first, then seldom, after five minutes
// no more; `look` is how often it has, as its address says.
std::string PendingPage(const std::string& session, std::string_view look);

// What a link that shows a license once opens: mail scanners follow links, people press buttons.
// `name` is the field ("token" or "session_id") that the button sends.
std::string ClaimPage(std::string_view name, std::string_view value);

}  // namespace pontage::sales
