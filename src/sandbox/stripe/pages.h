#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "codec/json.h"
#include "codec/text.h"
#include "sandbox/stripe/account.h"
#include "sandbox/stripe/params.h"

namespace pontage::sandbox::stripe {

// What a browser gets: the hosted checkout, the portal, an invoice. Everything is in the page;
// texts of others are escaped. For people to click through and for tests to post to.
struct Page {
  int status = 200;
  std::string content_type = "text/html; charset=utf-8";
  std::string body;
  std::string location = {};  // of a 303
};

// `path` without its query. 404 for what is none of ours, 405 for other methods than GET and POST.
Page ServePage(Account& account, std::string_view method, std::string_view path,
               const Params& params);

// What somebody wants of a hosted checkout: to see it, to send its form, or, as a test does in one
// call, to complete it with an outcome alone.
enum class CheckoutStep : uint8_t { kLook, kSend, kComplete };

// The parts, each in a file of its name. `post`: the form was sent, its fields are `params`.
Page CheckoutPage(Account& account, codec::Json& session, CheckoutStep step, const Params& params);
Page PortalPage(Account& account, const codec::Json& session, bool post, const Params& params);
Page InvoicePage(Account& account, codec::Json& invoice, bool post);
Page InvoicePdf(const codec::Json& invoice);

// Collects an open invoice with a new, good card, which becomes its subscription's.
void PayOpenInvoice(Account& account, codec::Json& invoice);

// For the parts.
inline std::string Escape(std::string_view text) { return codec::EscapeHtml(text); }
Page HtmlPage(int status, const std::string& title, const std::string& main);
Page SeeOther(std::string location);
// "$29.00", "29.00 EUR": of whole minor units.
std::string AmountText(int64_t amount, std::string_view currency);
// "2026-10-28" of seconds.
std::string DateText(int64_t seconds);

}  // namespace pontage::sandbox::stripe
