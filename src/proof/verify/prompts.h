// The fixed inputs that verification runs a model on, and the ways of running them that must not change a bit: chunks
// of several sizes, sequences together, a prefix computed again. Probes: a chat through the model's own template,
// random tokens over more than one cache page, decode steps across a page boundary.
#pragma once

#include <string>
#include <vector>

#include "files/checkpoint.h"
#include "proof/record/model_runner.h"

namespace invar {

struct Probe {
    std::string name;
    std::vector<int32_t> tokens;
    int64_t prompt = 0;  // the first tokens, fed in chunks; the rest one by one

    int64_t positions() const { return static_cast<int64_t>(tokens.size()); }
};

struct ProbeSet {
    std::vector<Probe> probes;
    std::vector<std::string> skipped;  // a probe this file cannot have, and why

    int64_t positions() const;  // of all
    int64_t longest() const;
    // The first positions of each, so that all together have about `positions` (at least 2 each).
    ProbeSet trimmed(int64_t positions) const;
};
// Deterministic for a file. `most_positions` bounds the longest probe (the model's context).
ProbeSet make_probes(const Checkpoint& file, const ModelConfig& config, int64_t most_positions);

struct Schedule {
    std::string name;         // "whole prompt", "chunks of 7", "sequences together", "prefix computed again"
    int64_t chunk = 512;      // prompt rows in a batch
    bool together = false;    // rows of all sequences share batches
    bool recompute = false;   // after the prompt, positions from the middle on are forgotten and computed again
    bool all_logits = false;  // else those of each batch's last row
};
std::vector<Schedule> schedules();  // the first is the whole prompt with all logits

// Runs every probe in a sequence of its own. sequence_of[i], which probe i got, is set before the first pass.
Result<void> run_schedule(ModelRunner& runner, const ProbeSet& probes, const Schedule& schedule,
                          std::span<VerbHook* const> hooks, std::vector<int32_t>& sequence_of);

}  // namespace invar
