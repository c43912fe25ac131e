#include "proof/diff/diff_match.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "files/printable.h"
#include "text/tokenizer/from_gguf.h"

namespace invar {
namespace {

std::string shape_text(const std::vector<int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

struct Side {
    const GgufFile& file;
    const char* letter;
    const Architecture* architecture = nullptr;
    ModelConfig config;
    std::map<WeightId, WantedWeight> wanted;
    std::vector<WeightId> order;

    Result<void> read() {
        TRY_ASSIGN(architecture, find_architecture(file));
        TRY_ASSIGN(config, architecture->read_config(file));
        for (WantedWeight& weight : architecture->declare(config, file)) {
            order.push_back(weight.id);
            wanted.emplace(weight.id, std::move(weight));
        }
        return {};
    }
    // The tensor that holds a weight; through the owner where it is an alias.
    const TensorInfo* tensor(const WantedWeight& weight) const {
        const WantedWeight& owner = weight.alias_of ? wanted.at(*weight.alias_of) : weight;
        return file.find(owner.tensor);
    }
    std::vector<std::string> extra() const {
        std::set<std::string_view> used;
        for (const auto& [id, weight] : wanted) used.insert(weight.tensor);
        std::vector<std::string> found;
        for (const TensorInfo& tensor : file.tensors()) {
            if (!used.contains(tensor.name))
                found.push_back(fmt::format("'{}' {} is in {} and used by no weight of the model",
                                            printable(tensor.name), shape_text(tensor.shape), letter));
        }
        return found;
    }
};

// Whether rows of both can be compared: equal shapes, or tables of tokens of which one is padded.
bool comparable(const MatchedTensor& pair) {
    if (pair.a->shape == pair.b->shape) return true;
    const bool tokens = pair.id.role == Role::token_embedding || pair.id.role == Role::output_head;
    return tokens && pair.a->shape.size() == 2 && pair.b->shape.size() == 2 && pair.a->columns() == pair.b->columns();
}

void match_weight(const Side& a, const Side& b, WeightId id, CheckpointMatch& match) {
    const auto in_a = a.wanted.find(id), in_b = b.wanted.find(id);
    const TensorInfo* const tensor_a = in_a == a.wanted.end() ? nullptr : a.tensor(in_a->second);
    const TensorInfo* const tensor_b = in_b == b.wanted.end() ? nullptr : b.tensor(in_b->second);
    if (tensor_a == nullptr || tensor_b == nullptr) {
        if (tensor_a == tensor_b) {
            match.missing.push_back(fmt::format("{} is in neither file", to_string(id)));
            return;
        }
        match.missing.push_back(fmt::format(
            "{} is in {} ('{}') and not in {}", to_string(id), tensor_a != nullptr ? "A" : "B",
            printable(tensor_a != nullptr ? tensor_a->name : tensor_b->name), tensor_a != nullptr ? "B" : "A"));
        return;
    }
    MatchedTensor pair{.id = id, .a = tensor_a, .b = tensor_b, .rows = std::min(tensor_a->rows(), tensor_b->rows())};
    if (!comparable(pair)) {
        match.missing.push_back(fmt::format("{} has shape {} in A and {} in B", to_string(id),
                                            shape_text(tensor_a->shape), shape_text(tensor_b->shape)));
        return;
    }
    const bool alias_a = in_a->second.alias_of.has_value(), alias_b = in_b->second.alias_of.has_value();
    if (alias_a && alias_b) return;  // compared as its owner
    if (alias_a != alias_b) {
        pair.transforms.push_back(fmt::format("shared with {} in {}, stored in {}",
                                              to_string(*(alias_a ? in_a : in_b)->second.alias_of), alias_a ? "A" : "B",
                                              alias_a ? "B" : "A"));
    }
    if (tensor_a->rows() != tensor_b->rows()) {
        pair.transforms.push_back(fmt::format("padded in {} to {} rows, the first {} are compared",
                                              tensor_a->rows() > tensor_b->rows() ? "A" : "B",
                                              std::max(tensor_a->rows(), tensor_b->rows()), pair.rows));
    }
    match.pairs.push_back(std::move(pair));
}

// What changes the meaning of the weights, field by field.
void compare_configs(const ModelConfig& a, const ModelConfig& b, CheckpointMatch& match) {
    const auto differ = [&](std::vector<std::string>& list, std::string_view name, const auto& x, const auto& y) {
        if (x != y) list.push_back(fmt::format("{} is {} in A and {} in B", name, x, y));
    };
    std::vector<std::string>& numbers = match.hyperparameters;
    differ(numbers, "the width", a.width, b.width);
    differ(numbers, "the number of layers", a.layers.size(), b.layers.size());
    differ(numbers, "the norms' epsilon", a.norm_epsilon, b.norm_epsilon);
    differ(numbers, "the number of experts", a.experts.count, b.experts.count);
    differ(numbers, "experts per token", a.experts.per_token, b.experts.per_token);
    differ(numbers, "the experts' width", a.experts.width, b.experts.width);
    differ(numbers, "renormalised expert weights", a.experts.renormalise, b.experts.renormalise);
    differ(numbers, "rope's base", a.rope.base, b.rope.base);
    differ(numbers, "rope's width", a.rope.rotary_width, b.rope.rotary_width);
    differ(numbers, "rope's pairing", static_cast<int>(a.rope.pairing), static_cast<int>(b.rope.pairing));
    differ(numbers, "rope's scaling", static_cast<int>(a.rope.scaling), static_cast<int>(b.rope.scaling));
    differ(numbers, "rope's factor", a.rope.factor, b.rope.factor);
    differ(numbers, "rope's original context", a.rope.original_context, b.rope.original_context);
    differ(numbers, "rope's attention factor", a.rope.attn_factor, b.rope.attn_factor);
    differ(numbers, "rope's extrapolation factor", a.rope.ext_factor, b.rope.ext_factor);
    for (size_t i = 0; i < std::min(a.layers.size(), b.layers.size()); ++i) {
        const LayerGeometry &x = a.layers[i], &y = b.layers[i];
        differ(numbers, fmt::format("layer {}'s query heads", i), x.heads, y.heads);
        differ(numbers, fmt::format("layer {}'s KV heads", i), x.kv_heads, y.kv_heads);
        differ(numbers, fmt::format("layer {}'s key width", i), x.key_width, y.key_width);
        differ(numbers, fmt::format("layer {}'s value width", i), x.value_width, y.value_width);
        differ(numbers, fmt::format("layer {}'s window", i), x.window, y.window);
        differ(numbers, fmt::format("layer {}'s feed-forward width", i), x.ffn_width, y.ffn_width);
    }
    differ(match.notes, "the vocabulary", a.vocabulary, b.vocabulary);
    differ(match.notes, "the trained context", a.context_length, b.context_length);
}

void compare_text(const GgufFile& a, const GgufFile& b, CheckpointMatch& match) {
    const auto x = vocabulary_from_gguf(a.metadata()), y = vocabulary_from_gguf(b.metadata());
    if (!x || !y) {
        if (x.has_value() != y.has_value())
            match.notes.push_back(fmt::format("only {} has a tokenizer", x ? "A" : "B"));
        return;
    }
    const size_t common = std::min(x->tokens.size(), y->tokens.size());
    const auto [at, other] =
        std::mismatch(x->tokens.begin(), x->tokens.begin() + static_cast<std::ptrdiff_t>(common), y->tokens.begin());
    if (at != x->tokens.begin() + static_cast<std::ptrdiff_t>(common)) {
        match.hyperparameters.push_back(fmt::format("token {} is '{}' in A and '{}' in B", at - x->tokens.begin(),
                                                    printable(*at, 40), printable(*other, 40)));
    }
    const auto differ = [&](std::string_view name, int32_t p, int32_t q) {
        if (p != q) match.notes.push_back(fmt::format("the {} token is {} in A and {} in B", name, p, q));
    };
    differ("bos", x->bos, y->bos);
    differ("eos", x->eos, y->eos);
    differ("eot", x->eot, y->eot);
    const auto source = [](const GgufFile& file) {
        const auto text = file.metadata().string("tokenizer.chat_template");
        return text ? std::string(*text) : std::string();
    };
    if (source(a) != source(b)) match.notes.push_back("the chat templates differ");
}

}  // namespace

Result<CheckpointMatch> match_checkpoints(const GgufFile& a, const GgufFile& b) {
    Side side_a{.file = a, .letter = "A"}, side_b{.file = b, .letter = "B"};
    TRY(side_a.read());
    TRY(side_b.read());
    if (side_a.architecture != side_b.architecture) {
        return fail("{} is {} and {} is {}: these are not two checkpoints of one model", a.name(),
                    side_a.config.architecture, b.name(), side_b.config.architecture);
    }
    CheckpointMatch match;
    for (const WeightId id : side_a.order) match_weight(side_a, side_b, id, match);
    for (const WeightId id : side_b.order) {
        if (!side_a.wanted.contains(id)) match_weight(side_a, side_b, id, match);
    }
    for (const Side* side : {&side_a, &side_b}) {
        const std::vector<std::string> extra = side->extra();
        match.extra.insert(match.extra.end(), extra.begin(), extra.end());
    }
    compare_configs(side_a.config, side_b.config, match);
    compare_text(a, b, match);
    match.a = std::move(side_a.config);
    match.b = std::move(side_b.config);
    return match;
}

}  // namespace invar
