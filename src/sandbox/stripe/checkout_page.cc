#include <array>
#include <utility>

#include "sandbox/stripe/checkout.h"
#include "sandbox/stripe/fields.h"
#include "sandbox/stripe/pages.h"

namespace pontage::sandbox::stripe {
namespace {

using codec::Json;

struct Choice {
  std::string_view outcome;
  std::string_view button;
  std::optional<Card> card;
};
constexpr std::array<Choice, 6> kChoices = {{
    {"paid", "Pay", Card::kGood},
    {"decline", "Pay with a card that is declined", Card::kDeclined},
    {"decline_renewal", "Pay with a card whose renewals are declined", Card::kDeclinesRenewals},
    {"3ds_fail", "Pay and fail 3-D Secure", Card::kFailsCheck},
    {"async", "Pay by a bank debit that takes three days", Card::kDelayed},
    {"no_card", "Start without a card", std::nullopt},
}};

// Of a test's buyer who names no address.
constexpr const char* kNobodysEmail = "buyer@example.com";

const Choice* ChoiceOf(std::string_view outcome) {
  for (const Choice& choice : kChoices) {
    if (choice.outcome == outcome) return &choice;
  }
  return nullptr;
}

bool MayGoWithoutCard(const Json& session) {
  return IntOf(session, "amount_total") == 0 &&
         TextOf(session, "payment_method_collection") == "if_required";
}

std::string SuccessUrl(const Json& session) {
  constexpr std::string_view kHole = "{CHECKOUT_SESSION_ID}";
  std::string url = TextOf(session, "success_url");
  const std::string id = TextOf(session, "id");
  for (size_t at = url.find(kHole); at != std::string::npos; at = url.find(kHole, at + id.size())) {
    url.replace(at, kHole.size(), id);
  }
  return url;
}

std::string Field(const char* name, const char* label, const char* rest,
                  const std::string& value = "") {
  return std::string("<label>") + label + " <input name=\"" + name + "\" value=\"" + Escape(value) +
         "\" " + rest + "></label>\n";
}

std::string ItemRows(const Account& account, const Json& session) {
  std::string rows;
  const auto book = account.sessions.find(TextOf(session, "id"));
  if (book == account.sessions.end()) return rows;
  for (const Json& item : book->second.line_items) {
    const Json& recurring = Member(Member(item, "price"), "recurring");
    const std::string every = recurring.IsNull()
                                  ? ""
                                  : " every " + std::to_string(IntOf(recurring, "interval_count")) +
                                        ' ' + TextOf(recurring, "interval");
    rows +=
        "<tr><td>" + Escape(TextOf(item, "description")) + "</td><td>" +
        std::to_string(IntOf(item, "quantity")) + "</td><td>" +
        Escape(AmountText(IntOf(Member(item, "price"), "unit_amount"), TextOf(item, "currency")) +
               every) +
        "</td></tr>\n";
  }
  return rows;
}

std::string FormOf(const Account& account, const Json& session, const Params& params) {
  const Json* customer = account.store.Find(Kind::kCustomer, TextOf(session, "customer"));
  const bool known = (customer != nullptr && !TextOf(*customer, "email").empty()) ||
                     !TextOf(session, "customer_email").empty();
  const auto typed = [&](const char* name) {
    const Answered<std::optional<std::string>> text = params.MaybeText(name);
    return text ? text->value_or("") : std::string();
  };
  std::string form = "<form method=\"post\">\n";
  if (!known) {
    form +=
        Field("email", "E-mail", "type=\"email\" autocomplete=\"email\" required", typed("email"));
  }
  form += Field("name", "Name", "autocomplete=\"name\"", typed("name"));
  if (IsTrue(Member(session, "tax_id_collection"), "enabled")) {
    form +=
        Field("business_name", "Company", "autocomplete=\"organization\"", typed("business_name"));
    form += Field("tax_id", "Tax id", "", typed("tax_id"));
  }
  form += "<fieldset><legend>What the card does</legend>\n";
  for (const Choice& choice : kChoices) {
    if (!choice.card && !MayGoWithoutCard(session)) continue;
    form += "<button name=\"outcome\" value=\"" + std::string(choice.outcome) + "\">" +
            std::string(choice.button) + "</button>\n";
  }
  return form + "</fieldset></form>\n";
}

Page Show(const Account& account, const Json& session, const Params& params, int status,
          const std::string& fault) {
  std::string main;
  if (!fault.empty()) main += "<p role=\"alert\">" + Escape(fault) + "</p>\n";
  main +=
      "<table><thead><tr><th scope=\"col\">Item</th><th scope=\"col\">Quantity</th>"
      "<th scope=\"col\">Price</th></tr></thead><tbody>\n" +
      ItemRows(account, session) + "</tbody></table>\n<p>Due now: <strong>" +
      Escape(AmountText(IntOf(session, "amount_total"), TextOf(session, "currency"))) +
      "</strong></p>\n" + FormOf(account, session, params);
  const std::string cancel = TextOf(session, "cancel_url");
  if (!cancel.empty()) main += "<p><a href=\"" + Escape(cancel) + "\">Back to the shop</a></p>\n";
  return HtmlPage(status, "Pay", main);
}

// What the form says, over what is known of `buyer`.
Page Submit(Account& account, Json& session, const Params& params, Buyer buyer) {
  const struct {
    const char* name;
    std::string* to;
  } fields[] = {{"email", &buyer.email},
                {"name", &buyer.name},
                {"business_name", &buyer.business},
                {"tax_id", &buyer.tax_id}};
  for (const auto& field : fields) {
    Answered<std::optional<std::string>> text = params.MaybeText(field.name);
    if (text && *text) *field.to = **std::move(text);
  }
  const Answered<std::optional<std::string>> outcome = params.MaybeText("outcome");
  const Choice* choice = ChoiceOf(outcome ? outcome->value_or("paid") : "");
  if (choice == nullptr) return Show(account, session, params, 400, "No such outcome.");
  buyer.card = choice->card;
  const Answered<> paid = Pay(account, session, buyer);
  if (!paid) return Show(account, session, params, paid.error().status, paid.error().message);
  return SeeOther(SuccessUrl(session));
}

}  // namespace

Page CheckoutPage(Account& account, Json& session, CheckoutStep step, const Params& params) {
  const std::string status = TextOf(session, "status");
  if (status == "complete") return SeeOther(SuccessUrl(session));
  if (status == "expired") {
    return HtmlPage(410, "Expired", "<p>This page has expired. Go back to the shop.</p>");
  }
  if (step == CheckoutStep::kLook) return Show(account, session, params, 200, "");
  Buyer buyer;
  if (step == CheckoutStep::kComplete) buyer.email = kNobodysEmail;
  return Submit(account, session, params, std::move(buyer));
}

}  // namespace pontage::sandbox::stripe
