#include "models/weight_visitors.h"

#include <algorithm>
#include <utility>

#include "models/hyperparameters.h"

namespace invar {

Declaration::Declaration(const Checkpoint& checkpoint)
    : checkpoint_(checkpoint), names_(checkpoint), tied_(is_tied()) {}

// The config says whether the head is the embedding; in a GGUF file the head is missing then. Models that also see may
// say it beside the text model's config. Such a directory often has a head of its own all the same, which counts.
bool Declaration::is_tied() const {
    if (dialect() == Dialect::gguf) return false;
    const Hyperparameters keys(checkpoint_);
    if (keys.boolean_or("tied head", false).value_or(false)) return true;
    const bool absent = checkpoint_.find(names_.name(-1, "output.weight", "lm_head.weight", true)) == nullptr;
    return absent && keys.boolean_at_top("tied head", false).value_or(false);
}

void Declaration::vector(const WeightVector&, WeightNames names, int64_t size, const VectorOptions& options) {
    std::vector<TensorChoice> choices = {choice(tensor_name(names), held_as(options.gguf, options.hugging_face))};
    add_others(choices, names, options.others);
    const bool there = std::any_of(choices.begin(), choices.end(),
                                   [&](const TensorChoice& one) { return checkpoint_.find(one.tensor) != nullptr; });
    if (options.need == Need::never || (options.need == Need::if_present && !there)) return;
    WantedWeight& weight = add(names, WeightShape::vector, {size});
    weight.choices = std::move(choices);
    weight.gguf.as = options.gguf;
}

void Declaration::vector(const std::optional<WeightVector>&, WeightNames names, int64_t size,
                         const VectorOptions& options) {
    vector(WeightVector(), names, size, options);
}

void Declaration::matrix(const WeightMatrix&, WeightNames names, int64_t rows, int64_t columns,
                         const MatrixOptions& options) {
    add_choices(add(names, WeightShape::matrix, {rows, columns}), names, options);
}

void Declaration::stack(const WeightStack&, WeightNames names, std::vector<int64_t> shape,
                        const MatrixOptions& options) {
    add_choices(add(names, WeightShape::stack, std::move(shape)), names, options);
}

std::string Declaration::tensor_name(WeightNames names, bool head) const {
    return names_.name(layer_, names.gguf, names.hugging_face, head);
}

// Mistral's own files have GGUF's order of rows.
HeldAs Declaration::held_as(const HeldAs& gguf, const HeldAs& hugging_face) const {
    if (dialect() == Dialect::mistral) return {.order = gguf.order};
    return dialect() == Dialect::gguf ? gguf : hugging_face;
}

TensorChoice Declaration::choice(std::string tensor, HeldAs as) const {
    TensorChoice choice{.tensor = std::move(tensor), .as = std::move(as)};
    if (!choice.as.factors.empty()) choice.factors = tensor_name({"", choice.as.factors, choice.as.factors});
    return choice;
}

WantedWeight& Declaration::add(WeightNames names, WeightShape kind, std::vector<int64_t> shape) {
    wanted_.push_back({.id = {layer_, names.role}, .kind = kind, .shape = std::move(shape)});
    wanted_.back().gguf.tensor = gguf_name(layer_, names.gguf);
    return wanted_.back();
}

void Declaration::add_others(std::vector<TensorChoice>& choices, WeightNames names,
                             const std::vector<OtherTensor>& others) const {
    for (const OtherTensor& other : others) {
        if (other.dialect != dialect()) continue;
        choices.push_back(choice(tensor_name({names.role, other.tensor, other.tensor}), other.as));
    }
}

void Declaration::add_choices(WantedWeight& weight, WeightNames names, const MatrixOptions& options) {
    weight.looked_up_by_row = options.use == MatrixOptions::Use::table;
    weight.makes_logits = options.use == MatrixOptions::Use::logits;
    weight.head_width = options.head_width;
    const HeldAs as = held_as(options.gguf, options.hugging_face);
    weight.choices = {choice(tensor_name(names, weight.makes_logits), as)};
    weight.gguf.as = options.gguf;
    const std::string_view fused = dialect() == Dialect::gguf ? options.gguf_fused : options.hugging_face_fused;
    if (!fused.empty() && dialect() != Dialect::mistral) {
        HeldAs slice = as;
        slice.order.first += options.fused_row;
        weight.choices.push_back(choice(tensor_name({names.role, fused, fused}), std::move(slice)));
    }
    add_others(weight.choices, names, options.others);
    const bool absent = dialect() == Dialect::gguf ? checkpoint_.find(weight.tensor()) == nullptr : tied_;
    if (!options.alias_of.empty() && absent) weight.alias_of = WeightId{layer_, options.alias_of};
}

}  // namespace invar
