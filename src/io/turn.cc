#include "io/turn.h"

namespace pontage {
namespace {
thread_local IoLink t_asking;
thread_local IoLink t_next;
}  // namespace

void TurnNode::AskForTurnEnd() {
  if (alone()) t_asking.Append(*this);
}

void TurnNode::AskForNextTurnEnd() {
  if (alone()) t_next.Append(*this);
}

bool TurnNode::NextWanted() { return !t_next.alone(); }

size_t TurnNode::EndTurn() {
  while (!t_next.alone()) {
    auto* const node = static_cast<TurnNode*>(t_next.after);
    node->NoTurnEnd();
    node->AskForTurnEnd();
  }
  size_t called = 0;
  for (; !t_asking.alone(); ++called) {
    auto* const node = static_cast<TurnNode*>(t_asking.after);
    node->NoTurnEnd();
    node->AtTurnEnd();
  }
  return called;
}

}  // namespace pontage
