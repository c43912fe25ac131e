#include "make/gguf_tekken.h"

#include <algorithm>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/json.h"
#include "files/json_document.h"
#include "files/printable.h"
#include "make/gguf_tokens.h"
#include "text/tokenizer/ranked_bytes.h"

namespace invar {
namespace {

constexpr uint64_t kMostTekkenBytes = 256u << 20;
constexpr std::string_view kFile = "tekken.json";

// The expression of the file, by which GGUF must have a name for how it cuts texts.
Result<void> check_expression(const Json& whole, const std::string& file) {
    const auto config = whole.find("config");
    const Json* pattern = nullptr;
    if (config != whole.end() && config->is_object()) {
        const auto found = config->find("pattern");
        if (found != config->end() && found->is_string()) pattern = &*found;
    }
    if (pattern == nullptr) return fail("{}: has no text 'config.pattern', which says how texts are cut", file);
    const auto text = pattern->get<std::string>();
    if (text == kTekkenExpression) return {};
    return fail("{}: cuts texts by an expression that has no name in GGUF ('{}')", file, printable(text, 160));
}

// "left right" for every pair of tokens whose bytes together are a token: by its rank, then by theirs.
std::vector<std::string> merges_of(const VocabularySource& source) {
    const std::vector<std::string>& bytes = *source.pieces;
    std::unordered_map<std::string_view, size_t> ids;
    for (size_t id = 0; id < bytes.size(); ++id) {
        if (source.kinds[id] == static_cast<int32_t>(TokenKind::normal)) ids.emplace(bytes[id], id);
    }
    std::vector<std::string> merges;
    std::vector<std::pair<size_t, size_t>> pairs;
    for (size_t id = 0; id < bytes.size(); ++id) {
        if (source.kinds[id] != static_cast<int32_t>(TokenKind::normal)) continue;
        const std::string_view token = bytes[id];
        pairs.clear();
        for (size_t cut = 1; cut < token.size(); ++cut) {
            const auto left = ids.find(token.substr(0, cut)), right = ids.find(token.substr(cut));
            if (left != ids.end() && right != ids.end()) pairs.emplace_back(left->second, right->second);
        }
        std::sort(pairs.begin(), pairs.end());
        for (const auto& [left, right] : pairs) merges.push_back(source.tokens[left] + " " + source.tokens[right]);
    }
    return merges;
}

}  // namespace

Result<void> add_tekken_vocabulary(const ModelDirectory& directory, int64_t rows, GgufWriter& writer) {
    const std::string file = directory.name_of(kFile);
    TRY_ASSIGN(const std::string text, directory.read(kFile, kMostTekkenBytes));
    TRY_ASSIGN(const Json whole, parse_json_document(text, file));
    TRY(check_expression(whole, file));
    TRY_ASSIGN(const TokenizerParts parts, parts_from_tekken(text, file, {}));
    const VocabularySource& source = parts.vocabulary->source();
    if (static_cast<int64_t>(source.tokens.size()) > rows)
        return fail("{}: has {} tokens, but the embedding has {} rows", file, source.tokens.size(), rows);
    GgufTokens tokens(rows);
    tokens.model = "gpt2";
    tokens.pre = "tekken";
    for (size_t id = 0; id < source.tokens.size(); ++id) {
        TRY(tokens.set(file, id, source.tokens[id], static_cast<TokenKind>(source.kinds[id])));
    }
    tokens.merges = merges_of(source);
    tokens.write(writer);
    constexpr std::pair<const char*, int32_t VocabularySource::*> kIds[] = {
        {"tokenizer.ggml.bos_token_id", &VocabularySource::bos},
        {"tokenizer.ggml.eos_token_id", &VocabularySource::eos},
        {"tokenizer.ggml.unknown_token_id", &VocabularySource::unknown},
        {"tokenizer.ggml.padding_token_id", &VocabularySource::padding}};
    for (const auto& [key, id] : kIds) {
        if (source.*id >= 0) writer.add(key, static_cast<uint32_t>(source.*id));
    }
    writer.add("tokenizer.ggml.add_bos_token", true);
    writer.add("tokenizer.ggml.add_eos_token", false);
    return {};
}

}  // namespace invar
