// What differed between Stripe and our books, from the report of reconciling.
#include <algorithm>
#include <utility>

#include "console/pages.h"

namespace pontage::console {
namespace {

using codec::Json;

// "license_missing" → "License missing", of words that a report has.
std::string Named(std::string_view word) {
  std::string text = Spoken(word);
  if (!text.empty() && text.front() >= 'a' && text.front() <= 'z') {
    text.front() = static_cast<char>(text.front() - 'a' + 'A');
  }
  return text;
}

std::string TextOf(const Json& json, std::string_view member) {
  const Json* const found = json.Find(member);
  if (found == nullptr || found->IsNull()) return "";
  if (found->AsString() != nullptr) return *found->AsString();
  return codec::ToString(*found);
}

// The rows of a list of the report, at most `most`.
template <typename F>
Html ReportLines(const Json& report, std::string_view member, size_t most, F line) {
  Lines lines;
  const Json* const list = report.Find(member);
  const std::vector<Json>* const items = list == nullptr ? nullptr : list->AsArray();
  for (size_t i = 0; items != nullptr && i < std::min(items->size(), most); ++i) {
    lines.Add(line((*items)[i]));
  }
  return std::move(lines).Done("Nothing.");
}

bool IsTrue(const Json& json, std::string_view member) {
  const Json* const found = json.Find(member);
  return found != nullptr && found->AsBool() != nullptr && *found->AsBool();
}

int64_t NumberIn(const Json& json, std::string_view member) {
  const Json* const found = json.Find(member);
  return found == nullptr ? 0 : found->AsInt64().value_or(0);
}

Line DriftLine(const Json& one) {
  Html below;
  below << Text(Short(TextOf(one, "what"), 80)) << "<br>"
        << Text(Short(TextOf(one, "detail"), 200));
  const std::string last = TextOf(one, "last_at");
  if (!last.empty()) below << "<br>last " << Text(Short(last, 40));
  return {.href = "",
          .title = Named(TextOf(one, "class")),
          .below = below,
          .state = StateBadge(IsTrue(one, "healed") ? "healed" : "differs")};
}

Line PriceLine(const Json& one) {
  Html below;
  below << "here " << Text(Short(TextOf(one, "ours"), 40)) << ", at Stripe "
        << Text(Short(TextOf(one, "stripe"), 40));
  return {.href = "", .title = TextOf(one, "plan"), .below = below, .state = StateBadge("differs")};
}

Line LoopLine(const Json& one) {
  Html below;
  below << NumberIn(one, "looked_at") << " looked at, " << NumberIn(one, "drift") << " differed, "
        << NumberIn(one, "healed") << " mended<br>" << Text(Short(TextOf(one, "ended_at"), 40));
  const std::string fault = TextOf(one, "fault");
  if (!fault.empty()) below << "<br>" << Text(Short(fault, 200));
  return {.href = "",
          .title = Named(TextOf(one, "loop")),
          .below = below,
          .state = StateBadge(IsTrue(one, "complete") ? "complete" : "failed")};
}

}  // namespace

std::string DriftPage(const Viewer& viewer, const std::optional<DriftReport>& drift) {
  Html body;
  if (!drift) {
    body << "<div class=\"say dim\"><b>No report yet</b>Stripe and our books have not been "
            "compared.</div>";
    return RenderPage(viewer, Section::kDrift, "Stripe and our books", body);
  }
  const Json& report = drift->report;
  const int64_t differed = NumberIn(report, "drift");
  const int64_t open = std::max<int64_t>(0, differed - NumberIn(report, "healed"));
  const Json* const prices = report.Find("prices");
  const bool mispriced =
      prices != nullptr && prices->AsArray() != nullptr && !prices->AsArray()->empty();
  if (open > 0) {
    body << "<div class=\"say bad\"><b>✗ " << open << " differ</b>";
  } else if (mispriced) {
    body << "<div class=\"say bad\"><b>✗ Prices differ</b>";
  } else if (differed > 0) {
    body << "<div class=\"say wait\"><b>✓ " << differed << " differed and were mended</b>";
  } else {
    body << "<div class=\"say ok\"><b>✓ They agree</b>";
  }
  body << "Compared " << When(drift->at, viewer.now);
  if (IsTrue(report, "alarm")) body << "<br>Something was found twice in a row: look into it.";
  body << "</div>";
  if (mispriced) {
    body << Heading("Prices") << ReportLines(report, "prices", kFewRows, PriceLine);
  }
  body << Heading("What differed") << ReportLines(report, "recent", kAuditRows, DriftLine)
       << Heading("Comparisons") << ReportLines(report, "loops", kFewRows, LoopLine);
  return RenderPage(viewer, Section::kDrift, "Stripe and our books", body);
}

}  // namespace pontage::console
