// Makes the parts in this order: the model's tokens, added tokens, the steps, the ends (from_tokenizer_json.h).
#include "text/tokenizer/from_tokenizer_json.h"

#include <algorithm>
#include <array>

#include "files/printable.h"
#include "text/tokenizer/assemble.h"
#include "text/tokenizer/json_fields.h"
#include "text/tokenizer/pre_tokenizer.h"
#include "text/tokenizer/utf8.h"

namespace invar {
namespace {

// Of two tokens with one text it is not defined which one a text becomes.
Result<void> check_texts_differ(const std::vector<PlacedToken>& added, const std::string& origin) {
    std::vector<std::pair<std::string_view, int32_t>> texts;
    for (const PlacedToken& entry : added) texts.emplace_back(entry.token.text, entry.token.token);
    std::sort(texts.begin(), texts.end());
    const auto same = std::adjacent_find(texts.begin(), texts.end(), [](const auto& a, const auto& b) {
        return a.first == b.first && a.second != b.second;
    });
    if (same == texts.end()) return {};
    return fail("{}: two added tokens have the text '{}', with the ids {} and {}; remove one of them", origin,
                printable(same->first, 60), same->second, std::next(same)->second);
}

Result<std::vector<PlacedToken>> read_added_tokens(const JsonTree& root, const std::string& origin) {
    std::vector<PlacedToken> all;
    const JsonTree* list = root.find("added_tokens");
    if (list == nullptr) return all;
    if (list->array() == nullptr) return fail("{}: 'added_tokens' is not a list", origin);
    for (const JsonTree& entry : *list->array()) {
        const JsonFields fields(entry, fmt::format("{}: added token {}", origin, all.size()));
        PlacedToken added;
        TRY_ASSIGN(const int64_t id, fields.count("id", (int64_t{1} << 24) - 1));
        added.token.token = static_cast<int32_t>(id);
        TRY_ASSIGN(added.token.text, fields.text("content"));
        TRY_ASSIGN(added.token.special, fields.flag("special", false));
        TRY_ASSIGN(added.token.single_word, fields.flag("single_word", false));
        TRY_ASSIGN(added.token.left_strip, fields.flag("lstrip", false));
        TRY_ASSIGN(added.token.right_strip, fields.flag("rstrip", false));
        TRY_ASSIGN(added.normalized, fields.flag("normalized", !added.token.special));
        if (added.token.text.empty()) return fail("{}: 'content' is empty", fields.where());
        all.push_back(std::move(added));
    }
    TRY(check_texts_differ(all, origin));
    return all;
}

// Gives added tokens their ids. If the model has a token of that text, it is that token, whatever id the entry names.
Result<void> place_added_tokens(std::vector<PlacedToken>& added, VocabularySource& source,
                                std::vector<std::string>& notes) {
    std::vector<std::pair<std::string_view, int32_t>> known;
    for (size_t id = 0; id < source.tokens.size(); ++id)
        known.emplace_back(source.tokens[id], static_cast<int32_t>(id));
    std::sort(known.begin(), known.end());
    const size_t most = source.tokens.size() * 4 + added.size() + 65536;
    std::vector<std::string> placed = source.tokens;
    for (PlacedToken& entry : added) {
        const std::string_view text = entry.token.text;
        const auto same = std::lower_bound(known.begin(), known.end(), std::pair(text, int32_t{-1}));
        if (same != known.end() && same->first == text) {
            if (same->second != entry.token.token) {
                notes.push_back(
                    fmt::format("the added token '{}' has the id {}, but {} in the model's vocabulary, which counts",
                                printable(text, 60), entry.token.token, same->second));
            }
            entry.token.token = same->second;
        }
        const auto id = static_cast<size_t>(entry.token.token);
        if (id >= most)
            return fail("{}: the added token '{}' has the id {}, far behind all others", source.origin,
                        printable(text, 60), id);
        if (id >= placed.size()) placed.resize(id + 1);
        if (!placed[id].empty() && placed[id] != text) {
            return fail("{}: the added token '{}' and '{}' both have the id {}", source.origin, printable(text, 60),
                        printable(placed[id], 60), id);
        }
        placed[id] = text;
    }
    source.tokens = std::move(placed);
    return {};
}

// Whether every byte that occurs in UTF-8 is a token, spelled in stand-ins.
bool spells_every_byte(const ModelDescription& model, const Vocabulary& vocabulary) {
    std::array<bool, 256> has{};
    for (size_t id = 0; id < model.tokens.size(); ++id) {
        const std::string& token = model.tokens[id];
        if (token.empty() || token.size() > 2) continue;
        // An added token stands for its text and not for the byte that it would spell.
        if (vocabulary.kind(static_cast<int32_t>(id)) != TokenKind::normal) continue;
        const Utf8Step step = read_utf8(token);
        const auto byte = step.bytes == token.size() ? byte_level_byte(step.character) : std::nullopt;
        if (byte) has[*byte] = true;
    }
    for (int byte = 0; byte < 0xF5; ++byte) {
        if (!has[static_cast<size_t>(byte)] && byte != 0xC0 && byte != 0xC1) return false;
    }
    return true;
}

// Whether the model may work on the bytes of words instead of their stand-ins, which is faster and gives the same
// tokens.
bool works_on_bytes(const ModelDescription& model, const TokenizerParts& parts) {
    if (model.kind != "BPE" || model.byte_fallback || !model.subword_prefix.empty() || !model.word_suffix.empty())
        return false;
    const auto& steps = parts.splitter.steps();
    const auto* last = steps.empty() ? nullptr : std::get_if<split::ByteLevel>(&steps.back());
    const bool ends_in_stand_ins = last != nullptr && last->writes_stand_ins;
    const bool decodes_stand_ins =
        parts.decoder.steps.size() == 1 && std::holds_alternative<decode::ByteLevel>(parts.decoder.steps[0]);
    return ends_in_stand_ins && decodes_stand_ins && spells_every_byte(model, *parts.vocabulary);
}

Result<void> read_template(const JsonFields& fields, const Vocabulary& vocabulary, TokenizerParts& parts) {
    TRY_ASSIGN(const JsonTree::Array* single, fields.list("single"));
    std::vector<int32_t> before, behind;
    int sequences = 0;
    for (const JsonTree& piece : *single) {
        if (piece.find("Sequence") != nullptr) {
            ++sequences;
            continue;
        }
        const JsonTree* special = piece.find("SpecialToken");
        if (special == nullptr)
            return fail("{}: a piece of 'single' is neither a Sequence nor a SpecialToken", fields.where());
        TRY_ASSIGN(const std::string name, JsonFields(*special, fields.where()).text("id"));
        const JsonTree* tokens = fields.find("special_tokens");
        const JsonTree* meant = tokens == nullptr ? nullptr : tokens->find(name);
        if (meant == nullptr)
            return fail("{}: 'special_tokens' says nothing of '{}'", fields.where(), printable(name, 60));
        TRY_ASSIGN(const JsonTree::Array* ids, JsonFields(*meant, fields.where()).list("ids"));
        for (const JsonTree& id : *ids) {
            if (id.integer() == nullptr || *id.integer() < 0 || *id.integer() >= vocabulary.size()) {
                return fail("{}: an id of '{}' is not a token", fields.where(), printable(name, 60));
            }
            (sequences == 0 ? before : behind).push_back(static_cast<int32_t>(*id.integer()));
        }
    }
    if (sequences != 1) return fail("{}: 'single' has {} sequences instead of one", fields.where(), sequences);
    parts.before.insert(parts.before.begin(), before.begin(), before.end());
    parts.behind.insert(parts.behind.end(), behind.begin(), behind.end());
    return {};
}

// Reads `["text", id]`.
Result<int32_t> read_named_token(const JsonFields& fields, std::string_view key, const Vocabulary& vocabulary) {
    TRY_ASSIGN(const JsonTree::Array* pair, fields.list(key));
    const int64_t* id = pair->size() == 2 ? (*pair)[1].integer() : nullptr;
    if (id == nullptr || *id < 0 || *id >= vocabulary.size())
        return fail("{}: '{}' is not a token with its id", fields.where(), key);
    return static_cast<int32_t>(*id);
}

Result<void> read_post_processor(const JsonTree& tree, const std::string& origin, TokenizerParts& parts, int depth) {
    const JsonFields fields(tree, origin + ": the post_processor");
    TRY_ASSIGN(const std::string type, fields.text("type"));
    if (type == "ByteLevel") return {};  // it changes offsets only
    if (type == "TemplateProcessing") return read_template(fields, *parts.vocabulary, parts);
    if (type == "BertProcessing" || type == "RobertaProcessing") {
        TRY_ASSIGN(const int32_t first, read_named_token(fields, "cls", *parts.vocabulary));
        TRY_ASSIGN(const int32_t last, read_named_token(fields, "sep", *parts.vocabulary));
        parts.before.insert(parts.before.begin(), first);
        parts.behind.push_back(last);
        return {};
    }
    if (type == "Sequence" && depth < 8) {
        TRY_ASSIGN(const JsonTree::Array* list, fields.list("processors"));
        for (const JsonTree& element : *list) TRY(read_post_processor(element, origin, parts, depth + 1));
        return {};
    }
    return fail(ErrorKind::unsupported, "{} has the type '{}', which is not supported", fields.where(),
                printable(type, 60));
}

// Tokens that are searched in the normalised text are normalised themselves. Special ones come first, because of equal
// texts the first counts.
Result<void> add_added_tokens(std::vector<PlacedToken> added, TokenizerParts& parts) {
    Pattern::Workspace workspace;
    std::vector<AddedToken> plain, normalized;
    for (const bool special : {true, false}) {
        for (PlacedToken& entry : added) {
            if (entry.token.special != special) continue;
            if (!entry.normalized) {
                plain.push_back(std::move(entry.token));
                continue;
            }
            TRY_ASSIGN(Normalizer::Text text, parts.normalizer.normalize(entry.token.text, workspace));
            entry.token.text = std::move(text.text);
            normalized.push_back(std::move(entry.token));
        }
    }
    parts.added = AddedTokens(std::move(plain), AddedTokens::Reading::library);
    parts.added_normalized = AddedTokens(std::move(normalized), AddedTokens::Reading::library);
    return {};
}

std::vector<int32_t> kinds_of(const ModelDescription& model, const std::vector<PlacedToken>& added, size_t count) {
    std::vector<int32_t> kinds(count, static_cast<int32_t>(TokenKind::normal));
    for (size_t id = 0; id < model.tokens.size(); ++id) {
        if (model.unknown && model.tokens[id] == *model.unknown) kinds[id] = static_cast<int32_t>(TokenKind::unknown);
        if (model.byte_fallback && byte_token_byte(model.tokens[id])) kinds[id] = static_cast<int32_t>(TokenKind::byte);
    }
    for (const PlacedToken& entry : added) {
        kinds[static_cast<size_t>(entry.token.token)] =
            static_cast<int32_t>(entry.token.special ? TokenKind::control : TokenKind::user_defined);
    }
    return kinds;
}

std::vector<std::string> pieces_of(const VocabularySource& source, const Decoder& decoder,
                                   const std::vector<PlacedToken>& added) {
    std::vector<bool> is_added(source.tokens.size());
    for (const PlacedToken& entry : added) is_added[static_cast<size_t>(entry.token.token)] = true;
    std::vector<std::string> pieces;
    pieces.reserve(source.tokens.size());
    for (size_t id = 0; id < source.tokens.size(); ++id) {
        const bool is_hole = source.tokens[id].empty();
        pieces.push_back(is_hole ? std::string() : decoder.piece_of(source.tokens[id], is_added[id], false));
    }
    return pieces;
}

}  // namespace

Result<TokenizerParts> assemble_parts(DescribedParts described, const std::string& origin, const FileHints& hints) {
    TokenizerParts parts;
    parts.taken_from = origin;
    VocabularySource source;
    source.origin = origin;
    source.model = described.model.kind;
    source.tokens = described.model.tokens;
    TRY(place_added_tokens(described.added, source, parts.notes));
    source.kinds = kinds_of(described.model, described.added, source.tokens.size());
    source.pieces = pieces_of(source, described.decoder, described.added);
    parts.normalizer = std::move(described.normalizer);
    parts.splitter = std::move(described.splitter);
    parts.decoder = std::move(described.decoder);
    TRY(add_vocabulary(std::move(source), hints, parts));
    const bool in_bytes = works_on_bytes(described.model, parts);
    if (in_bytes) std::get<split::ByteLevel>(parts.splitter.steps().back()).writes_stand_ins = false;
    TRY(correct_mistral_pattern(hints, parts));
    TRY_ASSIGN(parts.model, make_model(described.model, *parts.vocabulary, in_bytes));
    TRY(add_added_tokens(std::move(described.added), parts));
    return parts;
}

Result<TokenizerParts> parts_from_tokenizer_json(std::string_view text, const std::string& origin,
                                                 const FileHints& hints) {
    Result<JsonTree> root = JsonTree::parse(text);
    if (!root) return fail("{}: {}", origin, root.error().message);
    JsonTree::Object* members = root->object();
    JsonTree* model = nullptr;
    for (size_t i = 0; members != nullptr && i < members->size(); ++i) {
        if ((*members)[i].key == "model") model = &(*members)[i].value;
    }
    if (model == nullptr) return fail("{}: the file has no 'model', so it is no tokenizer.json", origin);
    DescribedParts described;
    TRY_ASSIGN(described.model, read_model(*model, origin));
    TRY_ASSIGN(described.added, read_added_tokens(*root, origin));
    if (const JsonTree* step = root->find("normalizer")) TRY(read_normalizer(*step, origin, described.normalizer));
    if (const JsonTree* step = root->find("pre_tokenizer")) TRY(read_pre_tokenizer(*step, origin, described.splitter));
    described.decoder.joins_with_space = described.decoder.first_is_special = root->find("decoder") == nullptr;
    if (const JsonTree* step = root->find("decoder")) {
        TRY_ASSIGN(described.decoder, read_decoder(*step, origin));
    }
    TRY_ASSIGN(TokenizerParts parts, assemble_parts(std::move(described), origin, hints));
    if (const JsonTree* step = root->find("post_processor")) TRY(read_post_processor(*step, origin, parts, 0));
    apply_end_rules(hints, parts);
    return parts;
}

}  // namespace invar
