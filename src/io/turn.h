#pragma once

#include "io/socket.h"

namespace pontage {

// Something that wants to be called once when what the loop does now is done: before the loop waits
// again, after all that one look at the sockets has woken. For what may turn out to be needless
// until then, at no more cost than a place in a list. Belongs to the loop's thread.
class TurnNode : private IoLink {
 public:
  // What is destroyed before its turn ends is not called.
  virtual ~TurnNode() = default;

  // Calls all of this thread that ask, in the order they asked; those who ask meanwhile are called
  // too. How many that were.
  static size_t EndTurn();
  // Whether somebody asked for the next turn's end: then a loop has nothing to wait for.
  static bool NextWanted();

 protected:
  // On the thread of a loop that runs or will run. To ask again before the call changes nothing.
  void AskForTurnEnd();
  // At the end of the next turn: whatever is ready meanwhile comes before it. Not while it asks for
  // this one's.
  void AskForNextTurnEnd();
  // No longer wanted.
  void NoTurnEnd() { IoLink::Unlink(); }
  // May destroy this and others.
  virtual void AtTurnEnd() = 0;
};

}  // namespace pontage
