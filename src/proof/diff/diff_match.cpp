#include "proof/diff/diff_match.h"

#include <algorithm>
#include <map>
#include <optional>

#include "files/printable.h"
#include "files/shape_text.h"
#include "text/tokenizer/from_checkpoint.h"
#include "text/tokenizer/from_gguf.h"

namespace invar {
namespace {

struct Side {
    const Checkpoint& file;
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
    // How the file stores a weight; for an alias, how it stores the owner. Nothing if it is missing or misshapen.
    std::optional<StoredWeight> stored(const WantedWeight& weight) const {
        auto found = find_stored(weight.alias_of ? wanted.at(*weight.alias_of) : weight, file);
        return found ? std::move(*found) : std::nullopt;
    }
    std::vector<std::string> extra() const {
        std::vector<WantedWeight> all;
        for (const auto& [id, weight] : wanted) all.push_back(weight);
        std::vector<std::string> found;
        for (const TensorInfo* tensor : unused_tensors(config, all, file)) {
            found.push_back(fmt::format("'{}' {} is in {} and used by no weight of the model", printable(tensor->name),
                                        shape_text(tensor->shape), letter));
        }
        return found;
    }
};

// Whether rows can be compared: the shapes are equal, or they are token tables of which one is padded.
bool comparable(const MatchedTensor& pair, const WantedWeight& weight) {
    if (pair.a.shape == pair.b.shape) return true;
    const bool tokens = weight.looked_up_by_row || weight.makes_logits;
    return tokens && pair.a.shape.size() == 2 && pair.b.shape.size() == 2 && pair.a.columns() == pair.b.columns();
}

void match_weight(const Side& a, const Side& b, WeightId id, CheckpointMatch& match) {
    const auto in_a = a.wanted.find(id), in_b = b.wanted.find(id);
    auto stored_a = in_a == a.wanted.end() ? std::nullopt : a.stored(in_a->second);
    auto stored_b = in_b == b.wanted.end() ? std::nullopt : b.stored(in_b->second);
    if (!stored_a || !stored_b) {
        if (!stored_a && !stored_b) {
            match.missing.push_back(fmt::format("{} is in neither file", to_string(id)));
            return;
        }
        match.missing.push_back(fmt::format("{} is in {} ('{}') and not in {}", to_string(id), stored_a ? "A" : "B",
                                            printable(stored_a ? stored_a->name : stored_b->name),
                                            stored_a ? "B" : "A"));
        return;
    }
    const WantedWeight& weight = in_a->second;
    MatchedTensor pair{.id = id, .a = std::move(*stored_a), .b = std::move(*stored_b), .head_width = weight.head_width};
    pair.rows = std::min(pair.a.rows(), pair.b.rows());
    if (!comparable(pair, weight)) {
        match.missing.push_back(fmt::format("{} has shape {} in A and {} in B", to_string(id), shape_text(pair.a.shape),
                                            shape_text(pair.b.shape)));
        return;
    }
    const bool alias_a = in_a->second.alias_of.has_value(), alias_b = in_b->second.alias_of.has_value();
    if (alias_a && alias_b) return;  // its owner is compared
    if (alias_a != alias_b) {
        pair.transforms.push_back(fmt::format("shared with {} in {}, stored in {}",
                                              to_string(*(alias_a ? in_a : in_b)->second.alias_of), alias_a ? "A" : "B",
                                              alias_a ? "B" : "A"));
    }
    if (pair.a.rows() != pair.b.rows()) {
        pair.transforms.push_back(fmt::format("padded in {} to {} rows, the first {} are compared",
                                              pair.a.rows() > pair.b.rows() ? "A" : "B",
                                              std::max(pair.a.rows(), pair.b.rows()), pair.rows));
    }
    match.pairs.push_back(std::move(pair));
}

// Compares, field by field, the hyper-parameters that change the meaning of weights.
void compare_configs(const ModelConfig& a, const ModelConfig& b, CheckpointMatch& match) {
    const std::vector<ConfigField> x = fields_of(a), y = fields_of(b);
    std::map<std::string_view, std::string_view> in_b;
    for (const ConfigField& field : y) in_b.emplace(field.name, field.value);
    for (const ConfigField& field : x) {
        const auto found = in_b.find(field.name);
        if (found != in_b.end() && found->second != field.value) {
            match.hyperparameters.push_back(
                fmt::format("{} is {} in A and {} in B", field.name, field.value, found->second));
        }
    }
    const auto differ = [&](std::string_view name, int64_t p, int64_t q) {
        if (p != q) match.notes.push_back(fmt::format("{} is {} in A and {} in B", name, p, q));
    };
    differ("the vocabulary", a.vocabulary, b.vocabulary);
    differ("the trained context", a.context_length, b.context_length);
}

// Compares two tokenizers by the text to which each token decodes, if at least one file is not GGUF.
void compare_tokenizers(const Checkpoint& a, const Checkpoint& b, CheckpointMatch& match) {
    const auto x = read_tokenizer(a), y = read_tokenizer(b);
    if (!x || !y) {
        if (x.has_value() != y.has_value())
            match.notes.push_back(fmt::format("only {} has a tokenizer that can be read", x ? "A" : "B"));
        return;
    }
    for (int32_t token = 0; token < std::min(x->size(), y->size()); ++token) {
        if (!x->has(token) || !y->has(token) || x->piece(token) == y->piece(token)) continue;
        match.hyperparameters.push_back(fmt::format("token {} is '{}' in A and '{}' in B", token,
                                                    printable(x->piece(token), 40), printable(y->piece(token), 40)));
        break;
    }
    const auto p = read_chat_template(a), q = read_chat_template(b);
    const auto text = [](const auto& stored) { return stored && *stored ? (*stored)->text : std::string(); };
    if (text(p) != text(q)) match.notes.push_back("the chat templates differ");
}

void compare_text(const Checkpoint& a, const Checkpoint& b, CheckpointMatch& match) {
    if (a.directory() != nullptr || b.directory() != nullptr) return compare_tokenizers(a, b, match);
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
    const auto source = [](const Checkpoint& file) {
        const auto text = file.metadata().string("tokenizer.chat_template");
        return text ? std::string(*text) : std::string();
    };
    if (source(a) != source(b)) match.notes.push_back("the chat templates differ");
}

}  // namespace

Result<CheckpointMatch> match_checkpoints(const Checkpoint& a, const Checkpoint& b) {
    Side side_a{.file = a, .letter = "A"}, side_b{.file = b, .letter = "B"};
    TRY(side_a.read());
    TRY(side_b.read());
    if (side_a.config.architecture != side_b.config.architecture) {
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
