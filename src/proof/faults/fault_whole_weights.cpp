// Faults of a whole matrix, or of all experts of a layer: its memory was never filled, or its scale is inverted. A
// fault had an effect if some result differs from the dot product with the right weight; results are compared until one
// does.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "formats/nvfp4/nvfp4.h"
#include "load/registry.h"
#include "proof/faults/fault_kind.h"
#include "proof/faults/stored_rows.h"

namespace invar::faults {
namespace {

// Gives the verb another matrix or stack.
class WholeWeightFault : public Fault {
  public:
    WholeWeightFault(const FaultPlace& place, FaultReport& report) : place_(place), report_(report) {}

    void before(VerbCall& call) override {
        right_matrix_ = call.matrix;
        right_stack_ = call.stack;
        if (call.stack != nullptr) {
            stack_ = *call.stack;
            alter(stack_.first, stack_.stride_bytes);
            if (stack_.first.data != call.stack->first.data)
                stack_.stride_bytes = 0;  // every expert reads the same altered matrix
            call.stack = &stack_;
        } else {
            matrix_ = *call.matrix;
            alter(matrix_, matrix_.bytes);
            call.matrix = &matrix_;
        }
    }

    void after(const VerbCall& call) override {
        if (report_.struck) {
            ++report_.rows;
            return;
        }
        const int64_t slots = call.slots_of_row();
        for (int64_t place = 0; place < call.out.rows(); ++place) {
            const int64_t element = first_wrong_element(call, place);
            if (element < 0) continue;
            note_strike(report_, place_.site.key, call.row(place / slots).position,
                        place % slots * call.out.width() + element, detail_);
            return;
        }
    }

  protected:
    // Changes the matrix that the verb reads. `bytes` is the size of one matrix.
    virtual void alter(WeightMatrix& matrix, int64_t bytes) = 0;

    std::string detail_;

  private:
    int64_t first_wrong_element(const VerbCall& call, int64_t place) const {
        const float* made = call.out.host_row(place);
        if (call.verb == Verb::embed) {
            const std::vector<float> right = right_embedding(call.row_of_table(call.row(place)));
            return first_difference(right, {made, right.size()});
        }
        const ProductPlace from = product_place(call, place);
        const WeightMatrix matrix = right_stack_ != nullptr ? right_stack_->at(from.matrix) : *right_matrix_;
        const LawInput input(*matrix.format, call.x.host_row(from.row_of_x), matrix.columns);
        for (int64_t r = 0; r < matrix.rows; ++r) {
            const float right = input.dot(matrix, r, stored_row(matrix, r).data());
            if (first_difference({&right, 1}, {made + r, 1}) >= 0) return r;
        }
        return -1;
    }

    std::vector<float> right_embedding(int64_t row) const {
        const WeightMatrix& table = *right_matrix_;
        std::vector<float> right(static_cast<size_t>(table.columns));
        table.format->decode(stored_row(table, row).data(), table.columns, right.data());
        for (float& value : right) value = scaled(table, row, value);
        return right;
    }

    const FaultPlace& place_;
    FaultReport& report_;
    const WeightMatrix* right_matrix_ = nullptr;
    const WeightStack* right_stack_ = nullptr;
    WeightMatrix matrix_;
    WeightStack stack_;
};

// A matrix in memory that was reserved and never filled.
class ZeroWeight final : public WholeWeightFault {
  public:
    using WholeWeightFault::WholeWeightFault;

  protected:
    void alter(WeightMatrix& matrix, int64_t bytes) override {
        if (zeros_.size() < bytes) {
            auto zeros = AlignedBytes::allocate(bytes);
            if (!zeros) {
                detail_ = fmt::format("not done: {}", zeros.error().message);
                return;
            }
            zeros_ = std::move(*zeros);
            std::memset(zeros_.data(), 0, static_cast<size_t>(bytes));
        }
        matrix.data = zeros_.data();
    }

  private:
    AlignedBytes zeros_;
};

// Changes the tensor scale of an NVFP4 matrix.
class ChangedScale final : public WholeWeightFault {
  public:
    ChangedScale(const FaultPlace& place, FaultReport& report, float (*change)(float))
        : WholeWeightFault(place, report), change_(change) {}

  protected:
    void alter(WeightMatrix& matrix, int64_t) override {
        const float right = matrix.scale;
        matrix.scale = change_(right);
        detail_ = fmt::format("its tensor scale is {} in place of {}", matrix.scale, right);
    }

  private:
    float (*change_)(float);
};

// For a matrix without a tensor scale: multiplies results by s^-2, as if the matrix were NVFP4 with tensor scale s and
// the scale had been inverted.
class ScaledResults final : public Fault {
  public:
    ScaledResults(const FaultPlace& place, FaultReport& report) : place_(place), report_(report) {}

    void after(const VerbCall& call) override {
        const WeightMatrix matrix = call.stack != nullptr ? call.stack->first : *call.matrix;
        const float scale = nvfp4::tensor_scale(largest_weight(matrix));
        const float factor = 1.0f / (scale * scale);
        const std::string detail =
            fmt::format("results times {}: {} has no tensor scale; as NVFP4 it would have {}, taken for its inverse",
                        factor, matrix.format->name, scale);
        const int64_t slots = call.slots_of_row(), width = call.out.width();
        for (int64_t place = 0; place < call.out.rows(); ++place) {
            float* result = call.out.host_row(place);
            const std::vector<float> made(result, result + width);
            for (int64_t i = 0; i < width; ++i) result[i] = result[i] * factor;
            const int64_t element = first_difference(made, {result, made.size()});
            if (element < 0) continue;
            note_strike(report_, place_.site.key, call.row(place / slots).position, place % slots * width + element,
                        detail);
        }
    }

  private:
    // The largest weight of the first 64 rows, which is enough for a power of two.
    static float largest_weight(const WeightMatrix& matrix) {
        float largest = 0;
        std::vector<float> row(static_cast<size_t>(matrix.columns));
        for (int64_t r = 0; r < std::min<int64_t>(matrix.rows, 64); ++r) {
            matrix.format->decode(stored_row(matrix, r).data(), matrix.columns, row.data());
            for (const float weight : row) largest = std::max(largest, std::fabs(weight));
        }
        return largest;
    }

    const FaultPlace& place_;
    FaultReport& report_;
};

// Exporters store the scale s of an NVFP4 tensor as a multiplier or as a divisor. A loader that confuses the two uses 1
// / s. Which of the two classes applies is known when the matrix is.
class InvertedScale final : public Fault {
  public:
    InvertedScale(const FaultPlace& place, FaultReport& report)
        : changed_(place, report, [](float scale) { return 1.0f / scale; }), scaled_(place, report) {}

    void before(VerbCall& call) override {
        const WeightMatrix& matrix = call.stack != nullptr ? call.stack->first : *call.matrix;
        has_scale_ = matrix.scale != 1.0f;
        if (has_scale_) changed_.before(call);
    }
    void after(const VerbCall& call) override { has_scale_ ? changed_.after(call) : scaled_.after(call); }

  private:
    bool has_scale_ = false;
    ChangedScale changed_;
    ScaledResults scaled_;
};

}  // namespace

std::unique_ptr<Fault> zero_weight(const FaultPlace& place, FaultReport& report) {
    return std::make_unique<ZeroWeight>(place, report);
}

std::unique_ptr<Fault> invert_scale(const FaultPlace& place, FaultReport& report) {
    return std::make_unique<InvertedScale>(place, report);
}

// NVFP4 blocks have no NaN, but the tensor scale can be one.
std::unique_ptr<Fault> poison_scale(const FaultPlace& place, FaultReport& report) {
    return std::make_unique<ChangedScale>(place, report, [](float) { return std::nanf(""); });
}

}  // namespace invar::faults
