#pragma once

#include <string>

#include "base/time.h"
#include "codec/json.h"
#include "sales/shop.h"

// What buyers see and read of the role `sales`. Pure; everything in the pages is escaped.
namespace pontage::sales {

codec::Json PriceListJson(const Shop& shop);
std::string PriceListPage(const Shop& shop);

struct Bought {
  bool ready = false;  // else it is on its way, and the page looks again by itself
  std::string license;
  std::string plan;
  UnixMs expires_at;
};
codec::Json SuccessJson(const Bought& bought);
std::string SuccessPage(const Shop& shop, const Bought& bought);

}  // namespace pontage::sales
