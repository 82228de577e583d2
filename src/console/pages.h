#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "codec/json.h"
#include "console/page.h"
#include "console/queries.h"

// Each page of the console, from what the store says to HTML. Pure; whatever scopes the viewer does
// not have, the forms that need them are not there. The longest of them stays below 50 KiB.
namespace pontage::console {

// Lines of a list that stands among others.
inline constexpr size_t kFewRows = 10;
// Lines of a page's one list.
inline constexpr size_t kPageRows = 40;
// Of the audit, whose lines say what changed.
inline constexpr size_t kAuditRows = 20;

// First a place to look for somebody, then what waits for a person, then the latest payments.
std::string HomePage(const Viewer& viewer, const Overview& overview,
                     const std::vector<PaymentRow>& latest);

std::string CustomersPage(const Viewer& viewer, std::string_view search,
                          const Page<license::Customer>& found);
// First whether the last payment went through.
std::string CustomerPage(const Viewer& viewer, const CustomerWhole& customer);

// `last`: the latest paid invoice of the license's purchase, from which money can go back.
std::string LicensePage(const Viewer& viewer, const LicenseWhole& whole,
                        const std::optional<license::InvoiceRow>& last);
std::string IssuePage(const Viewer& viewer, const std::vector<std::string>& plans);

std::string PaymentsPage(const Viewer& viewer, const PaymentAsk& ask, const Page<PaymentRow>& page);
std::string ChainPaymentPage(const Viewer& viewer, const ChainPayment& payment);

std::string EventsPage(const Viewer& viewer, const Queries::EventAsk& ask,
                       const Page<license::EventRow>& page);
std::string EventPage(const Viewer& viewer, const Queries::EventShown& event);

std::string OutboxPage(const Viewer& viewer, const Queries::MailAsk& ask,
                       const Page<license::MailRow>& page);

std::string CommandsPage(const Viewer& viewer, const Queries::CommandAsk& ask,
                         const Page<ledger::Command>& page);
// What became of an order; looks again by itself until it is over. `result` as Done has it.
std::string CommandPage(const Viewer& viewer, const ledger::Command& command,
                        const codec::Json& result);

std::string DriftPage(const Viewer& viewer, const std::optional<DriftReport>& drift);
std::string AuditPage(const Viewer& viewer, std::string_view subject,
                      const Page<ledger::AuditRow>& page, const AuditState& state);

// ---- What they share

// The words of our tables and of Stripe, and what they mean to a person.
Html StateBadge(std::string_view state);
// "past_due" as people say it.
std::string Spoken(std::string_view word);
Html PaymentLines(const Viewer& viewer, const std::vector<PaymentRow>& rows, std::string_view none);
Html CommandLines(const Viewer& viewer, const std::vector<ledger::Command>& rows, size_t most);
Html AuditLines(const Viewer& viewer, const std::vector<ledger::AuditRow>& rows, size_t most);
Html MailLines(const Viewer& viewer, const std::vector<license::MailRow>& rows, size_t most);
Html RefundLines(const Viewer& viewer, const std::vector<license::Refund>& rows, size_t most);
// A document, a line for each value; cut where it gets too long for a page.
Html JsonBlock(const codec::Json& json);

}  // namespace pontage::console
