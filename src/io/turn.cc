#include "io/turn.h"

namespace pontage {
namespace {
thread_local IoLink t_asking;
}  // namespace

void TurnNode::AskForTurnEnd() {
  if (alone()) t_asking.Append(*this);
}

void TurnNode::EndTurn() {
  while (!t_asking.alone()) {
    auto* const node = static_cast<TurnNode*>(t_asking.after);
    node->NoTurnEnd();
    node->AtTurnEnd();
  }
}

}  // namespace pontage
