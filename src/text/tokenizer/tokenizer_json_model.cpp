// The models of tokenizer.json: reads the description of each and makes its encoder (from_tokenizer_json.h).
#include <cmath>

#include "files/printable.h"
#include "text/tokenizer/byte_pair.h"
#include "text/tokenizer/character_pair.h"
#include "text/tokenizer/from_tokenizer_json.h"
#include "text/tokenizer/json_fields.h"
#include "text/tokenizer/unigram.h"
#include "text/tokenizer/word_piece.h"

namespace invar {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 24;
constexpr int64_t kMostWordCharacters = 10'000;

// Reads `{"text": id, ...}`.
Result<void> read_vocabulary(JsonTree& tree, const std::string& where, ModelDescription& model) {
    JsonTree::Object* members = tree.object();
    if (members == nullptr) return fail("{}: 'vocab' is not an object", where);
    // Ids may leave gaps, which added tokens fill, but a file of a few bytes must not ask for gigabytes.
    const int64_t most = std::min<int64_t>(kMostTokens, static_cast<int64_t>(members->size()) * 4 + 65536);
    for (JsonTree::Member& member : *members) {
        const int64_t* id = member.value.integer();
        if (id == nullptr || *id < 0 || *id >= most) {
            return fail("{}: the id of '{}' is not a number from 0 to {}", where, printable(member.key, 60), most - 1);
        }
        const auto token = static_cast<size_t>(*id);
        if (token >= model.tokens.size()) model.tokens.resize(token + 1);
        if (!model.tokens[token].empty()) {
            return fail("{}: '{}' and '{}' both have the id {}", where, printable(model.tokens[token], 60),
                        printable(member.key, 60), token);
        }
        model.tokens[token] = std::move(member.key);
    }
    return {};
}

// Reads `["left right", ...]` or `[["left", "right"], ...]`.
Result<void> read_merge_list(JsonTree& tree, const std::string& where, ModelDescription& model) {
    JsonTree::Array* list = tree.array();
    if (list == nullptr) return fail("{}: 'merges' is not a list", where);
    if (list->size() > static_cast<size_t>(kMostTokens) * 4)
        return fail("{}: {} merges are too many", where, list->size());
    model.merges.reserve(list->size());
    for (size_t i = 0; i < list->size(); ++i) {
        JsonTree& merge = (*list)[i];
        if (const std::string* text = merge.string()) {
            const size_t space = text->find(' ');
            if (space == std::string::npos || text->find(' ', space + 1) != std::string::npos) {
                return fail("{}: merge {} is not two texts with one space between them", where, i);
            }
            model.merges.emplace_back(text->substr(0, space), text->substr(space + 1));
            continue;
        }
        JsonTree::Array* pair = merge.array();
        if (pair == nullptr || pair->size() != 2 || (*pair)[0].string() == nullptr || (*pair)[1].string() == nullptr) {
            return fail("{}: merge {} is not a pair of texts", where, i);
        }
        model.merges.emplace_back(*(*pair)[0].string(), *(*pair)[1].string());
    }
    return {};
}

// Reads `[["text", score], ...]`.
Result<void> read_scored_vocabulary(const JsonTree& tree, const JsonFields& fields, ModelDescription& model) {
    const JsonTree::Array* list = tree.array();
    if (list == nullptr) return fail("{}: 'vocab' is not a list", fields.where());
    if (list->size() > static_cast<size_t>(kMostTokens))
        return fail("{}: {} tokens are too many", fields.where(), list->size());
    for (size_t i = 0; i < list->size(); ++i) {
        const JsonTree::Array* pair = (*list)[i].array();
        const bool is_pair =
            pair != nullptr && pair->size() == 2 && (*pair)[0].string() != nullptr && (*pair)[1].number();
        if (!is_pair || !std::isfinite(*(*pair)[1].number())) {
            return fail("{}: token {} is not a text with a score", fields.where(), i);
        }
        model.tokens.push_back(*(*pair)[0].string());
        model.scores.push_back(*(*pair)[1].number());
    }
    if (fields.find("unk_id") == nullptr) return {};
    TRY_ASSIGN(const int64_t unknown, fields.count("unk_id", kMostTokens));
    if (static_cast<size_t>(unknown) >= model.tokens.size()) {
        return fail("{}: 'unk_id' is {}, but there are {} tokens", fields.where(), unknown, model.tokens.size());
    }
    model.unknown = model.tokens[static_cast<size_t>(unknown)];
    return {};
}

// Old files do not name the kind of model, so it follows from the fields.
std::string kind_of(const JsonTree& tree) {
    if (const JsonTree* type = tree.find("type"); type != nullptr && type->string() != nullptr) return *type->string();
    if (tree.find("merges") != nullptr) return "BPE";
    const JsonTree* vocabulary = tree.find("vocab");
    if (vocabulary != nullptr && vocabulary->array() != nullptr) return "Unigram";
    return tree.find("max_input_chars_per_word") != nullptr ? "WordPiece" : "WordLevel";
}

Result<void> read_pair_rules(const JsonFields& fields, ModelDescription& model) {
    if (const JsonTree* dropout = fields.find("dropout"); dropout != nullptr && dropout->number() != 0.0) {
        return fail("{} has a dropout, which would make its tokens random: set it to null", fields.where());
    }
    TRY_ASSIGN(model.subword_prefix, fields.text_or("continuing_subword_prefix", ""));
    TRY_ASSIGN(model.word_suffix, fields.text_or("end_of_word_suffix", ""));
    TRY_ASSIGN(model.fuse_unknown, fields.flag("fuse_unk", false));
    TRY_ASSIGN(model.byte_fallback, fields.flag("byte_fallback", false));
    TRY_ASSIGN(model.whole_words_first, fields.flag("ignore_merges", false));
    return {};
}

JsonTree* member(JsonTree& tree, std::string_view key) {
    JsonTree::Object* members = tree.object();
    for (size_t i = 0; members != nullptr && i < members->size(); ++i) {
        if ((*members)[i].key == key) return &(*members)[i].value;
    }
    return nullptr;
}

Result<MergeTable> merges_of(const ModelDescription& model, const Vocabulary& vocabulary, const std::string& where) {
    MergeTable table(model.merges.size());
    const auto token_of = [&](std::string_view text) -> std::optional<int32_t> {
        const auto token = vocabulary.find(text);
        return token && static_cast<size_t>(*token) < model.tokens.size() ? token : std::nullopt;
    };
    std::string joined;
    // Goes from the last to the first, because of two merges of one pair the later one counts.
    for (size_t rank = model.merges.size(); rank-- > 0;) {
        const auto& [left_text, right_text] = model.merges[rank];
        const auto left = token_of(left_text);
        const auto right = token_of(right_text);
        joined.assign(left_text).append(
            std::string_view(right_text).substr(std::min(model.subword_prefix.size(), right_text.size())));
        const auto result = token_of(joined);
        if (!left || !right || !result) {
            const std::string& missing = !left ? left_text : !right ? right_text : joined;
            return fail("{}: merge {} names '{}', which is not in the vocabulary", where, rank, printable(missing, 60));
        }
        table.insert(*left, *right, {static_cast<uint32_t>(rank), *result});
    }
    return table;
}

}  // namespace

Result<ModelDescription> read_model(JsonTree& tree, const std::string& origin) {
    const JsonFields fields(tree, origin + ": the model");
    ModelDescription model;
    model.kind = kind_of(tree);
    JsonTree* vocabulary = member(tree, "vocab");
    if (vocabulary == nullptr) return fail("{} has no 'vocab'", fields.where());
    if (model.kind == "Unigram") {
        TRY(read_scored_vocabulary(*vocabulary, fields, model));
        TRY_ASSIGN(model.byte_fallback, fields.flag("byte_fallback", false));
        return model;
    }
    if (model.kind != "BPE" && model.kind != "WordPiece" && model.kind != "WordLevel") {
        return fail("{} has the type '{}', which is not supported (it may be BPE, Unigram, WordPiece or WordLevel)",
                    fields.where(), printable(model.kind, 60));
    }
    TRY(read_vocabulary(*vocabulary, fields.where(), model));
    if (fields.find("unk_token") != nullptr) {
        TRY_ASSIGN(model.unknown, fields.text("unk_token"));
    }
    if (model.kind == "BPE") {
        JsonTree* merges = member(tree, "merges");
        if (merges == nullptr) return fail("{} has no 'merges'", fields.where());
        TRY(read_merge_list(*merges, fields.where(), model));
        TRY(read_pair_rules(fields, model));
    } else if (model.kind == "WordPiece") {
        TRY_ASSIGN(model.subword_prefix, fields.text_or("continuing_subword_prefix", "##"));
        if (fields.find("max_input_chars_per_word") != nullptr) {
            TRY_ASSIGN(const int64_t most, fields.count("max_input_chars_per_word", kMostWordCharacters));
            model.most_characters = static_cast<size_t>(most);
        }
    }
    return model;
}

Result<std::unique_ptr<TokenModel>> make_model(const ModelDescription& model, const Vocabulary& vocabulary,
                                               bool in_bytes) {
    const std::string where = vocabulary.source().origin + ": the model";
    const auto model_tokens = static_cast<int32_t>(model.tokens.size());
    int32_t unknown = -1;
    if (model.unknown) {
        const auto found = vocabulary.find(*model.unknown);
        if (!found || *found >= model_tokens) {
            return fail("{} names the unknown token '{}', which is not in its vocabulary", where,
                        printable(*model.unknown, 60));
        }
        unknown = *found;
    }
    if (model.kind == "Unigram") {
        UnigramRules rules{unknown, model.byte_fallback, false};
        return std::make_unique<UnigramEncoder>(vocabulary, model.scores, std::vector<bool>(model.tokens.size(), true),
                                                rules);
    }
    if (model.kind == "WordPiece") {
        WordPieceEncoder::Rules rules{unknown, model.subword_prefix, model.most_characters};
        return std::make_unique<WordPieceEncoder>(vocabulary, model_tokens, std::move(rules));
    }
    if (model.kind == "WordLevel") return std::make_unique<WordLevelEncoder>(vocabulary, model_tokens, unknown);
    TRY_ASSIGN(MergeTable merges, merges_of(model, vocabulary, where));
    if (in_bytes) return std::make_unique<BytePairEncoder>(vocabulary, std::move(merges), model.whole_words_first);
    CharacterPairRules rules;
    rules.unknown = unknown;
    rules.fuse_unknown = model.fuse_unknown;
    rules.byte_fallback = model.byte_fallback;
    rules.whole_words_first = model.whole_words_first;
    rules.subword_prefix = model.subword_prefix;
    rules.word_suffix = model.word_suffix;
    return std::make_unique<CharacterPairEncoder>(vocabulary, model_tokens, std::move(rules), std::move(merges));
}

}  // namespace invar
