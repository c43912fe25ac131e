#include "proof/faults/fault_kind.h"

#include <algorithm>
#include <cstring>

namespace invar {

const FaultKind* find_fault(std::string_view name) {
    const std::span<const FaultKind> kinds = all_faults();
    const auto found =
        std::find_if(kinds.begin(), kinds.end(), [&](const FaultKind& kind) { return kind.name == name; });
    return found == kinds.end() ? nullptr : &*found;
}

void note_strike(FaultReport& report, const StageKey& stage, int64_t position, int64_t element,
                 const std::string& detail) {
    ++report.rows;
    if (report.struck) return;
    report.struck = true;
    report.stage = stage;
    report.position = position;
    report.element = element;
    if (!detail.empty()) report.description += ": " + detail;
}

int64_t first_difference(std::span<const float> a, std::span<const float> b) {
    for (size_t i = 0; i < a.size(); ++i) {
        if (std::memcmp(&a[i], &b[i], sizeof(float)) != 0) return static_cast<int64_t>(i);
    }
    return -1;
}

StruckRows::StruckRows(const FaultPlace& place) : extent_(place.kind->extent), position_(place.spec.position) {
    if (extent_ == FaultExtent::onwards && !position_) position_ = 1;
}

bool StruckRows::wants(int64_t position) const {
    if (!position_) return true;
    return extent_ == FaultExtent::onwards ? position >= *position_ : position == *position_;
}

void StruckRows::struck(int64_t position) {
    if (extent_ == FaultExtent::one_row) position_ = position;
}

namespace {

// Copies rows of a tensor, one behind the other.
std::vector<float> flat(const Tensor& tensor, int64_t first, int64_t count) {
    std::vector<float> values;
    values.reserve(static_cast<size_t>(count * tensor.width()));
    for (int64_t row = first; row < first + count; ++row) {
        values.insert(values.end(), tensor.host_row(row), tensor.host_row(row) + tensor.width());
    }
    return values;
}

class RowFault final : public Fault {
  public:
    RowFault(const FaultPlace& place, FaultReport& report) : place_(place), report_(report), rows_(place) {}

    void before(VerbCall& call) override {
        before_ = kept(call.x, call);
        before2_ = kept(call.x2, call);
    }

    void after(const VerbCall& call) override {
        const int64_t slots = call.slots_of_row(), width = slots * call.out.width();
        std::vector<float> made = flat(call.out, 0, call.out.rows());
        for (int64_t row = 0; row < call.rows(); ++row) {
            if (rows_.wants(call.row(row).position)) {
                rewrite(call, row, std::span<const float>(made).subspan(static_cast<size_t>(row * width)).first(width));
            }
        }
        last_call_ = std::move(made);
    }

  private:
    void rewrite(const VerbCall& call, int64_t row, std::span<const float> made) {
        const std::vector<float> x = input(call.x, before_, call, row), x2 = input(call.x2, before2_, call, row);
        std::vector<float> wrong(made.begin(), made.end());
        std::string detail;
        const size_t first = static_cast<size_t>(row) * made.size();
        std::span<const float> previous;
        if (first + made.size() <= last_call_.size()) previous = std::span(last_call_).subspan(first, made.size());
        place_.kind->rewrite({.call = call,
                              .place = place_,
                              .row = row,
                              .x = x,
                              .x2 = x2,
                              .previous = previous,
                              .result = wrong,
                              .detail = detail});
        const int64_t element = first_difference(made, wrong);
        if (element < 0) return;
        const int64_t slots = call.slots_of_row(), width = call.out.width();
        for (int64_t slot = 0; slot < slots; ++slot) {
            std::memcpy(call.out.host_row(row * slots + slot), wrong.data() + slot * width,
                        static_cast<size_t>(width) * sizeof(float));
        }
        rows_.struck(call.row(row).position);
        note_strike(report_, place_.site.key, call.row(row).position, element, detail);
    }

    // An input, if the verb overwrites it with the result.
    static std::vector<float> kept(const Tensor& tensor, const VerbCall& call) {
        const bool in_place = tensor.rows() > 0 && call.out.rows() > 0 && tensor.host() == call.out.host();
        return in_place ? flat(tensor, 0, tensor.rows()) : std::vector<float>();
    }

    // The rows of an input that belong to a row of the call, as many for each. None if the counts do not match.
    static std::vector<float> input(const Tensor& tensor, const std::vector<float>& before, const VerbCall& call,
                                    int64_t row) {
        if (tensor.rows() == 0 || tensor.rows() % call.rows() != 0 || call.verb == Verb::gather_rows) return {};
        const int64_t each = tensor.rows() / call.rows();
        if (before.empty()) return flat(tensor, row * each, each);
        const auto start = before.begin() + row * each * tensor.width();
        return {start, start + each * tensor.width()};
    }

    const FaultPlace& place_;
    FaultReport& report_;
    StruckRows rows_;
    std::vector<float> before_, before2_;  // the inputs of a verb that overwrites them
    std::vector<float> last_call_;         // the verb's last result without the fault
};

}  // namespace

std::unique_ptr<Fault> make_row_fault(const FaultPlace& place, FaultReport& report) {
    return std::make_unique<RowFault>(place, report);
}

}  // namespace invar
