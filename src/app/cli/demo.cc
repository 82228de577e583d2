#include "app/demo.h"

#include <array>
#include <unistd.h>

#include "app/cli/commands.h"
#include "sandbox/identity.h"

namespace pontage::app {
namespace {

using codec::Json;

// How to call this program from anywhere.
std::string ThisProgram() {
  std::array<char, 4096> path{};
  const ssize_t n = readlink("/proc/self/exe", path.data(), path.size() - 1);
  if (n <= 0) return "pontage";
  return {path.data(), static_cast<size_t>(n)};
}

std::string Snippet(const Demo& demo, const std::string& key) {
  return "mkdir -p /tmp/pontage-try && cd /tmp/pontage-try\n"
         "npm install --no-audit --no-fund @x402/fetch@2.27.0 @x402/evm@2.27.0 viem@2.55.0\n"
         "cat > buy.mjs <<'END'\n"
         "import { ExactEvmScheme } from \"@x402/evm\";\n"
         "import { wrapFetchWithPaymentFromConfig } from \"@x402/fetch\";\n"
         "import { privateKeyToAccount } from \"viem/accounts\";\n"
         "const client = new ExactEvmScheme(privateKeyToAccount(\"" +
         key +
         "\"));\n"
         "const schemes = [{ network: \"eip155:84532\", client }];\n"
         "const pay = wrapFetchWithPaymentFromConfig(fetch, { schemes });\n"
         "const answer = await pay(\"" +
         demo.paid_url() +
         "\");\n"
         "console.log(answer.status, await answer.text(), "
         "answer.headers.get(\"payment-response\"));\n"
         "END\n"
         "node buy.mjs";
}

Json Machine(Demo& demo, const buyer::Purchase& bought, const DemoShop::Bought& license,
             const std::string& key) {
  return Json::Object({{"event", "demo.ready"},
                       {"url", demo.url()},
                       {"metrics", demo.metrics_url()},
                       {"rpc", demo.rpc()},
                       {"config", demo.config_path()},
                       {"paid_url", demo.paid_url()},
                       {"buyer_key", key},
                       {"stripe", demo.shop().stripe_url()},
                       {"mailbox", demo.shop().mailbox_url()},
                       {"license", Json::Object({{"plan", demo.shop().plan()},
                                                 {"license", license.license},
                                                 {"mail", license.mail_id},
                                                 {"status", license.status},
                                                 {"body", license.body}})},
                       {"payment", Json::Object({{"outcome", buyer::ToString(bought.outcome)},
                                                 {"status", bought.status},
                                                 {"price", bought.choice->price.ToString()},
                                                 {"transaction", bought.receipt->transaction},
                                                 {"proven", bought.proven},
                                                 {"body", bought.body}})}});
}

// The story so far and the three things to try next. Printed the same to a file as to a terminal:
// whoever reads it pastes from it.
void Tell(Demo& demo, const buyer::Purchase& bought, const DemoShop::Bought& license) {
  PrintLine(
      "Pontage is up, with a chain, a Stripe and a mailbox of its own, and a sample API behind "
      "it.\n");
  PrintLine("  gateway      " + demo.url() + "   GET /v1/quotes/* costs $0.001, /status is free");
  PrintLine("  metrics      " + demo.metrics_url() + "/metrics");
  PrintLine("  chain (rpc)  " + demo.rpc() + "   Base Sepolia's id and USDC, offline");
  PrintLine("  price list   " + demo.url() + "/billing   a license for $29 a month, by card");
  PrintLine("  mailbox      " + demo.shop().mailbox_url() + "   where the licenses arrive");
  PrintLine("  books        " + demo.config_path() + " (gone when the demo ends)\n");
  PrintLine("One call was just bought:\n");
  PrintLine("  GET " + demo.paid_url());
  PrintLine("  402  asks for " + bought.choice->price.ToString() + " = " +
            bought.choice->requirements.amount.ToDecimal() + " atomic units of " +
            bought.choice->asset.symbol);
  PrintLine("  200  " + bought.body.substr(0, bought.body.find('\n')));
  PrintLine("       receipt: transaction " + bought.receipt->transaction);
  PrintLine("       seen on the chain; the seller now has " +
            demo.chain().BalanceOf(sandbox::IdentityOf("seller").address).ToDecimal() +
            " atomic units\n");
  PrintLine("And a license, with a test card:\n");
  PrintLine("  POST " + demo.url() + "/billing/checkout, paid at Stripe's page");
  PrintLine("  mail \"" + license.subject + "\": " + demo.shop().mailbox_url() + "/mail/" +
            license.mail_id);
  PrintLine("  GET " + demo.paid_url() + " with it");
  PrintLine("  " + std::to_string(license.status) + "  " +
            license.body.substr(0, license.body.find('\n')) + "\n");
}

void TellNext(Demo& demo, const std::string& key, const std::string& license, bool once) {
  const std::string program = ThisProgram();
  PrintLine(once ? "Try next, with the demo started again without --once:\n" : "Try next:\n");
  PrintLine("1. See what it costs, as anybody's client does:\n");
  PrintLine("curl -i " + demo.paid_url() + "\n");
  PrintLine("2. Buy it with the official client (Node 20 or newer):\n");
  PrintLine(Snippet(demo, key) + "\n");
  PrintLine("3. Buy it from the shell, then ask the books what happened:\n");
  PrintLine("PONTAGE_BUYER_KEY=" + key + " " + program + " pay " + demo.paid_url());
  PrintLine(program + " payments --config " + demo.config_path() + "\n");
  PrintLine("4. Show the license that was bought, as curl and every SDK can:\n");
  PrintLine("curl -i -H 'Authorization: Bearer " + license + "' " + demo.paid_url() + "\n");
  PrintLine("5. Buy one yourself, in a browser, with a test card; the mail is in the mailbox:\n");
  PrintLine("  " + demo.url() + "/billing");
  PrintLine("  " + demo.shop().mailbox_url() + "\n");
  PrintLine("The key is the sandbox buyer's: public, and worth nothing anywhere else.");
}

}  // namespace

int RunDemo(const CommonOptions& common, const DemoOptions& options) {
  BlockSignals();
  auto demo = Demo::Start(static_cast<uint16_t>(options.port), Clock::System(), Rng::System());
  if (!demo) return FailWith(common, demo.error());
  const auto bought = (*demo)->BuyOnce();
  if (!bought) return FailWith(common, bought.error());
  if (bought->outcome != buyer::Outcome::kPaid || !bought->proven) {
    return FailWith(common, Error(Code::kInternal, "the demo's purchase ended as " +
                                                       std::string(ToString(bought->outcome)) +
                                                       ": " + bought->why));
  }
  const auto license = (*demo)->BuyLicense();
  if (!license) return FailWith(common, license.error());
  if (license->status != 200) {
    return FailWith(common,
                    Error(Code::kInternal, "the demo's license opened nothing: " + license->body));
  }
  const std::string key(sandbox::IdentityOf("buyer").key.ToHex().Reveal());
  if (common.json) {
    PrintJson(Machine(**demo, *bought, *license, key));
  } else {
    Tell(**demo, *bought, *license);
    TellNext(**demo, key, license->license, options.once);
  }
  if (options.once) return kDone;
  if (!common.json) PrintLine("Ctrl-C ends the demo.");
  while (WaitForSignal(Millis(60'000)) == 0) {
  }
  return kDone;
}

}  // namespace pontage::app
