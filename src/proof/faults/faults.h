// Puts faults that real engines had into a pass of the real engine, each at one verb, to show that checks find them.
// What a fault changes is in the table of fault_kinds.cpp and the fault_*.cpp beside it. fault_suite.h tries every
// fault at every place of a model.
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

// The fault that the user asked for. A part that is left out is chosen: of the layers where the fault fits the middle
// one, the first stage there, and the first row, position, expert or block where the fault changes a bit.
struct FaultSpec {
    std::string fault;
    std::string stage, role;  // a stage by its name in recordings, or by the role of its weight; "": any
    std::optional<int64_t> layer, position, slot, row, block, bit, element;
};
std::string to_string(const FaultSpec& spec);
// The error names the fault or the part that is wrong, and the possible ones.
Result<FaultSpec> parse_fault(std::string_view text);

// A fault as listings show it, in one line.
struct FaultSummary {
    std::string_view name, meaning, where;
    std::vector<std::string_view> parts;  // the parts that may follow the name
};
std::vector<FaultSummary> fault_kinds();

// Where a fault struck, that is, changed a bit. A fault that changed none has not struck, whatever was asked for.
struct FaultReport {
    std::string fault;        // the whole specification, including the parts that were chosen
    std::string description;  // one sentence that says what was done and where
    Verb verb = Verb::embed;
    StageKey stage;                       // the first recorded stage that differs; checks must locate the fault there
    int64_t position = -1, element = -1;  // the first bits that differ; -1: it has not struck yet
    int64_t rows = 0;                     // how many results (of one verb at one position) it changed, as far as known
    bool struck = false;
};

struct FaultKind;
struct FaultPlace {  // a fault and the verb of a model that it strikes
    const FaultKind* kind = nullptr;
    FaultSpec spec;
    VerbSite site;
};
// The error says what does not fit this model and what would.
Result<FaultPlace> resolve_fault(const FaultSpec& spec, std::span<const VerbSite> sites);

// How a suite runs a model: one prompt, then single tokens. Of the prompt, only its last token has rows after
// gather_rows.
struct RunShape {
    int64_t prompt = 0, decode = 0;
};
struct FaultPlaces {
    std::vector<FaultPlace> places;
    std::vector<std::pair<std::string, std::string>> left_out;  // places where the fault cannot show, and why
};
// Every stage where the fault fits, each with a few positions, slots, blocks and bits.
FaultPlaces fault_places(const FaultKind& kind, std::span<const VerbSite> sites, const RunShape& shape);

class Fault;  // fault_kind.h
// Must come before the hooks that record or compare. Tensors must be in host memory.
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

// Makes the fault that --inject describes.
Result<std::unique_ptr<FaultHook>> make_fault(std::string_view text, const ModelConfig& config, const WeightPlan& plan);

}  // namespace invar
