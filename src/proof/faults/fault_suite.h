// Every fault at every place of a model that it fits, one at a time: the same tokens without and with the fault, every
// stage compared bit for bit in forward order. Caught: something differs, or the engine refused the pass. Located: what
// differs first is the stage at which the fault struck. Beside it, what two rules in common use would have let pass.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "proof/faults/faults.h"
#include "proof/record/model_runner.h"

namespace invar {

struct FaultSuiteSettings {
    std::vector<std::string> faults;  // names; none: all
    RunShape shape{.prompt = 8, .decode = 2};
    RunShape two_pages{.prompt = 66, .decode = 2};  // for faults that need a second page of the cache
    // At most this many places of a fault, spread over all; 0: every one. What is skipped is counted.
    int64_t most_places = 0;
    std::function<void(const std::string& fault, int64_t done, int64_t total)> progress;
};

inline constexpr double kCosineThatPasses = 0.99;

// One fault at one place.
struct FaultOutcome {
    std::string fault;  // the specification
    FaultReport report;
    bool caught = false, located = false;
    std::string first;              // the first stage that differs, "" if none
    std::string refusal;            // the engine's own error, "" if none
    double logits_cosine = 1;       // the worst of all logits; NaN where some are missing or not finite
    double worst_stage_cosine = 1;  // of every stage at every position, integers left out; NaN likewise
    bool passes_logits_rule() const { return logits_cosine >= kCosineThatPasses; }
    bool passes_stage_rule() const { return worst_stage_cosine >= kCosineThatPasses; }
};

struct FaultTableRow {
    std::string fault, meaning;
    int64_t places = 0, struck = 0, caught = 0, located = 0;
    int64_t pass_logits_rule = 0, pass_stage_rule = 0;  // of those struck
    int64_t left_out = 0, skipped = 0;
};

struct FaultTable {
    std::string model, runner;
    int64_t stages = 0, values = 0;  // compared in one run of settings.shape
    int64_t clean_differing = 0;     // values that differ when the run is repeated without a fault, before and after
    std::vector<FaultTableRow> rows;
    std::vector<FaultOutcome> missed;    // struck, but not caught or not located
    std::vector<std::string> no_effect;  // places where the fault changed no bit of this run: neither caught nor missed
    std::vector<std::pair<std::string, std::string>> left_out;  // places where a fault cannot show, and why
    double seconds = 0;

    FaultTableRow total() const;
    // Some fault struck, every one that did was caught and located, and without a fault nothing differs.
    bool all_located() const;
};

// Adds and removes a sequence of its own. Errors: an unknown fault, no room in the cache, a model that refuses its own
// unharmed pass.
Result<FaultTable> run_faults(EngineRunner& runner, const FaultSuiteSettings& settings);

std::string fault_table_text(const FaultTable& table);
Json fault_table_json(const FaultTable& table);

}  // namespace invar
