#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

#include "app/cli/commands.h"
#include "app/sales_wiring.h"
#include "base/try.h"
#include "io/runtime.h"
#include "sales/setup.h"
#include "wire/problem/error_map.h"

// `pontage stripe setup`.
namespace pontage::app {
namespace {

using codec::Json;

// A new file that only its owner reads.
Result<> WriteSecret(const std::string& path, const Secret& secret) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return Fail(Code::kConfig, "cannot create " + path + ": " + std::strerror(errno));
  const std::string_view text = secret.Reveal();
  const bool whole = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (close(fd) == 0 && whole) return {};
  unlink(path.c_str());
  return Fail(Code::kConfig, "cannot write " + path);
}

Json ToJson(const sales::SetupReport& report) {
  Json steps = Json::Array();
  for (const sales::SetupStep& step : report.steps) {
    steps.Push(Json::Object({{"what", step.what},
                             {"name", step.name},
                             {"id", step.id},
                             {"action", step.action},
                             {"detail", step.detail}}));
  }
  return Json::Object({{"steps", std::move(steps)}});
}

}  // namespace

int StripeSetup(const CommonOptions& common, const StripeSetupOptions& options) {
  const auto config = LoadConfigOrComplain(common, {.secrets = false});
  if (!config) return kFailed;
  if (config->server.public_url.empty()) {
    return FailWith(common, Error(Code::kConfig, "Stripe must know where to send events")
                                .Want("public_url under [server]"));
  }
  const auto stripe = MakeStripe(*config, Clock::System(), Rng::System());
  if (!stripe) return FailWith(common, stripe.error());
  const sales::Shop shop = ShopOf(*config, config->server.public_url);
  Loop loop;
  const Deadline by = Deadline::In(Clock::System(), Millis(120'000));
  const auto report = loop.RunUntilDone(sales::SetUp(**stripe, shop, options.dry_run, by));
  if (!report) return FailWith(common, report.error());
  const std::optional<Error>& failure = report->failure;
  if (failure && report->steps.empty()) return FailWith(common, *failure);
  const Secret& secret = report->endpoint_secret;
  bool filed = false;
  if (!secret.empty() && !options.secret_file.empty()) {
    const Result<> written = WriteSecret(options.secret_file, secret);
    // Stripe says it only once, so it is shown instead of being lost with the complaint.
    if (!written) Complain("pontage: " + written.error().detail());
    filed = written.has_value();
  }
  if (WantsJson(common)) {
    Json json = ToJson(*report);
    if (!secret.empty() && !filed) json.Set("webhook_secret", secret.Reveal());
    if (failure) json.Set("error", problem::ToJson(*failure));
    PrintJson(json);
  } else {
    std::vector<std::vector<std::string>> rows;
    for (const sales::SetupStep& step : report->steps) {
      rows.push_back({step.action, step.what, step.name, step.id, step.detail});
    }
    PrintLine(FormatTable({"", "WHAT", "NAME", "ID", ""}, rows));
    if (!secret.empty() && !filed) {
      PrintLine("\nThe endpoint's signing secret, which Stripe shows only now; put it where " +
                std::string("stripe.webhook_secret looks:\n") + std::string(secret.Reveal()));
    }
  }
  // Beside what was done before it, and the secret.
  if (failure) return FailWith(*failure);
  return options.dry_run ? kDryRun : kDone;
}

}  // namespace pontage::app
