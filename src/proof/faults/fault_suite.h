// Tries every fault at every place of a model where it fits, one at a time. The same tokens run without and with the
// fault, and every stage is compared bit for bit in forward order. A fault is caught if something differs or the engine
// refuses the pass. It is located if the first stage that differs is the one that the fault changed. Beside that, the
// suite counts what two common rules would have let pass.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "proof/faults/faults.h"
#include "proof/record/model_runner.h"

namespace invar {

struct FaultSuiteSettings {
    std::vector<std::string> faults;  // names; empty: all faults
    RunShape shape{.prompt = 8, .decode = 2};
    RunShape two_pages{.prompt = 66, .decode = 2};  // for faults that need a second page of the cache
    // At most this many places per fault, spread over all of them; 0: every one. Skipped places are counted.
    int64_t most_places = 0;
    std::function<void(const std::string& fault, int64_t done, int64_t total)> progress;
};

inline constexpr double kCosineThatPasses = 0.99;

// The outcome of one fault at one place.
struct FaultOutcome {
    std::string fault;  // the specification
    FaultReport report;
    bool caught = false, located = false;
    std::string first;              // the first stage that differs, "" if none
    std::string refusal;            // the engine's own error, "" if none
    double logits_cosine = 1;       // the lowest over all rows of logits; NaN if some are missing or not finite
    double worst_stage_cosine = 1;  // the lowest over all stages and positions, without integers; NaN likewise
    bool passes_logits_rule() const { return logits_cosine >= kCosineThatPasses; }
    bool passes_stage_rule() const { return worst_stage_cosine >= kCosineThatPasses; }
};

struct FaultTableRow {
    std::string fault, meaning;
    int64_t places = 0, struck = 0, caught = 0, located = 0;
    int64_t pass_logits_rule = 0, pass_stage_rule = 0;  // of the faults that changed a bit
    int64_t left_out = 0, skipped = 0;
};

struct FaultTable {
    std::string model, runner;
    int64_t stages = 0, values = 0;  // how many are compared in one run of settings.shape
    int64_t clean_differing = 0;     // values that differ between runs without a fault, before and after all others
    std::vector<FaultTableRow> rows;
    std::vector<FaultOutcome> missed;                           // changed a bit, but were not caught or not located
    std::vector<std::string> no_effect;                         // places where the fault changed no bit of this run
    std::vector<std::pair<std::string, std::string>> left_out;  // places where a fault cannot show, and why
    double seconds = 0;

    FaultTableRow total() const;
    // At least one fault changed a bit, every such fault was caught and located, and without a fault nothing differs.
    bool all_located() const;
};

// Uses a sequence of its own and removes it. Errors: an unknown fault, no room in the cache, a model that refuses a
// pass without a fault.
Result<FaultTable> run_faults(EngineRunner& runner, const FaultSuiteSettings& settings);

std::string fault_table_text(const FaultTable& table);
Json fault_table_json(const FaultTable& table);

}  // namespace invar
