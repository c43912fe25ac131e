// The fixed inputs of verification (probes) and the ways of running them that must not change a bit (schedules): chunks
// of several sizes, sequences together, a prefix computed again. The probes are a chat through the model's own
// template, random tokens over more than one cache page, and decode steps across a page boundary.
#pragma once

#include <string>
#include <vector>

#include "files/checkpoint.h"
#include "proof/record/model_runner.h"

namespace invar {

struct Probe {
    std::string name;
    std::vector<int32_t> tokens;
    int64_t prompt = 0;  // the first tokens, which are fed in chunks; the rest follow one by one

    int64_t positions() const { return static_cast<int64_t>(tokens.size()); }
};

struct ProbeSet {
    std::vector<Probe> probes;
    std::vector<std::string> skipped;  // probes that cannot be made for this file, and why

    int64_t positions() const;  // of all probes together
    int64_t longest() const;
    // Only the first positions of each probe, at least 2, so that all together have about `positions`.
    ProbeSet trimmed(int64_t positions) const;
};
// Always the same for a file. `most_positions` bounds the longest probe (the model's context).
ProbeSet make_probes(const Checkpoint& file, const ModelConfig& config, int64_t most_positions);

struct Schedule {
    std::string name;         // "whole prompt", "chunks of 7", "sequences together", "prefix computed again"
    int64_t chunk = 512;      // prompt rows in a batch
    bool together = false;    // rows of all sequences share batches
    bool recompute = false;   // after the prompt, positions from the middle on are removed and computed again
    bool all_logits = false;  // otherwise only those of each batch's last row
};
std::vector<Schedule> schedules();  // the first one is the whole prompt with all logits

// Runs every probe in its own sequence. sequence_of[i], the sequence of probe i, is set before the first pass.
Result<void> run_schedule(ModelRunner& runner, const ProbeSet& probes, const Schedule& schedule,
                          std::span<VerbHook* const> hooks, std::vector<int32_t>& sequence_of);

}  // namespace invar
