// Fernet against Python's `cryptography`, both ways.
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "codec/base64url.h"
#include "crypto/fernet.h"
#include "testing/expect.h"

namespace pontage::crypto {
namespace {

using pontage::testing::IsOk;

constexpr int kPayloads = 1'000;
constexpr const char* kScript = R"(
import base64, os, sys
from cryptography.fernet import Fernet
key = Fernet(sys.argv[1].encode())
with open(sys.argv[2]) as theirs, open(sys.argv[3], "w") as ours:
    for line in theirs:
        text = key.decrypt(line.strip().encode())
        ours.write(base64.urlsafe_b64encode(text).decode().rstrip("=") + " " + key.encrypt(text[::-1]).decode() + "\n")
)";

std::string RandomText(Rng& rng) {
  std::array<uint8_t, 2> size{};
  rng.Fill(size);
  std::vector<uint8_t> bytes(1 + (size[0] * 256U + size[1]) % 600U);
  rng.Fill(bytes);
  return {bytes.begin(), bytes.end()};
}

TEST(FernetOracleTest, Billing19PythonDecryptsOursAndWeDecryptTheirsAThousandTimes) {
  SeededRng rng(20261122);
  std::array<uint8_t, 32> seed{};
  rng.Fill(seed);
  const std::string text = codec::EncodeBase64Url(codec::AsText(seed)) + "=";
  const Result<FernetKey> key = FernetKey::Parse(Secret(std::string(text)));
  ASSERT_THAT(key, IsOk());
  const std::filesystem::path dir =
      std::filesystem::path(::testing::TempDir()) / ("fernet-" + std::to_string(getpid()));
  std::filesystem::create_directories(dir);
  const UnixMs now = Clock::System().Now();
  std::vector<std::string> payloads;
  {
    std::ofstream out(dir / "ours");
    for (int i = 0; i < kPayloads; ++i) {
      payloads.push_back(RandomText(rng));
      out << key->Encrypt(payloads.back(), now, rng) << '\n';
    }
    std::ofstream(dir / "script.py") << kScript;
  }
  const std::string command = "python3 " + (dir / "script.py").string() + " '" + text + "' " +
                              (dir / "ours").string() + " " + (dir / "theirs").string();
  ASSERT_EQ(std::system(command.c_str()), 0) << "python3-cryptography: ./dev setup test";
  std::ifstream in(dir / "theirs");
  std::string read;
  std::string made;
  int n = 0;
  for (; in >> read >> made; ++n) {
    const std::string& payload = payloads.at(static_cast<size_t>(n));
    EXPECT_EQ(codec::DecodeBase64Url(read), payload) << n;
    const Result<std::string> back = key->Decrypt(made, Clock::System().Now());
    ASSERT_THAT(back, IsOk()) << n;
    EXPECT_EQ(*back, std::string(payload.rbegin(), payload.rend())) << n;
  }
  EXPECT_EQ(n, kPayloads);
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace pontage::crypto
