#include <future>

#include "app/cli/commands.h"
#include "app/compose.h"
#include "app/local_server.h"
#include "io/socket.h"
#include "sandbox/dev_chain.h"
#include "sandbox/mailbox/mailbox.h"
#include "sandbox/stripe/double.h"

namespace pontage::app {
namespace {

using codec::Json;

// Where everything of the sandbox is.
struct Doors {
  std::string rpc;
  std::string stripe;
  std::string mailbox;
  std::string smtp;  // host and port
};

Json ToJson(sandbox::DevChain& chain, const Doors& doors) {
  Json identities = Json::Array();
  for (const sandbox::Identity& who : sandbox::Identities()) {
    identities.Push(Json::Object({{"name", who.name},
                                  {"address", who.address.ToChecksum()},
                                  {"key", who.key_text},
                                  {"usdc", chain.BalanceOf(who.address).ToDecimal()}}));
  }
  return Json::Object({{"event", "sandbox.ready"},
                       {"rpc", doors.rpc},
                       {"chain_id", chain.chain_id()},
                       {"network", chain::ChainId::Evm(chain.chain_id()).Caip2()},
                       {"usdc", chain.usdc().ToChecksum()},
                       {"identities", std::move(identities)},
                       {"stripe", doors.stripe},
                       {"mailbox", doors.mailbox},
                       {"smtp", doors.smtp}});
}

void Announce(const CommonOptions& common, sandbox::DevChain& chain, const Doors& doors) {
  if (WantsJson(common)) return PrintJson(ToJson(chain, doors));
  PrintLine("Sandbox chain " + std::to_string(chain.chain_id()) + " at " + doors.rpc +
            ", USDC at " + chain.usdc().ToChecksum() +
            ". The keys are public and worth nothing.\n");
  std::vector<std::vector<std::string>> rows;
  for (const sandbox::Identity& who : sandbox::Identities()) {
    rows.push_back({who.name, who.address.ToChecksum(), who.key_text,
                    chain.BalanceOf(who.address).ToDecimal()});
  }
  PrintLine(FormatTable({"WHO", "ADDRESS", "KEY", "USDC (ATOMIC)"}, rows));
  PrintLine("Stripe's double at " + doors.stripe + "; any sk_test_... is a key.");
  PrintLine("A mailbox at " + doors.mailbox + " (a browser reads it), SMTP at " + doors.smtp + ".");
}

// The mailbox's second door, on the current loop; says its port once it listens.
Task<> ServeSmtp(sandbox::Mailbox& mailbox, std::promise<Result<uint16_t>>& port) {
  const Result<SocketAddress> address = SocketAddress::ParseListen("127.0.0.1:0");
  Result<Listener> listener = Fail(Code::kConnection, "no address for SMTP");
  if (address) listener = Listener::Open(*Loop::Current(), *address);
  if (!listener) {
    port.set_value(Fail(listener.error()));
    co_return {};
  }
  port.set_value(listener->port());
  co_return co_await sandbox::RunSmtp(mailbox, *listener);
}

std::string At(int64_t port) { return "127.0.0.1:" + std::to_string(port); }

// Until somebody ends the sandbox.
int Serve(const CommonOptions& common, const SandboxOptions& options, sandbox::DevChain& chain) {
  // Also without a block time: evm_setIntervalMining gives it one.
  const std::function<Task<>()> blocks = [&chain] { return chain.RunBlocks(); };
  const auto rpc = LocalServer::Start(At(options.port), sandbox::RpcHandler(chain), blocks);
  if (!rpc) return FailWith(common, rpc.error());
  sandbox::StripeDouble stripe(Clock::System(), Rng::System());
  const std::function<Task<>()> deliveries = [&stripe] { return stripe.RunDeliveries(); };
  const auto payments =
      LocalServer::Start(At(options.stripe_port), sandbox::StripeHandler(stripe), deliveries);
  if (!payments) return FailWith(common, payments.error());
  stripe.ServeAt((*payments)->url());
  sandbox::Mailbox mailbox(Clock::System());
  std::promise<Result<uint16_t>> smtp_said;
  const std::function<Task<>()> smtp = [&mailbox, &smtp_said] {
    return ServeSmtp(mailbox, smtp_said);
  };
  const auto mails =
      LocalServer::Start(At(options.mail_port), sandbox::MailboxHandler(mailbox), smtp);
  if (!mails) return FailWith(common, mails.error());
  const Result<uint16_t> smtp_port = smtp_said.get_future().get();
  if (!smtp_port) return FailWith(common, smtp_port.error());
  Announce(common, chain,
           {.rpc = (*rpc)->url(),
            .stripe = (*payments)->url(),
            .mailbox = (*mails)->url(),
            .smtp = At(*smtp_port)});
  // SIGHUP too: a terminal that goes takes its sandbox along.
  while (WaitForSignal(Millis(60'000)) == 0) {
  }
  return kDone;
}

}  // namespace

int Sandbox(const CommonOptions& common, const SandboxOptions& options) {
  sandbox::DevChainOptions chain_options;
  chain_options.chain_id = static_cast<uint64_t>(options.chain_id);
  if (!options.block_time.empty()) {
    const auto time = ParseDuration(options.block_time);
    if (!time || *time < Millis(10)) {
      return FailWith(common, Error(Code::kUsage, "--block-time " + options.block_time)
                                  .Want("a duration of at least 10ms, \"1s\""));
    }
    chain_options.block_time = *time;
  }
  BlockSignals();
  sandbox::DevChain chain(chain_options, Clock::System());
  return Serve(common, options, chain);
}

}  // namespace pontage::app
