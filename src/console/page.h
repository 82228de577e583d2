#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/time.h"
#include "console/html.h"
#include "console/keys.h"
#include "web/answer.h"

// What all pages of the console have in common: head, navigation, one style sheet, forms. No
// script, and nothing that is not in the page itself.
namespace pontage::console {

enum class Section : uint8_t {
  kHome,
  kCustomers,
  kPayments,
  kEvents,
  kOutbox,
  kDrift,
  kAudit,
  kCommands,
};

// Who looks.
struct Viewer {
  std::string name;  // of the key
  Scopes scopes;
  std::string csrf;  // of the session
  UnixMs now;
  // Of the form's verb, should it be sent: one page is one order, however often it is sent.
  std::string idempotency_key;
};

// A whole page. `title` is the heading, too.
std::string RenderPage(const Viewer& viewer, Section section, std::string_view title,
                       const Html& body);
// Looks again by itself every so many seconds.
std::string RenderWaitingPage(const Viewer& viewer, Section section, std::string_view title,
                              const Html& body);

// `fault` empty: nothing was tried yet. `next`: where it leads, of SafeNext.
std::string LoginPage(std::string_view fault, std::string_view next);
// With a way back to `back`.
std::string FaultPage(const Viewer& viewer, const Error& error, std::string_view back);

// Where a login may lead: a path of ours; "/admin" for all else.
std::string SafeNext(std::string_view next);

// A page with the headers of all of them: nothing but our own style is loaded, forms go to
// ourselves, nobody frames it, nobody keeps it.
web::Answer ConsolePage(int status, std::string html);
// To another of ours, which is asked for with GET.
web::Answer LeadTo(std::string_view url);

// ---- Pieces

// A form that changes something: posts to `action`, with the session's token and the page's
// idempotency key around `fields` and a button. `grave`: what it does cannot be taken back.
struct Order {
  std::string action;
  std::string_view button;
  bool grave = false;
};
Html OrderForm(const Viewer& viewer, const Order& order, const Html& fields);
// The form behind a summary line, closed.
Html Folded(std::string_view summary, const Html& content);
Html ReasonField(bool required);

// The box that finds customers and payments; `search` is what was looked for.
Html SearchBox(std::string_view search, bool focus);

// "Label  value", a line of a Facts list.
class Facts {
 public:
  // Nothing for an empty value.
  Facts& Add(std::string_view label, std::string_view value);
  Facts& Add(std::string_view label, const Html& value);
  Html Done() &&;

 private:
  Html lines_;
};

// One line of a list: what it is and what belongs to it on the left, how it stands on the right.
struct Line {
  std::string href;  // empty: leads nowhere
  std::string title;
  Html below = {};
  std::string amount = {};
  Html state = {};
  Html behind = {};  // forms
};
class Lines {
 public:
  Lines& Add(const Line& line);
  bool empty() const { return lines_.empty(); }
  // `none` says that there are none.
  Html Done(std::string_view none) &&;

 private:
  Html lines_;
};

Html Heading(std::string_view text);
// A link to the page behind this one; nothing when `url` is empty.
Html More(std::string_view url, std::string_view text);
// Words that narrow a list, the one in force marked.
struct Choice {
  std::string_view word;
  std::string url;
  bool here = false;
};
Html Choices(std::string_view label, std::initializer_list<Choice> choices);
// A link that leaves: only http and https, and nobody learns from where.
Html Outside(std::string_view url, std::string_view text);

// At most so many characters of it, then "…": lists stay short whatever somebody calls himself.
std::string Short(std::string_view text, size_t most);
// "0x8ba1f1…4DBA72" of an address or a hash; other texts as they are.
std::string ShortHex(std::string_view text);
// A long word may break behind its dots and the like.
Html Breakable(std::string_view text);

}  // namespace pontage::console
