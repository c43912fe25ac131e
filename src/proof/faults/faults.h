// Faults that real engines had, put on purpose into a pass of the real one, each at one verb: so that whoever claims to
// find errors can be shown one. What a fault changes is in the table of fault_kinds.cpp and the fault_*.cpp beside it;
// which faults every place of a model is tried with, and what that showed, is in fault_suite.h.
//
// A fault is named like "wrong_expert@layer=3,position=17,slot=0"; every part after the name may be left out.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proof/faults/verb_sites.h"

namespace invar {

// What the user asked for. What is left out is chosen: the middle layer of those where the fault fits, the first stage
// there, and of rows, positions, experts and blocks the first where the fault changes a bit.
struct FaultSpec {
    std::string fault;
    std::string stage, role;  // "": any; a stage by its name in recordings, or by the role of the weight it reads
    std::optional<int64_t> layer, position, slot, row, block, bit, element;
};
std::string to_string(const FaultSpec& spec);
// Errors name the fault or the part that is wrong, and what is possible.
Result<FaultSpec> parse_fault(std::string_view text);

// One line each, for listings.
struct FaultSummary {
    std::string_view name, meaning, where;
    std::vector<std::string_view> parts;  // that may follow the name
};
std::vector<FaultSummary> fault_kinds();

// Where a fault struck. A fault that changed no bit has not struck, whatever was asked for.
struct FaultReport {
    std::string fault;        // the whole specification, with what was chosen
    std::string description;  // one sentence: what was done where
    Verb verb = Verb::embed;
    StageKey stage;                       // the first recorded stage that differs, by which the fault must be located
    int64_t position = -1, element = -1;  // its first bits that differ; -1: not struck yet
    int64_t rows = 0;  // results (of one verb at one position) that the fault changed, so far as known
    bool struck = false;
};

struct FaultKind;
struct FaultPlace {  // a fault at one verb of a model
    const FaultKind* kind = nullptr;
    FaultSpec spec;
    VerbSite site;
};
// Errors say what does not fit this model, and what would.
Result<FaultPlace> resolve_fault(const FaultSpec& spec, std::span<const VerbSite> sites);

// How a suite runs a model: one prompt, then single tokens. Rows after gather_rows exist for the prompt's last token.
struct RunShape {
    int64_t prompt = 0, decode = 0;
};
struct FaultPlaces {
    std::vector<FaultPlace> places;
    std::vector<std::pair<std::string, std::string>> left_out;  // a place where the fault cannot show, and why
};
// Every stage where the kind fits, at a few positions, slots, blocks and bits each.
FaultPlaces fault_places(const FaultKind& kind, std::span<const VerbSite> sites, const RunShape& shape);

class Fault;  // fault_kind.h
// Goes before the hooks that record or compare. Tensors must be in host memory.
class FaultHook final : public VerbHook {
  public:
    explicit FaultHook(FaultPlace place);
    ~FaultHook() override;
    void before(VerbCall& call) override;
    void after(const VerbCall& call) override;

    const FaultReport& report() const { return report_; }

  private:
    bool is_its_place(const VerbCall& call) const;

    FaultPlace place_;
    FaultReport report_;
    std::unique_ptr<Fault> fault_;
};

// From the text of --inject.
Result<std::unique_ptr<FaultHook>> make_fault(std::string_view text, const ModelConfig& config, const WeightPlan& plan);

}  // namespace invar
