// The name that verbs use for the state of sequences.
#pragma once

#include "state/sequence_state.h"

namespace invar {

using KvCache = SequenceState;

}  // namespace invar
