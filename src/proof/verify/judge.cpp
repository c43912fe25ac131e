#include "proof/verify/judge.h"

#include "proof/reference64/float64_verb.h"

namespace invar {
namespace {

// Whether the call makes the stage, under its own name or as one of the stages that StageRows derives from it.
bool makes(const VerbCall& call, std::string_view stage) {
    switch (row_of(call.verb).stages) {
        case StagesOf::stored:
            return stage == "key_stored" || stage == "value_stored";
        case StagesOf::routing:
            return stage == "router_probabilities" || stage == "expert_weights" || stage == "routing_margin" ||
                   stage == "expert_ids";
        case StagesOf::result:
            break;
    }
    return call.stage.name == stage;
}

}  // namespace

void Judge::before(VerbCall& call) {
    if (value_ || call.stage.layer != key_.layer || call.occurrence != key_.occurrence || !makes(call, key_.name))
        return;
    for (int64_t i = 0; i < call.rows(); ++i) {
        if (call.row(i).position != position_ || call.row(i).sequence != sequence_of_[probe_]) continue;
        const VerbInputs inputs = VerbInputs::copy_of(call);
        int64_t row = i, element = element_;
        if (call.out.rows() > 0 && call.slots_of_row() > 1) {
            row = i * call.slots_of_row() + element / call.out.width();
            element %= call.out.width();
        }
        const Result<std::vector<double>> values =
            float64_of_stage(call, inputs, key_.name, row, float64::Activations::quantized);
        if (values && element < static_cast<int64_t>(values->size())) value_ = (*values)[static_cast<size_t>(element)];
        return;
    }
}

}  // namespace invar
