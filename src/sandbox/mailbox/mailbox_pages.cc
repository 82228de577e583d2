// The mailbox for people with a browser. Whatever came in a mail is shown as text.
#include <utility>

#include "codec/text.h"
#include "sandbox/mailbox/mailbox.h"
#include "sandbox/mailbox/mailbox_json.h"

namespace pontage::sandbox {
namespace {

using codec::EscapeHtml;

constexpr size_t kShown = 200;  // of the newest

Mailbox::Answer PageOf(std::string_view title, const std::string& content) {
  Mailbox::Answer answer;
  answer.type = "text/html; charset=utf-8";
  // Nothing of a mail could run or be fetched, should it ever slip through.
  answer.headers.Add("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
  answer.headers.Add("X-Content-Type-Options", "nosniff");
  answer.headers.Add("Referrer-Policy", "no-referrer");
  answer.body =
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>" +
      EscapeHtml(title) +
      "</title><style>body{font:1rem/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;"
      "padding:0 1rem}table{border-collapse:collapse;width:100%}td,th{text-align:left;"
      "padding:.3rem .6rem;border-bottom:1px solid #ccc;vertical-align:top}"
      "pre{white-space:pre-wrap;word-break:break-all;background:#f4f4f4;padding:1rem}"
      "</style></head><body>" +
      content + "</body></html>\n";
  return answer;
}

std::string Recipients(const MailboxMail& mail) {
  std::string all;
  for (const std::string& one : mail.to) all += (all.empty() ? "" : ", ") + one;
  return EscapeHtml(codec::AsUtf8(all));
}

std::string Row(std::string_view name, std::string_view value) {
  return "<tr><th>" + std::string(name) + "</th><td>" + EscapeHtml(codec::AsUtf8(value)) +
         "</td></tr>\n";
}

}  // namespace

Mailbox::Answer Mailbox::Page() const {
  std::string content = "<h1>Mailbox</h1>\n";
  if (mails_.empty()) {
    return PageOf("Mailbox", content + "<p>No mail yet.</p>");
  }
  content += "<table><tr><th>When</th><th>To</th><th>Subject</th><th>By</th></tr>\n";
  size_t shown = 0;
  for (auto mail = mails_.rbegin(); mail != mails_.rend() && shown < kShown; ++mail, ++shown) {
    content += "<tr><td>" + mail->at.Rfc3339() + "</td><td>" + Recipients(*mail) +
               "</td><td><a href=\"/mail/" + mail->id + "\">" +
               EscapeHtml(codec::AsUtf8(mail->subject)) + "</a></td><td>" + mail->via +
               (mail->last_event == "delivered" ? "" : ", " + mail->last_event) + "</td></tr>\n";
  }
  return PageOf("Mailbox", content + "</table>");
}

Mailbox::Answer Mailbox::MailPage(std::string_view id) const {
  constexpr std::string_view kRaw = "/raw";
  const bool raw = id.ends_with(kRaw);
  if (raw) id.remove_suffix(kRaw.size());
  const MailboxMail* const mail = Find(id);
  if (mail == nullptr) {
    Answer answer = PageOf("No such mail", "<h1>No such mail</h1>");
    answer.status = 404;
    return answer;
  }
  if (raw) {
    Answer answer;
    answer.type = "text/plain; charset=utf-8";
    answer.headers.Add("X-Content-Type-Options", "nosniff");
    answer.body = mail->raw;
    return answer;
  }
  const std::string subject = codec::AsUtf8(mail->subject);
  std::string content = "<p><a href=\"/\">All mails</a></p><h1>" + EscapeHtml(subject) +
                        "</h1>\n<table>\n" + Row("From", mail->from) + "<tr><th>To</th><td>" +
                        Recipients(*mail) + "</td></tr>\n" + Row("When", mail->at.Rfc3339()) +
                        Row("By", mail->via) + Row("Became", mail->last_event);
  if (!mail->idempotency_key.empty()) content += Row("Idempotency-Key", mail->idempotency_key);
  content += "</table>\n<h2>Text</h2>\n<pre>" + EscapeHtml(codec::AsUtf8(mail->text)) + "</pre>\n";
  if (!mail->html.empty()) {
    content += "<details><summary>HTML, as it came</summary><pre>" +
               EscapeHtml(codec::AsUtf8(mail->html)) + "</pre></details>\n";
  }
  if (!mail->raw.empty()) {
    content += "<p><a href=\"/mail/" + mail->id + "/raw\">As it came over SMTP</a></p>\n";
  }
  return PageOf(subject, content);
}

}  // namespace pontage::sandbox
