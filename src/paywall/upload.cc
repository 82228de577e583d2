#include "paywall/upload.h"

#include <array>

#include "base/try.h"
#include "crypto/hash.h"

namespace pontage::paywall {
namespace {

// Each part with its size in front, so that no two lists of parts read alike.
void Part(std::string& out, std::string_view part) {
  out.append(std::to_string(part.size())).append(":").append(part);
}

}  // namespace

Task<std::string_view> Upload::Read(Deadline by) {
  if (!given_ && !first_.empty()) {
    given_ = true;
    co_return std::string_view(first_);
  }
  if (ended_) co_return std::string_view();
  waiting_ = true;
  const Result<std::string_view> piece = co_await rest_.Read(by);
  waiting_ = false;
  failed_ = failed_ || !piece;
  ended_ = piece && piece->empty();
  co_return piece;
}

std::optional<uint64_t> Upload::length() const {
  if (ended_ && !trailing()) return first_.size();
  return rest_.length();
}

Task<Captured> Capture(net::BodySource& body, size_t max, Deadline by) {
  Captured captured;
  captured.whole = body.empty();
  while (!captured.whole && captured.first.size() <= max) {
    PTG_CO_TRY(const std::string_view piece, co_await body.Read(by));
    captured.whole = piece.empty();
    captured.first.append(piece);
  }
  captured.body = std::make_unique<Upload>(captured.first, captured.whole, body);
  co_return captured;
}

ledger::Digest RequestDigest(std::string_view method, std::string_view resource,
                             const net::Headers& headers, const Captured& captured) {
  std::string head;
  Part(head, captured.whole ? "whole" : "begun");
  Part(head, method);
  Part(head, resource);
  for (const std::string_view name : {"Content-Type", "Content-Encoding", "Range", "If-Range"}) {
    for (size_t i = 0; i < headers.size(); ++i) {
      const net::Headers::Field field = headers.at(i);
      if (!net::EqualsNoCase(field.name, name)) continue;
      Part(head, name);
      Part(head, field.value);
    }
  }
  if (captured.whole && captured.body != nullptr) {
    const net::Headers& trailers = captured.body->trailers();
    for (size_t i = 0; i < trailers.size(); ++i) {
      Part(head, trailers.at(i).name);
      Part(head, trailers.at(i).value);
    }
  }
  Part(head, "");
  return crypto::Sha256({codec::AsBytes(head), codec::AsBytes(captured.first)});
}

}  // namespace pontage::paywall
