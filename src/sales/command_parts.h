#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/time.h"
#include "codec/json.h"
#include "ledger/audit.h"
#include "ledger/command_queue.h"

// What the parts of CommandWorker share; nobody else includes this.
namespace pontage::sales {

// What the console wrote; another writer's mistake is no reason to stop.
struct Payload {
  codec::Json json;
  std::string Text(std::string_view key) const {
    const codec::Json* value = json.Find(key);
    const std::string* text = value == nullptr ? nullptr : value->AsString();
    return text == nullptr ? std::string() : *text;
  }
  int64_t Int(std::string_view key) const {
    const codec::Json* value = json.Find(key);
    return value == nullptr ? 0 : value->AsInt64().value_or(0);
  }
  bool Is(std::string_view key) const {
    const codec::Json* value = json.Find(key);
    const bool* set = value == nullptr ? nullptr : value->AsBool();
    return set != nullptr && *set;
  }
};
inline Payload PayloadOf(const ledger::Command& command) {
  Result<codec::Json> json = codec::ParseJson(command.payload);
  return {json ? *std::move(json) : codec::Json::Object()};
}

inline ledger::AuditEntry AuditOf(const ledger::Command& command, std::string_view end,
                                  std::string before, std::string after) {
  return {.actor = command.actor,
          .verb = command.verb + "." + std::string(end),
          .subject = command.subject,
          .before = std::move(before),
          .after = std::move(after),
          .reason = PayloadOf(command).Text("reason"),
          .request_id = command.request_id};
}

inline Error NoStripe() {
  return Error(Code::kConflict, "there is no key of Stripe's here").Want("[stripe] api_key");
}

}  // namespace pontage::sales
