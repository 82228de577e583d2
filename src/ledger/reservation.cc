#include "ledger/reservation.h"

namespace pontage::ledger {
namespace {

constexpr std::string_view kStates[] = {"held", "settled", "voided", "expired", "in_doubt"};
constexpr std::string_view kStages[] = {"reserved", "answered"};
constexpr std::string_view kDeliveries[] = {"none",   "pending",   "delivered", "owed",
                                            "broken", "redeeming", "redeemed"};

template <typename E, size_t N>
Result<E> Parse(const std::string_view (&names)[N], std::string_view text, std::string_view what) {
  std::string expected;
  for (size_t i = 0; i < N; ++i) {
    if (names[i] == text) return static_cast<E>(i);
    expected += (i == 0 ? "" : ", ");
    expected += names[i];
  }
  return Fail(
      Error(Code::kBadRequest, "unknown " + std::string(what) + " \"" + std::string(text) + "\"")
          .Want("one of: " + expected));
}

}  // namespace

std::string_view ToString(State state) { return kStates[static_cast<size_t>(state)]; }
std::string_view ToString(Stage stage) { return kStages[static_cast<size_t>(stage)]; }
std::string_view ToString(Delivery delivery) { return kDeliveries[static_cast<size_t>(delivery)]; }

Result<State> ParseState(std::string_view text) {
  return Parse<State>(kStates, text, "payment state");
}
Result<Stage> ParseStage(std::string_view text) { return Parse<Stage>(kStages, text, "stage"); }
Result<Delivery> ParseDelivery(std::string_view text) {
  return Parse<Delivery>(kDeliveries, text, "delivery state");
}

}  // namespace pontage::ledger
