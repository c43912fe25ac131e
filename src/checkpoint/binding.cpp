// Tries the ways in which each weight may be stored, counts the rows that weights use of each tensor, and applies the
// rules for tensors that are left over: see binding.h.
#include "checkpoint/binding.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "checkpoint/module_tensors.h"
#include "checkpoint/quantization_config.h"
#include "files/model_directory.h"
#include "files/printable.h"
#include "files/shape_text.h"

namespace invar {
namespace {

// A rule matches a part of a name: its end, its beginning, or a tensor that shares its storage.
struct IgnoreRule {
    enum class Where : uint8_t { end, start } where;
    std::string_view rule, text, because;
};
constexpr std::string_view kActivations = "scales of quantised activations: here activations get scales of their own";
constexpr std::string_view kCacheScales = "scales of a quantised cache: here the cache is not";
constexpr std::string_view kOtherSenses = "not part of the text model";
using Where = IgnoreRule::Where;
constexpr IgnoreRule kGgufRules[] = {{Where::end, "*.input_scale", ".input_scale", kActivations}};
constexpr IgnoreRule kHuggingFaceRules[] = {
    {Where::end, "*.input_scale", ".input_scale", kActivations},
    {Where::end, "*.input_global_scale", ".input_global_scale", kActivations},
    {Where::end, "*.activation_scale", ".activation_scale", kActivations},
    {Where::end, "*.k_scale", ".k_scale", kCacheScales},
    {Where::end, "*.v_scale", ".v_scale", kCacheScales},
    {Where::end, "*.rotary_emb.inv_freq", ".rotary_emb.inv_freq", "rope's frequencies, which the config gives"},
    {Where::start, "vision_tower.*", "vision_tower.", kOtherSenses},
    {Where::start, "model.vision_tower.*", "model.vision_tower.", kOtherSenses},
    {Where::start, "visual.*", "visual.", kOtherSenses},
    {Where::start, "model.visual.*", "model.visual.", kOtherSenses},
    {Where::start, "multi_modal_projector.*", "multi_modal_projector.", kOtherSenses},
    {Where::start, "model.multi_modal_projector.*", "model.multi_modal_projector.", kOtherSenses},
    {Where::start, "audio_tower.*", "audio_tower.", kOtherSenses},
    {Where::start, "mtp.*", "mtp.", "a head that predicts several tokens, which is not computed"},
};

// Of Mistral's own layout.
constexpr IgnoreRule kMistralRules[] = {
    {Where::end, "*.qscale_act", ".qscale_act", kActivations},
    {Where::start, "vision_encoder.*", "vision_encoder.", kOtherSenses},
    {Where::start, "vision_language_adapter.*", "vision_language_adapter.", kOtherSenses},
    {Where::start, "patch_merger.*", "patch_merger.", kOtherSenses},
    {Where::start, "pre_mm_projector_norm.*", "pre_mm_projector_norm.", kOtherSenses},
};

std::span<const IgnoreRule> rules_of(Dialect dialect) {
    switch (dialect) {
        case Dialect::gguf:
            return kGgufRules;
        case Dialect::hugging_face:
            return kHuggingFaceRules;
        case Dialect::mistral:
            return kMistralRules;
    }
    return {};
}

const IgnoreRule* rule_for(std::string_view name, Dialect dialect) {
    const std::span<const IgnoreRule> rules = rules_of(dialect);
    const auto found = std::find_if(rules.begin(), rules.end(), [&](const IgnoreRule& rule) {
        return rule.where == Where::end ? name.ends_with(rule.text) : name.starts_with(rule.text);
    });
    return found == rules.end() ? nullptr : &*found;
}

// The rows of a module that belong to each matrix of a weight of this shape.
struct Slices {
    int64_t rows = 0;    // in the module, for one matrix
    int64_t wanted = 0;  // how many of them
    bool fits = false;
};

Slices slices_of(const std::vector<int64_t>& stored, const std::vector<int64_t>& wanted, const RowOrder& order) {
    const auto rows_of = [](const std::vector<int64_t>& shape) {
        return shape.size() == 1 ? shape[0] : shape[shape.size() - 2];
    };
    Slices slices{.wanted = rows_of(wanted)};
    if (stored.size() != wanted.size()) return slices;
    slices.rows = rows_of(stored);
    const bool same_matrices = wanted.size() < 3 || stored[0] == wanted[0];
    const bool same_columns = wanted.size() == 1 || stored.back() == wanted.back();
    const bool enough = order.first + (slices.wanted - 1) * order.step < slices.rows;
    slices.fits = same_matrices && same_columns && enough;
    return slices;
}

std::string recipe_of(const ModuleTensors& module, const TensorChoice& choice, const Slices& slices, int64_t experts) {
    std::vector<std::string> parts;
    if (experts > 1) parts.push_back(fmt::format("{} experts joined", experts));
    if (slices.rows != slices.wanted) {
        parts.push_back(fmt::format("rows {} to {} of '{}'", choice.order.first,
                                    choice.order.first + (slices.wanted - 1) * choice.order.step,
                                    printable(module.weights->name)));
    }
    if (choice.order.head_width > 0)
        parts.emplace_back("rope's pairs are neighbouring rows and become halves of a head");
    if (module.scales != nullptr) parts.emplace_back("codes and scales put into blocks");
    if (!module.multipliers.empty()) parts.emplace_back("scale of the whole tensor beside it");
    if (!module.row_multipliers.empty()) parts.emplace_back("scale of each row beside it");
    return fmt::format("{}", fmt::join(parts, "; "));
}

tl::unexpected<Error> misshapen(const Checkpoint& checkpoint, const TensorInfo& tensor,
                                const std::vector<int64_t>& stored, const std::vector<int64_t>& wanted) {
    return fail("{}: tensor '{}' has shape {}, but the {} asks for {}; the file contradicts itself", checkpoint.name(),
                printable(tensor.name), shape_text(stored),
                checkpoint.dialect() == Dialect::gguf ? "metadata" : "config", shape_text(wanted));
}

// Adds one module's matrices and scales to a weight. `shape` is the shape of the part of the weight that they make.
Result<void> add_module(const ModuleTensors& module, const TensorChoice& choice, const std::vector<int64_t>& shape,
                        const Checkpoint& checkpoint, bool whole, StoredWeight& stored) {
    const Slices slices = slices_of(module.shape, shape, choice.order);
    if (!slices.fits || (whole && module.shape != shape))
        return misshapen(checkpoint, *module.weights, module.shape, shape);
    if (stored.format != nullptr &&
        (stored.format != module.format || stored.packing != module.packing ||
         stored.scale_order != module.scale_order || stored.scales.empty() != module.multipliers.empty() ||
         stored.row_scales.empty() != module.row_multipliers.empty())) {
        return fail(ErrorKind::unsupported,
                    "{}: tensor '{}' is stored as {} and the experts before it as {}; experts of one layer must be "
                    "stored alike",
                    checkpoint.name(), printable(module.weights->name), module.format->name, stored.format->name);
    }
    stored.format = module.format;
    stored.packing = module.packing;
    stored.scale_order = module.scale_order;
    const int64_t count = shape.size() == 3 ? shape[0] : 1;
    for (int64_t i = 0; i < count; ++i) {
        StoredMatrix matrix{.weights = module.weights, .scales = module.scales, .order = choice.order};
        matrix.order.first += i * slices.rows;
        stored.matrices.push_back(matrix);
        if (!module.multipliers.empty())
            stored.scales.push_back(module.multipliers[module.multipliers.size() == 1 ? 0 : static_cast<size_t>(i)]);
        if (!module.divisors.empty()) stored.divisors.push_back(module.divisors.front());
        for (int64_t row = 0; row < slices.wanted && !module.row_multipliers.empty(); ++row)
            stored.row_scales.push_back(module.row_multipliers[static_cast<size_t>(matrix.order.at(row))]);
    }
    stored.read.insert(stored.read.end(), module.read.begin(), module.read.end());
    return {};
}

// The name of an expert's tensor.
std::string expert_name(const std::string& pattern, int64_t expert) {
    const size_t place = pattern.find("{}");
    return pattern.substr(0, place) + std::to_string(expert) + pattern.substr(place + 2);
}

// Finds the weight in one of the ways in which it may be stored; nothing if none of its tensors is there.
Result<std::optional<StoredWeight>> find_choice(const WantedWeight& weight, const TensorChoice& choice,
                                                const Checkpoint& checkpoint) {
    StoredWeight stored{.name = weight.tensor(), .shape = weight.shape, .law = choice.law};
    const bool whole = &choice == &weight.choices.front();
    const bool apart = choice.tensor.find("{}") != std::string::npos;
    const int64_t experts = apart ? weight.shape[0] : 1;
    const std::vector<int64_t> shape =
        apart ? std::vector<int64_t>(weight.shape.begin() + 1, weight.shape.end()) : weight.shape;
    for (int64_t expert = 0; expert < experts; ++expert) {
        const std::string name = apart ? expert_name(choice.tensor, expert) : choice.tensor;
        TRY_ASSIGN(const std::optional<ModuleTensors> module, find_module(checkpoint, name));
        if (!module && expert == 0) return std::optional<StoredWeight>();
        if (!module) {
            return fail("{}: tensor '{}' ({}, expert {} of {}) is missing; the file is incomplete", checkpoint.name(),
                        name, to_string(weight.id), expert, experts);
        }
        TRY(add_module(*module, choice, shape, checkpoint, whole, stored));
        if (expert == 0)
            stored.recipe = recipe_of(*module, choice, slices_of(module->shape, shape, choice.order), experts);
    }
    if (weight.kind == WeightShape::vector && !holds_plain_numbers(*stored.format)) {
        return fail("{}: tensor '{}' is a vector stored as {}, but norms and biases must be f32, f16 or bf16",
                    checkpoint.name(), choice.tensor, stored.format->name);
    }
    return std::optional<StoredWeight>(std::move(stored));
}

// Counts how many rows of each tensor the weights use.
class RowsUsed {
  public:
    void add(const StoredWeight& stored) {
        if (stored.matrices.empty()) return;
        const int64_t rows = stored.shape.size() == 1 ? stored.shape[0] : stored.rows_of_matrix();
        for (const StoredMatrix& matrix : stored.matrices) {
            used_[matrix.weights->name] += rows;
            if (matrix.scales != nullptr) read_.insert(matrix.scales->name);
        }
        for (const TensorInfo* tensor : stored.read) read_.insert(tensor->name);
    }
    void add_read(const std::string& tensor) { read_.insert(tensor); }

    bool unused(const TensorInfo& tensor) const { return !used_.contains(tensor.name) && !read_.contains(tensor.name); }
    int64_t rows(const TensorInfo& tensor) const {
        return read_.contains(tensor.name) ? all_rows(tensor) : used_.at(tensor.name);
    }
    // With four dimensions the tensor holds blocks of codes, [matrices, rows, blocks, bytes].
    static int64_t all_rows(const TensorInfo& tensor) {
        if (tensor.shape.size() == 4) return tensor.shape[0] * tensor.shape[1];
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

// A head that is tied but stored all the same.
constexpr IgnoreRule kTied{Where::end, "the head", "", "the config says that it is the embedding"};

Result<void> check_used_up(const RowsUsed& used, const std::vector<WantedWeight>& wanted, const Checkpoint& checkpoint,
                           Binding& binding) {
    std::set<std::string_view> tied;
    for (const WantedWeight& weight : wanted) {
        if (weight.alias_of) tied.insert(weight.tensor());
    }
    for (const TensorInfo& tensor : checkpoint.tensors()) {
        if (!used.unused(tensor)) {
            const int64_t all = RowsUsed::all_rows(tensor), rows = used.rows(tensor);
            if (rows == all) continue;
            return fail("{}: of tensor '{}' {} of {} rows are used by weights of the model; each must be used once",
                        checkpoint.name(), printable(tensor.name), rows, all);
        }
        const IgnoreRule* rule = tied.contains(tensor.name) ? &kTied : rule_for(tensor.name, checkpoint.dialect());
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
        if (!weight.alias_of && !holds_plain_numbers(*binding.weights[i].format)) {
            for (const StoredMatrix& matrix : binding.weights[i].matrices)
                TRY(config->check(checkpoint.directory()->config_name(), module_of(matrix), binding.weights[i]));
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

Result<std::optional<StoredWeight>> find_stored(const WantedWeight& weight, const Checkpoint& checkpoint) {
    for (const TensorChoice& choice : weight.choices) {
        TRY_ASSIGN(std::optional<StoredWeight> stored, find_choice(weight, choice, checkpoint));
        if (stored) return stored;
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
    TRY(check_partition(wanted, checkpoint, binding));
    TRY(check_used_up(count_rows(config, binding.weights), wanted, checkpoint, binding));
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
        if (used.unused(tensor) && rule_for(tensor.name, checkpoint.dialect()) == nullptr) unused.push_back(&tensor);
    }
    return unused;
}

}  // namespace invar
