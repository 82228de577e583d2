#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "codec/json.h"
#include "sandbox/stripe/account.h"
#include "sandbox/stripe/api_error.h"
#include "sandbox/stripe/params.h"

namespace pontage::sandbox::stripe {

// One request to the API, past the checks of its key and of its parameters' names.
struct Call {
  Account& account;
  Params params;
  std::string id = {};  // that of the path, if it has one
};
using Operation = Answered<codec::Json> (*)(Call& call);

struct Route {
  std::string_view method;
  std::string_view path;  // "/v1/customers/:id"
  Operation run = nullptr;
  std::vector<std::string_view> params;  // patterns of Params::Only
};
using Routes = std::vector<Route>;

// Each adds its own; together they are the API.
void AddCustomerRoutes(Routes& routes);
void AddCatalogRoutes(Routes& routes);
void AddSessionRoutes(Routes& routes);
void AddSubscriptionRoutes(Routes& routes);
void AddSubscriptionCreation(Routes& routes);
void AddInvoiceRoutes(Routes& routes);
void AddPaymentRoutes(Routes& routes);
void AddPortalRoutes(Routes& routes);
void AddEventRoutes(Routes& routes);

// `own` and what every list takes.
std::vector<std::string_view> ListParams(std::initializer_list<std::string_view> own);

// The object that the path names; 404 otherwise.
Answered<codec::Json*> Named(Call& call, Kind kind);
// As the whole answer.
template <Kind kKind>
Answered<codec::Json> Retrieve(Call& call);

// One page of the objects of a kind that fit, newest first, as limit, starting_after, ending_before
// and created say.
using Filter = std::function<bool(const codec::Json&)>;
Answered<codec::Json> ListPage(Call& call, Kind kind, const Filter& fits = {});
// The same of anything that has ids: `all` is newest first, `no_such` what an unknown cursor is.
Answered<codec::Json> PageOf(Call& call, const std::vector<codec::Json>& all, std::string url,
                             std::string_view no_such);
// Whether `object` was created when created, created[gte] and the like ask for it.
Answered<Filter> CreatedFilter(const Params& params);

// Puts in whole objects for what expand[] names.
Answered<> Expand(const Account& account, codec::Json& json, const Params& params);

template <Kind kKind>
Answered<codec::Json> Retrieve(Call& call) {
  const Answered<codec::Json*> found = Named(call, kKind);
  if (!found) return std::unexpected(found.error());
  return **found;
}

}  // namespace pontage::sandbox::stripe
