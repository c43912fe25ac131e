// A NaN that the engine itself must find. It is put into one number of one input row of a verb and must come out in the
// result. For products it is put into the weights instead, because one input serves several products of a fused verb.
#include <cmath>
#include <cstring>

#include "proof/faults/fault_kind.h"

namespace invar::faults {
namespace {

class NanInput final : public Fault {
  public:
    NanInput(const FaultPlace& place, FaultReport& report) : place_(place), report_(report), rows_(place) {}

    void before(VerbCall& call) override {
        struck_row_ = row_of(call);
        if (struck_row_ < 0) return;
        const VerbRow& verb = invar::row_of(call.verb);
        if (call.x2.rows() > 0 && verb.makes(verb_field::out)) {
            call.x2 = copy_of(call.x2);
            put_nan(call.x2, call);
        } else if (verb.in_place()) {
            put_nan(call.out, call);  // the verb overwrites its input with the result
        } else {
            call.x = copy_of(call.x);
            put_nan(call.x, call);
        }
    }

    void after(const VerbCall& call) override {
        if (struck_row_ < 0) return;
        const int64_t position = call.row(struck_row_).position;
        rows_.struck(position);
        const StageKey& key = place_.site.key;
        const auto part = [&](const char* name) { return StageKey{key.layer, name, key.occurrence}; };
        const std::string detail = fmt::format("element {} of the input at position {}", element_, position);
        if (call.verb == Verb::route) return note_strike(report_, part("router_probabilities"), position, 0, detail);
        if (call.verb == Verb::store_kv) return note_strike(report_, part("key_stored"), position, element_, detail);
        const int64_t slots = call.slots_of_row();
        for (int64_t i = 0; i < slots * call.out.width(); ++i) {
            if (std::isfinite(call.out.host_row(struck_row_ * slots + i / call.out.width())[i % call.out.width()])) {
                continue;
            }
            return note_strike(report_, key, position, i, detail);
        }
    }

  private:
    // The row that was asked for, or else the last one of the pass.
    int64_t row_of(const VerbCall& call) const {
        for (int64_t row = call.rows() - 1; row >= 0; --row) {
            if (rows_.wants(call.row(row).position)) return row;
        }
        return -1;
    }

    Tensor copy_of(const Tensor& tensor) {
        copy_.clear();
        for (int64_t row = 0; row < tensor.rows(); ++row) {
            copy_.insert(copy_.end(), tensor.host_row(row), tensor.host_row(row) + tensor.width());
        }
        return {copy_.data(), Place::host, tensor.rows(), tensor.width(), tensor.width()};
    }

    void put_nan(const Tensor& input, const VerbCall& call) {
        const int64_t row = call.verb == Verb::gather_rows ? call.gathered[static_cast<size_t>(struck_row_)]
                                                           : struck_row_ * (input.rows() / call.rows());
        element_ = place_.spec.element.value_or(0);
        input.host_row(row)[element_] = std::nanf("");
    }

    const FaultPlace& place_;
    FaultReport& report_;
    StruckRows rows_;
    int64_t struck_row_ = -1, element_ = 0;
    std::vector<float> copy_;
};

}  // namespace

std::unique_ptr<Fault> make_nan(const FaultPlace& place, FaultReport& report) {
    if (place.site.format == nullptr) return std::make_unique<NanInput>(place, report);
    const std::span<const ScaleField> scales = place.site.format->scales;
    const bool without_nan = !scales.empty() && scales.front().kind == ScaleKind::ue4m3;
    return without_nan ? poison_scale(place, report) : poison_row(place, report);
}

}  // namespace invar::faults
