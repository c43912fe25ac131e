#include "proof/judge.h"

#include "proof/float64_verb.h"

namespace invar {

void Judge::before(VerbCall& call) {
    if (call.stage.layer != key_.layer || call.occurrence != key_.occurrence) return;
    const bool of_verb_without_result = call.verb == Verb::route || call.verb == Verb::store_kv;
    if (!of_verb_without_result && call.stage.name != key_.name) return;
    for (int64_t i = 0; i < call.rows(); ++i) {
        if (call.row(i).position != position_ || call.row(i).sequence != sequence_of_[probe_]) continue;
        const VerbInputs inputs = VerbInputs::copy_of(call);
        int64_t row = i, element = element_;
        if (!of_verb_without_result && call.slots_of_row() > 1) {
            row = i * call.slots_of_row() + element / call.out.width();
            element %= call.out.width();
        }
        const Result<std::vector<double>> values = float64_of_stage(call, inputs, key_.name, row);
        if (values && element < static_cast<int64_t>(values->size())) value_ = (*values)[static_cast<size_t>(element)];
        return;
    }
}

}  // namespace invar
