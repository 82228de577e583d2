#include "app/config.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include <gtest/gtest.h>

#include "app/config_keys.h"
#include "app/config_read.h"
#include "app/version.h"
#include "base/rng.h"
#include "testing/expect.h"
#include "testing/golden.h"

namespace pontage::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* kKey = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
constexpr const char* kAddress = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

using Names = std::map<std::string, std::string>;

ConfigSources Fixture(Names more = {}) {
  Names environment = {{"EVM_KEY", kKey},
                       {"PAY_TO", kAddress},
                       {"FACILITATOR_TOKEN", "token-of-a-friend"},
                       {"UPSTREAM_KEY", "key-of-the-seller"},
                       {"RPC_URL", "https://rpc.example.org/an-api-key"}};
  more.merge(environment);
  const Names files = {{"evm.key", std::string(kKey) + '\n'}, {"not-a-key", "hello"}};
  return {.environment = [more](const std::string& name) -> std::optional<std::string> {
            const auto it = more.find(name);
            return it == more.end() ? std::nullopt : std::optional(it->second);
          },
          .read_file = [files](const std::string& path) -> Result<std::string> {
            const auto it = files.find(path);
            if (it == files.end()) return Fail(Code::kNotFound, "cannot open " + path);
            return it->second;
          }};
}

// What a person would see of a file: its faults, or what it amounts to.
std::string Seen(const std::string& text, const std::string& name) {
  const auto config = ParseConfig(text, name, Fixture());
  if (config) return PrintConfig(*config);
  std::string out;
  for (const ConfigFault& fault : config.error()) out += fault.Text() + '\n';
  return out;
}

std::vector<fs::path> GoldenConfigs() {
  std::vector<fs::path> out;
  for (const auto& entry : fs::directory_iterator(PTG_SOURCE_DIR "/test/golden/config")) {
    if (entry.path().extension() == ".toml") out.push_back(entry.path());
  }
  std::ranges::sort(out);
  return out;
}

// Each test/golden/config/NAME.toml gives NAME.txt. PTG_UPDATE_GOLDEN=1 writes them anew, for a
// person to look at the difference.
TEST(ConfigTest, EveryFaultIsNamedAsTheGoldenFilesSay) {
  const auto paths = GoldenConfigs();
  ASSERT_GE(paths.size(), 14u);
  for (const fs::path& path : paths) {
    const std::string name = path.filename().string();
    SCOPED_TRACE(name);
    const std::string seen = Seen(testing::ReadGolden("config/" + name), name);
    const fs::path wanted = fs::path(path).replace_extension(".txt");
    if (std::getenv("PTG_UPDATE_GOLDEN") != nullptr) {
      std::ofstream(wanted, std::ios::binary) << seen;
    }
    EXPECT_EQ(seen, testing::ReadGolden("config/" + wanted.filename().string()));
  }
}

// Whatever is wrong with a file, a secret it names or holds is not repeated.
TEST(ConfigTest, NothingSecretIsShown) {
  const std::string_view secrets[] = {
      "hunter2",          "token-of-a-friend",     "key-of-the-seller",
      "an-api-key",       "a-token-in-clear-text", "BEGIN PRIVATE KEY",
      "59c6995e998f97a5", "user:secret",           "root:secret",
      "shown to nobody"};
  for (const fs::path& path : GoldenConfigs()) {
    const std::string name = path.filename().string();
    const std::string seen = Seen(testing::ReadGolden("config/" + name), name);
    for (const std::string_view secret : secrets) {
      EXPECT_FALSE(seen.contains(secret)) << name << " shows " << secret;
    }
  }
}

Config Good(const std::string& name, Names environment = {}, ConfigOptions options = {}) {
  const std::string file = name + ".toml";
  auto config = ParseConfig(testing::ReadGolden("config/" + file), file,
                            Fixture(std::move(environment)), options);
  EXPECT_TRUE(config.has_value()) << config.error().front().Text();
  return config ? *std::move(config) : Config();
}

TEST(ConfigTest, TheWholeFileBecomesValues) {
  const Config c = Good("full");
  EXPECT_EQ(c.server.listen, (std::vector<std::string>{"127.0.0.1:8402", "[::1]:8402"}));
  EXPECT_EQ(c.server.public_url, "https://api.example.com");
  EXPECT_EQ(c.x402.hold_max, 256u << 10);
  EXPECT_EQ(c.x402.max_timeout, Millis(120'000));
  ASSERT_EQ(c.x402.pay_to.size(), 4u);
  EXPECT_EQ(c.x402.pay_to[0].address, kAddress) << "shown with its checksum";
  ASSERT_EQ(c.facilitator.tokens.size(), 1u);
  EXPECT_TRUE(c.facilitator.tokens[0].Matches("token-of-a-friend"));
  const ChainConfig* devnet = c.ChainOf(chain::ChainId::Evm(31337));
  ASSERT_NE(devnet, nullptr);
  EXPECT_TRUE(devnet->signers.at(0).Matches(kKey));
  const auto assets = c.Assets();
  ASSERT_NE(assets.DefaultOf(chain::ChainId::Evm(31337)), nullptr);
  EXPECT_EQ(assets.DefaultOf(chain::ChainId::Evm(31337))->eip712_name, "Test Dollar");
  EXPECT_NE(assets.DefaultOf(chain::ChainId::Evm(8453)), nullptr) << "known ones stay known";
  EXPECT_TRUE(c.ChainOf(chain::ChainId::Evm(8453))->signers.at(0).Matches(kKey))
      << "from a file, trimmed";
  EXPECT_TRUE(c.upstreams[0].headers[0].second.Matches("Bearer key-of-the-seller"));
  EXPECT_EQ(c.upstreams[0].urls.front(), "http://127.0.0.1:9000/base");
  ASSERT_EQ(c.routes.size(), 3u);
  EXPECT_EQ(c.routes[0].price, Money::Micros(1'000));
  EXPECT_EQ(c.routes[0].networks.size(), 2u);
  EXPECT_EQ(c.routes[0].settle, SettleWhen::kBefore);
  EXPECT_EQ(c.routes[0].hold_max, 4096u);
  EXPECT_TRUE(c.routes[1].free);
  EXPECT_EQ(c.routes[2].price, Money::Micros(50'000)) << "the product's";
  EXPECT_EQ(c.routes[2].description, "Yields, judged");
  EXPECT_EQ(c.routes[2].free_quota->window, Millis(86'400'000));
  EXPECT_EQ(c.Roles(), (std::vector<std::string>{"gateway", "facilitator", "console"}));
  EXPECT_EQ(c.mcps[0].tools[0].second, "$0.002");
  EXPECT_EQ(c.plans[0].limits.size(), 2u);
  EXPECT_TRUE(c.stripe.present);
}

TEST(ConfigTest, TheEnvironmentOverridesWhereAndWhereTo) {
  const Config c = Good("full", {{"PORT", "10000"}, {"DATABASE_URL", "sqlite:other.db"}});
  EXPECT_EQ(c.server.listen, std::vector<std::string>{"0.0.0.0:10000"});
  EXPECT_EQ(c.store.url, "sqlite:other.db");
  const auto bad =
      ParseConfig("", "x.toml", Fixture({{"PORT", "http"}, {"DATABASE_URL", "oracle:"}}));
  ASSERT_FALSE(bad.has_value());
  ASSERT_EQ(bad.error().size(), 2u);
  EXPECT_EQ(
      bad.error()[0].Text(),
      "x.toml: server.listen: found PORT=http in the environment, expected a port number from "
      "0 to 65535");
}

TEST(ConfigTest, CommandsThatNeedNoSecretsDoNotAskForThem) {
  const Config c = Good("minimal", {{"EVM_KEY", ""}}, {.secrets = false});
  EXPECT_TRUE(std::ranges::all_of(c.chains[0].signers, &Secret::empty));
  EXPECT_TRUE(c.chains[0].has_signer);
  const auto strict = ParseConfig(testing::ReadGolden("config/minimal.toml"), "minimal.toml",
                                  Fixture({{"EVM_KEY", ""}}));
  ASSERT_FALSE(strict.has_value());
  EXPECT_TRUE(strict.error()[0].found.contains("env:EVM_KEY, which is not set"));
}

TEST(ConfigTest, RolesFollowTheKeysThatAreThere) {
  EXPECT_EQ(Good("minimal").Roles(), (std::vector<std::string>{"gateway", "facilitator"}));
  EXPECT_EQ(Good("remote").Roles(), std::vector<std::string>{"gateway"});
}

TEST(ConfigTest, AMissingFileSaysHowToGetOne) {
  const auto config = LoadConfig("nowhere.toml", Fixture());
  ASSERT_FALSE(config.has_value());
  EXPECT_TRUE(config.error()[0].Text().contains("pontage init"));
}

TEST(ConfigTest, UrlsAreShownWithoutPasswords) {
  EXPECT_EQ(RedactUrl("postgresql://u:p@h/d"), "postgresql://u:[set]@h/d");
  EXPECT_EQ(RedactUrl("postgresql://u:p@q@h/d"), "postgresql://u:[set]@h/d");
  EXPECT_EQ(RedactUrl("postgresql://u@h/d?password=p&x=1"),
            "postgresql://[set]@h/d?password=[set]&x=1");
  EXPECT_EQ(RedactUrl("postgresql:///d?host=/tmp"), "postgresql:///d?host=/tmp");
  EXPECT_EQ(RedactUrl("sqlite:a.db"), "sqlite:a.db");
}

TEST(ConfigTest, SizesPeriodsAndAddresses) {
  EXPECT_EQ(ParseSize("1MiB"), 1u << 20);
  EXPECT_EQ(ParseSize("512"), 512u);
  EXPECT_EQ(ParseSize("3 KiB"), 3072u);
  for (const char* bad :
       {"", "MiB", "1MB", "-1", "1.5MiB", "99999999999999999999", "18446744073709551615KiB"}) {
    EXPECT_EQ(ParseSize(bad), std::nullopt) << bad;
  }
  EXPECT_EQ(ParseAllowance("600/min")->window, Millis(60'000));
  for (const char* bad : {"", "600", "/s", "0/s", "1/week", "-1/s", "1/"}) {
    EXPECT_FALSE(ParseAllowance(bad).has_value()) << bad;
  }
  for (const char* good : {"127.0.0.1:0", ":8402", "localhost:65535", "[::1]:1"}) {
    EXPECT_TRUE(IsListenAddress(good)) << good;
  }
  for (const char* bad :
       {"", "8402", "127.0.0.1:", "127.0.0.1:65536", "::1:80", "[::1]", "[x]:1", "a b:1"}) {
    EXPECT_FALSE(IsListenAddress(bad)) << bad;
  }
  EXPECT_TRUE(IsCidr("::1/128"));
  EXPECT_FALSE(IsCidr("::1/129"));
  EXPECT_FALSE(IsCidr("10.0.0.0/"));
}

// Random damage to a good file is judged or accepted, and always ends.
TEST(ConfigTest, DamagedFilesAreJudged) {
  const std::string good = testing::ReadGolden("config/full.toml");
  SeededRng rng(7);
  for (int round = 0; round < 500; ++round) {
    std::string text = good;
    for (int hit = 0; hit < 3; ++hit) {
      const size_t at = static_cast<size_t>(rng.Next64() % text.size());
      switch (rng.Next64() % 3) {
        case 0:
          text[at] = static_cast<char>(rng.Next64() % 256);
          break;
        case 1:
          text.erase(at, 1 + static_cast<size_t>(rng.Next64() % 20));
          break;
        default:
          text.insert(at, text.substr(static_cast<size_t>(rng.Next64() % text.size()), 12));
      }
    }
    const auto config = ParseConfig(text, "damaged.toml", Fixture());
    if (!config) {
      EXPECT_FALSE(config.error().empty());
      for (const ConfigFault& fault : config.error()) EXPECT_FALSE(fault.found.empty());
    }
  }
}

// The parser asked its table of blanks about these, which has no row for them.
TEST(ConfigTest, LettersOutsideAStringAreAFault) {
  for (const std::string text : {"\u00e9 = 1\n", "[[020\u03a6", "a = \u0416\n"}) {
    const auto config = ParseConfig(text, "letters.toml", Fixture());
    ASSERT_FALSE(config.has_value()) << text;
    EXPECT_EQ(config.error().front().line, 1) << text;
  }
}

// The parser repeats what it met, here the end of a line.
TEST(ConfigTest, AFaultOfSyntaxIsToldInOneLine) {
  const auto config = ParseConfig("[server]\ndrain_timeout = n\ns\"", "broken.toml", Fixture());
  ASSERT_FALSE(config.has_value());
  EXPECT_EQ(config.error().front().Text(),
            "broken.toml:2: found a fault of syntax: Error while parsing floating-point: expected "
            "'nan', saw 'n\\n', expected TOML");
}

std::string Page(const char* name) {
  std::ifstream in(std::string(PTG_SOURCE_DIR "/docs/reference/") + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

TEST(ConfigTest, TheReferencePageIsTheTable) {
  EXPECT_EQ(Page("config.md"), ConfigReferencePage())
      << "write it anew: build/pontage config reference > docs/reference/config.md";
}

TEST(ConfigTest, EveryKeyHasAMeaningAndOnePlace) {
  std::map<std::string_view, int> seen;
  for (const KeyRow& row : KeyRows()) {
    EXPECT_EQ(++seen[row.path], 1) << row.path;
    EXPECT_FALSE(row.meaning.empty()) << row.path;
    const size_t dot = row.path.rfind('.');
    if (dot != std::string_view::npos) {
      EXPECT_TRUE(seen.contains(row.path.substr(0, dot))) << row.path << " before its table";
    }
  }
}

TEST(ConfigTest, GasMoneyHasUnitsAndIsExact) {
  const struct {
    std::string_view text;
    std::string_view wei;  // "" for none
    std::string_view shown;
  } cases[] = {
      {"0.05 ether", "50000000000000000", "50000000 gwei"},
      {"1 ether", "1000000000000000000", "1 ether"},
      {"1000 gwei", "1000000000000", "1000 gwei"},
      {"20gwei", "20000000000", "20 gwei"},
      {"1.5 gwei", "1500000000", "1500000000 wei"},
      {"7 wei", "7", "7 wei"},
      {"7", "7", "7 wei"},
      {"0 wei", "0", "0 wei"},
      {"007 gwei", "7000000000", "7 gwei"},
      {"1.5 wei", "", ""},
      {".5 ether", "", ""},
      {"5. ether", "", ""},
      {"1.2.3 ether", "", ""},
      {"-1 wei", "", ""},
      {"0.0000000000000000001 ether", "", ""},
      {"ether", "", ""},
      {"", "", ""},
      {"1e18", "", ""},
  };
  for (const auto& c : cases) {
    const auto wei = ParseWei(c.text);
    EXPECT_EQ(wei ? wei->ToDecimal() : "", c.wei) << c.text;
    if (wei) EXPECT_EQ(WeiText(*wei), c.shown) << c.text;
  }
}

TEST(VersionTest, IsTheOneOfTheBuild) {
  std::ifstream in(PTG_SOURCE_DIR "/CMakeLists.txt");
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  EXPECT_TRUE(text.contains("project(pontage VERSION " + std::string(kVersion) + ' '));
}

// A section for later stops nothing; what it lacks is known for those who tell of it.
TEST(ConfigTest, SecretsThatMayBeMissingAreNamed) {
  const auto of = [](Names environment) {
    auto config = ParseConfig(R"(
[stripe]
api_key = "env:STRIPE_KEY"
webhook_secret = ["env:OLD_SECRET", "env:NEW_SECRET"]
[mail]
api_key = "file:resend.key"
)",
                              "card.toml", Fixture(std::move(environment)));
    EXPECT_TRUE(config.has_value());
    return config ? *std::move(config) : Config();
  };
  const Config none = of({{"STRIPE_KEY", ""}});
  EXPECT_EQ(none.MissingAt("stripe.api_key"), "env:STRIPE_KEY, which is not set");
  EXPECT_EQ(none.MissingAt("stripe.webhook_secret"),
            "env:OLD_SECRET, which is not set, env:NEW_SECRET, which is not set");
  EXPECT_EQ(none.MissingAt("mail.api_key"), "file:resend.key, unreadable");
  const Config some = of({{"STRIPE_KEY", "sk_test_x"}, {"OLD_SECRET", "whsec_x"}});
  EXPECT_EQ(some.MissingAt("stripe.api_key"), "");
  EXPECT_EQ(some.MissingAt("stripe.webhook_secret"), "env:NEW_SECRET, which is not set");
}

// A process holds no secret of a role that runs elsewhere. What is no reference is a fault there
// too.
TEST(ConfigTest, SecretsOfOtherRolesAreNotRead) {
  const auto of = [](const std::string& key, std::vector<std::string> roles) {
    const std::string text = "[stripe]\napi_key = \"" + key + R"("
webhook_secret = ["env:STRIPE_SECRET"]
[mail]
api_key = "file:resend.key"
password = "env:SMTP_PASSWORD"
[console]
operator_key = "env:OPERATOR_KEY"
key = [{ name = "ann", key = "env:ANNS_KEY" }]
[license]
fernet_keys = ["env:FERNET_KEY"]
)";
    return ParseConfig(text, "apart.toml",
                       Fixture({{"STRIPE_KEY", "sk_test_x"},
                                {"STRIPE_SECRET", "whsec_x"},
                                {"SMTP_PASSWORD", "hunter2"},
                                {"OPERATOR_KEY", std::string(32, 'k') + "0123456789"},
                                {"ANNS_KEY", std::string(32, 'a') + "0123456789"},
                                {"FERNET_KEY", "shared"}}),
                       {.secrets = true, .roles = std::move(roles)});
  };
  struct Row {
    std::vector<std::string> roles;
    bool sells, lets_in;
  };
  const Row rows[] = {{{}, true, true},
                      {{"gateway"}, false, false},
                      {{"gateway", "facilitator"}, false, false},
                      {{"console"}, false, true},
                      {{"gateway", "sales"}, true, false},
                      {{"sales", "console"}, true, true}};
  for (const Row& row : rows) {
    SCOPED_TRACE(::testing::PrintToString(row.roles));
    const auto config = of("env:STRIPE_KEY", row.roles);
    ASSERT_TRUE(config.has_value()) << config.error().front().Text();
    EXPECT_TRUE(config->stripe.present && config->mail.present && config->console.present);
    EXPECT_EQ(!config->stripe.api_key.empty(), row.sells);
    EXPECT_EQ(!config->stripe.webhook_secrets.front().empty(), row.sells);
    EXPECT_EQ(!config->mail.password.empty(), row.sells);
    EXPECT_EQ(!config->MissingAt("mail.api_key").empty(), row.sells);
    EXPECT_EQ(!config->console.operator_key.empty(), row.lets_in);
    EXPECT_EQ(!config->console.keys.front().key.empty(), row.lets_in);
    EXPECT_FALSE(config->license.fernet_keys.front().empty()) << "who verifies needs it too";
  }
  const auto bare = of("sk_test_in_the_file", {"gateway"});
  ASSERT_FALSE(bare.has_value());
  EXPECT_EQ(bare.error().front().key, "stripe.api_key");
}

}  // namespace
}  // namespace pontage::app
