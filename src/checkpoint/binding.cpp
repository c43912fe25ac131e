// Binds every weight, counts what the weights use of each tensor, and applies the rules for tensors that are left over:
// see binding.h. weight_search.cpp finds one weight.
#include "checkpoint/binding.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "checkpoint/module_tensors.h"
#include "checkpoint/quantization_config.h"
#include "files/model_directory.h"
#include "files/printable.h"
#include "files/shape_text.h"

namespace invar {
namespace {

// Counts how many elements of each tensor of a checkpoint the weights use.
class ElementsUsed {
  public:
    explicit ElementsUsed(const Checkpoint& checkpoint) : checkpoint_(checkpoint), uses_(checkpoint.tensors().size()) {}

    void add(const StoredWeight& stored) {
        if (stored.matrices.empty()) return;
        const bool vector = stored.shape.size() == 1;
        const int64_t rows = vector ? stored.shape[0] : stored.rows_of_matrix();
        for (const StoredMatrix& matrix : stored.matrices) {
            const TensorInfo& tensor = *matrix.weights;
            const bool codes = stored.packing != CodePacking::blocks || matrix.source != nullptr;
            Use& use = of_tensor(tensor);
            use.used = true;
            if (stored.transposed) {
                use.by_column = true;
                use.elements += codes ? stored.columns() * of_row(tensor) : stored.columns() * rows;
            } else {
                use.elements += vector ? rows : rows * (codes ? of_row(tensor) : stored.columns());
            }
            if (matrix.scales != nullptr) of_tensor(*matrix.scales).read = true;
            if (matrix.source != nullptr) add_scales(*matrix.source);
        }
        for (const TensorInfo* tensor : stored.read) of_tensor(*tensor).read = true;
    }
    void add_read(const std::string& name) {
        if (const TensorInfo* tensor = checkpoint_.find(name)) of_tensor(*tensor).read = true;
    }

    bool unused(const TensorInfo& tensor) const { return !of_tensor(tensor).used && !of_tensor(tensor).read; }
    int64_t of(const TensorInfo& tensor) const {
        return of_tensor(tensor).read ? tensor.weights() : of_tensor(tensor).elements;
    }
    bool is_used_by_column(const TensorInfo& tensor) const { return of_tensor(tensor).by_column; }
    static int64_t of_row(const TensorInfo& tensor) { return tensor.weights() / rows(tensor); }

  private:
    struct Use {
        int64_t elements = 0;
        bool used = false, by_column = false, read = false;
    };

    // Weights refer to the checkpoint's own tensors.
    size_t place_of(const TensorInfo& tensor) const {
        return static_cast<size_t>(&tensor - checkpoint_.tensors().data());
    }
    Use& of_tensor(const TensorInfo& tensor) { return uses_.at(place_of(tensor)); }
    const Use& of_tensor(const TensorInfo& tensor) const { return uses_.at(place_of(tensor)); }

    // With four dimensions the tensor holds blocks of codes, [matrices, rows, blocks, bytes].
    static int64_t rows(const TensorInfo& tensor) {
        if (tensor.shape.size() == 4) return tensor.shape[0] * tensor.shape[1];
        return tensor.shape.size() == 1 ? tensor.shape[0] : tensor.rows();
    }
    void add_scales(const StoredWeight& source) {
        for (const StoredMatrix& matrix : source.matrices) {
            if (matrix.scales != nullptr) of_tensor(*matrix.scales).read = true;
        }
    }

    const Checkpoint& checkpoint_;
    std::vector<Use> uses_;  // of each tensor of the checkpoint
};

ElementsUsed count_elements(const ModelConfig& config, const std::vector<StoredWeight>& weights,
                            const Checkpoint& checkpoint) {
    ElementsUsed used(checkpoint);
    for (const StoredWeight& stored : weights) used.add(stored);
    for (const std::string& tensor : config.tensors_read) used.add_read(tensor);
    return used;
}

// A head that is tied but stored all the same.
constexpr IgnoreRule kTied{"the head", "the config says that it is the embedding"};

// Counts a tensor that a rule allows. What an architecture leaves out for one reason is one row, however many patterns
// name it.
void note_ignored(const IgnoreRule& rule, const TensorInfo& tensor, Binding& binding) {
    auto row = std::find_if(binding.ignored.begin(), binding.ignored.end(), [&](const IgnoredTensors& one) {
        return rule.kind == IgnoreKind::of_architecture ? one.because == rule.because : one.rule == rule.pattern;
    });
    if (row == binding.ignored.end()) {
        row = binding.ignored.insert(
            row, {.rule = std::string(rule.pattern), .because = std::string(rule.because), .kind = rule.kind});
    } else if (row->rule != rule.pattern && !row->rule.ends_with(", ...")) {
        row->rule += ", ...";
    }
    ++row->tensors;
    row->bytes += static_cast<int64_t>(tensor.bytes);
}

Result<void> check_used_up(const ModelConfig& config, const ElementsUsed& used, const std::vector<WantedWeight>& wanted,
                           const Checkpoint& checkpoint, Binding& binding) {
    std::set<std::string_view> tied;
    for (const WantedWeight& weight : wanted) {
        if (weight.alias_of) tied.insert(weight.tensor());
    }
    for (const TensorInfo& tensor : checkpoint.tensors()) {
        if (!used.unused(tensor)) {
            const int64_t all = tensor.weights(), some = used.of(tensor);
            if (some == all) continue;
            const bool rows = some % ElementsUsed::of_row(tensor) == 0 && !used.is_used_by_column(tensor);
            const int64_t unit = rows ? ElementsUsed::of_row(tensor) : 1;
            return fail("{}: of tensor '{}' {} of {} {} are used by weights of the model; each must be used once",
                        checkpoint.name(), printable(tensor.name), some / unit, all / unit, rows ? "rows" : "numbers");
        }
        const std::optional<IgnoreRule> rule =
            tied.contains(tensor.name) ? std::optional(kTied) : ignore_rule(tensor.name, checkpoint.dialect(), config);
        if (!rule) {
            return fail(
                "{}: tensor '{}' (shape {}) is used by no weight of the model; running without it could change the "
                "answers",
                checkpoint.name(), printable(tensor.name), shape_text(tensor.shape));
        }
        note_ignored(*rule, tensor, binding);
    }
    return {};
}

std::string_view module_of(const StoredMatrix& matrix) {
    const std::string_view name = matrix.weights->name;
    for (const std::string_view end : {".weight", ".weight_packed", "_blocks"}) {
        if (name.ends_with(end)) return name.substr(0, name.size() - end.size());
    }
    return name;
}

// Mistral's params.json states whether there are FP8 weights, without saying which.
Result<void> check_mistral(bool stated, const Checkpoint& checkpoint, const Binding& binding) {
    const auto f8 = std::find_if(binding.weights.begin(), binding.weights.end(), [](const StoredWeight& weight) {
        return weight.format != nullptr && weight.format->id == FormatId::f8_e4m3;
    });
    const bool stored = f8 != binding.weights.end();
    if (stored == stated) return {};
    const std::string& file = checkpoint.directory()->config_name();
    if (stated) {
        return fail(
            "{}: the key 'quantization.qformat_weight' is fp8_e4m3, but no weight is stored so; take the file "
            "that was written with the weights",
            file);
    }
    return fail(
        "{}: the key 'quantization' is missing or empty, but tensor '{}' holds FP8 weights; take the file that was "
        "written with the weights",
        file, printable(f8->name));
}

// Every quantised matrix must be stored as the config states. Every matrix that it means to be quantised must be
// quantised; otherwise its scales were lost on the way. The
// tables of tokens are not multiplied with, and routers are often no modules of their own.
Result<void> check_partition(const std::vector<WantedWeight>& wanted, const Checkpoint& checkpoint,
                             const Binding& binding) {
    TRY_ASSIGN(const std::optional<QuantizationConfig> config, QuantizationConfig::read(checkpoint));
    if (checkpoint.dialect() == Dialect::mistral) return check_mistral(config.has_value(), checkpoint, binding);
    if (!config) return {};
    for (size_t i = 0; i < wanted.size(); ++i) {
        const WantedWeight& weight = wanted[i];
        const auto in_file = [&](const StoredMatrix& matrix) -> const StoredWeight& {
            return matrix.source != nullptr ? *matrix.source : binding.weights[i];
        };
        if (!weight.alias_of && !holds_plain_numbers(*in_file(binding.weights[i].matrices.front()).format)) {
            for (const StoredMatrix& matrix : binding.weights[i].matrices)
                TRY(config->check(checkpoint.directory()->config_name(), module_of(matrix), in_file(matrix)));
            continue;
        }
        const bool meant = config->ignore_is_complete && weight.kind != WeightShape::vector &&
                           !weight.looked_up_by_row && weight.id.role != "router";
        if (!meant || weight.alias_of) continue;
        for (const StoredMatrix& matrix : binding.weights[i].matrices) {
            const std::string_view module = module_of(matrix);
            if (!config->means(module) || config->ignores(module)) continue;
            return fail(
                "{}: tensor '{}' is stored as {} without scales, but the config means it to be quantised and its "
                "ignore list does not name it; scales are missing",
                checkpoint.name(), printable(matrix.weights->name), binding.weights[i].format->name);
        }
    }
    return {};
}

}  // namespace

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
    TRY(check_partition(wanted, checkpoint, binding));
    TRY(check_used_up(config, count_elements(config, binding.weights, checkpoint), wanted, checkpoint, binding));
    return binding;
}

std::vector<const TensorInfo*> unused_tensors(const ModelConfig& config, const std::vector<WantedWeight>& wanted,
                                              const Checkpoint& checkpoint) {
    std::vector<StoredWeight> weights;
    for (const WantedWeight& weight : wanted) {
        auto found = find_stored(weight, checkpoint);
        if (found && *found) weights.push_back(std::move(**found));
    }
    const ElementsUsed used = count_elements(config, weights, checkpoint);
    std::vector<const TensorInfo*> unused;
    for (const TensorInfo& tensor : checkpoint.tensors()) {
        if (used.unused(tensor) && !ignore_rule(tensor.name, checkpoint.dialect(), config)) unused.push_back(&tensor);
    }
    return unused;
}

}  // namespace invar
