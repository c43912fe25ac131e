#include "checkpoint/binding.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "files/printable.h"

namespace invar {
namespace {

std::string shape_text(const std::vector<int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

// Rules by the end of a name.
struct IgnoreRule {
    std::string_view rule, end, because;
};
constexpr IgnoreRule kIgnored[] = {
    {"*.input_scale", ".input_scale", "scales of quantised activations: here activations get scales of their own"},
};

const IgnoreRule* rule_for(std::string_view name) {
    const auto* const found = std::find_if(std::begin(kIgnored), std::end(kIgnored),
                                           [&](const IgnoreRule& rule) { return name.ends_with(rule.end); });
    return found == std::end(kIgnored) ? nullptr : found;
}

// The rows of a tensor that belong to each matrix of a weight of this shape.
struct Slices {
    int64_t rows = 0;    // in the tensor, for one matrix
    int64_t wanted = 0;  // of them
    bool fits = false;
};

Slices slices_of(const TensorInfo& tensor, const std::vector<int64_t>& shape, const RowOrder& order) {
    const bool stack = shape.size() == 3;
    Slices slices{.wanted = shape.size() == 1 ? shape[0] : shape[shape.size() - 2]};
    if (tensor.shape.size() != shape.size()) return slices;
    slices.rows = shape.size() == 1 ? tensor.shape[0] : tensor.shape[shape.size() - 2];
    const bool same_matrices = !stack || tensor.shape[0] == shape[0];
    const bool same_columns = shape.size() == 1 || tensor.columns() == shape.back();
    // The tensor itself has to be used up; of a fused one a part is taken (count_rows() sees to the others).
    const bool enough =
        order.first == 0 && order.step == 1 ? true : order.first + (slices.wanted - 1) * order.step < slices.rows;
    slices.fits = same_matrices && same_columns && enough && slices.wanted <= slices.rows;
    return slices;
}

std::string recipe_of(const TensorInfo& tensor, const WantedWeight& weight, const RowOrder& order,
                      const Slices& slices) {
    std::string recipe;
    if (slices.rows != slices.wanted) {
        recipe = fmt::format("rows {} to {} of '{}'", order.first, order.first + slices.wanted * order.step - 1,
                             printable(tensor.name));
    }
    if (order.head_width > 0) {
        recipe +=
            fmt::format("{}rope's pairs are neighbouring rows and become halves of a head", recipe.empty() ? "" : "; ");
    }
    return recipe;
}

// The multiplier of each matrix of NVFP4 weights, which a tensor beside them holds; an absent one is 1.
Result<void> find_scales(const TensorInfo& tensor, const Checkpoint& checkpoint, StoredWeight& stored) {
    constexpr std::string_view kWeight = ".weight";
    if (stored.format->id != FormatId::nvfp4 || !tensor.name.ends_with(kWeight)) return {};
    const std::string name = tensor.name.substr(0, tensor.name.size() - kWeight.size()) + ".scale";
    const TensorInfo* scale = checkpoint.find(name);
    if (scale == nullptr) return {};
    const auto count = static_cast<int64_t>(stored.matrices.size());
    if (!scale->format->is_float || scale->weights() != count) {
        return fail("{}: tensor '{}' has shape {} in {}, but one number for each of {} matrices of '{}' is needed",
                    checkpoint.name(), name, shape_text(scale->shape), scale->format->name, count, tensor.name);
    }
    const StoredWeight numbers{
        .name = name, .format = scale->format, .shape = {count}, .matrices = {{.weights = scale}}};
    stored.scales.resize(static_cast<size_t>(count));
    TRY(RowReader(RowReader::Access::read).vector(numbers, stored.scales.data()));
    stored.scale_tensors.push_back(scale);
    for (const float value : stored.scales) {
        if (std::isfinite(value)) continue;
        return fail("{}: tensor '{}' holds {}, but the scale of a tensor is a number; the file is damaged",
                    checkpoint.name(), name, value);
    }
    return {};
}

Result<StoredWeight> store(const WantedWeight& weight, const TensorChoice& choice, const TensorInfo& tensor,
                           const Checkpoint& checkpoint) {
    const Slices slices = slices_of(tensor, weight.shape, choice.order);
    const bool whole = &choice == &weight.choices.front();
    if (!slices.fits || (whole && tensor.shape != weight.shape)) {
        return fail("{}: tensor '{}' has shape {}, but the metadata asks for {}; the file contradicts itself",
                    checkpoint.name(), tensor.name, shape_text(tensor.shape), shape_text(weight.shape));
    }
    if (weight.kind == WeightShape::vector && !tensor.format->is_float) {
        return fail("{}: tensor '{}' is a vector stored as {}, but norms and biases must be f32, f16 or bf16",
                    checkpoint.name(), tensor.name, tensor.format->name);
    }
    StoredWeight stored{.name = weight.tensor(),
                        .format = tensor.format,
                        .shape = weight.shape,
                        .law = choice.law,
                        .recipe = recipe_of(tensor, weight, choice.order, slices)};
    const int64_t count = weight.kind == WeightShape::stack ? weight.shape[0] : 1;
    for (int64_t i = 0; i < count; ++i) {
        StoredMatrix matrix{.weights = &tensor, .order = choice.order};
        matrix.order.first += i * slices.rows;
        stored.matrices.push_back(matrix);
    }
    TRY(find_scales(tensor, checkpoint, stored));
    return stored;
}

// How many rows of each tensor the weights use.
class RowsUsed {
  public:
    void add(const StoredWeight& stored) {
        if (stored.matrices.empty()) return;  // an alias has no tensor of its own
        const int64_t rows = stored.shape.size() == 1 ? stored.shape[0] : stored.rows_of_matrix();
        for (const StoredMatrix& matrix : stored.matrices) used_[matrix.weights->name] += rows;
        for (const TensorInfo* scale : stored.scale_tensors) used_[scale->name] += all_rows(*scale);
    }
    void add_read(const std::string& tensor) { read_.insert(tensor); }

    bool unused(const TensorInfo& tensor) const { return !used_.contains(tensor.name) && !read_.contains(tensor.name); }
    int64_t rows(const TensorInfo& tensor) const {
        return read_.contains(tensor.name) ? all_rows(tensor) : used_.at(tensor.name);
    }
    static int64_t all_rows(const TensorInfo& tensor) {
        return tensor.shape.size() == 1 ? tensor.shape[0] : tensor.rows();
    }

  private:
    std::map<std::string_view, int64_t> used_;
    std::set<std::string> read_;
};

RowsUsed count_rows(const ModelConfig& config, const std::vector<StoredWeight>& weights) {
    RowsUsed used;
    for (const StoredWeight& stored : weights) used.add(stored);
    for (const std::string& tensor : config.tensors_read) used.add_read(tensor);
    return used;
}

Result<void> check_used_up(const RowsUsed& used, const Checkpoint& checkpoint, Binding& binding) {
    for (const TensorInfo& tensor : checkpoint.tensors()) {
        if (!used.unused(tensor)) {
            const int64_t all = RowsUsed::all_rows(tensor), rows = used.rows(tensor);
            if (rows == all) continue;
            return fail("{}: of tensor '{}' {} of {} rows are used by weights of the model; each must be used once",
                        checkpoint.name(), printable(tensor.name), rows, all);
        }
        const IgnoreRule* rule = rule_for(tensor.name);
        if (rule == nullptr) {
            return fail(
                "{}: tensor '{}' (shape {}) is used by no weight of the model; running without it could change the "
                "answers",
                checkpoint.name(), printable(tensor.name), shape_text(tensor.shape));
        }
        auto row = std::find_if(binding.ignored.begin(), binding.ignored.end(),
                                [&](const IgnoredTensors& one) { return one.rule == rule->rule; });
        if (row == binding.ignored.end())
            row = binding.ignored.insert(row, {.rule = rule->rule, .because = rule->because});
        ++row->tensors;
        row->bytes += static_cast<int64_t>(tensor.bytes);
    }
    return {};
}

}  // namespace

Result<std::optional<StoredWeight>> find_stored(const WantedWeight& weight, const Checkpoint& checkpoint) {
    for (const TensorChoice& choice : weight.choices) {
        const TensorInfo* tensor = checkpoint.find(choice.tensor);
        if (tensor == nullptr) continue;
        TRY_ASSIGN(StoredWeight stored, store(weight, choice, *tensor, checkpoint));
        return std::optional<StoredWeight>(std::move(stored));
    }
    return std::optional<StoredWeight>();
}

Result<Binding> bind_weights(const ModelConfig& config, const std::vector<WantedWeight>& wanted,
                             const Checkpoint& checkpoint) {
    Binding binding;
    std::set<WeightId> filled;
    for (const WantedWeight& weight : wanted) {
        CHECK(filled.insert(weight.id).second, "a weight is declared once");
        StoredWeight& stored = binding.weights.emplace_back();
        if (weight.alias_of) continue;
        TRY_ASSIGN(std::optional<StoredWeight> found, find_stored(weight, checkpoint));
        if (!found) {
            return fail(
                "{}: tensor '{}' ({}, shape {}) is missing; the file is incomplete or names the wrong architecture",
                checkpoint.name(), weight.tensor(), to_string(weight.id), shape_text(weight.shape));
        }
        stored = std::move(*found);
    }
    TRY(check_used_up(count_rows(config, binding.weights), checkpoint, binding));
    return binding;
}

std::vector<const TensorInfo*> unused_tensors(const ModelConfig& config, const std::vector<WantedWeight>& wanted,
                                              const Checkpoint& checkpoint) {
    std::vector<StoredWeight> weights;
    for (const WantedWeight& weight : wanted) {
        auto found = find_stored(weight, checkpoint);
        if (found && *found) weights.push_back(std::move(**found));
    }
    const RowsUsed used = count_rows(config, weights);
    std::vector<const TensorInfo*> unused;
    for (const TensorInfo& tensor : checkpoint.tensors()) {
        if (used.unused(tensor) && rule_for(tensor.name) == nullptr) unused.push_back(&tensor);
    }
    return unused;
}

}  // namespace invar
