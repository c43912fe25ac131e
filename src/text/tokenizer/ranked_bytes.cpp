// Uses as merges all pairs of tokens whose union is a token, with the rank of the union, which gives the same tokens.
#include "text/tokenizer/ranked_bytes.h"

#include <algorithm>
#include <charconv>

#include "files/printable.h"
#include "text/tokenizer/assemble.h"
#include "text/tokenizer/base64.h"
#include "text/tokenizer/byte_pair.h"
#include "text/tokenizer/json_fields.h"
#include "text/tokenizer/json_tree.h"

namespace invar {
namespace {

constexpr size_t kMostTokens = size_t{1} << 22;
constexpr size_t kMostTokenBytes = 4096;  // bounds the search for pairs; the longest tokens in use have 256 bytes
constexpr size_t kMostSpecials = 1 << 16;

MergeTable merges_of_ranks(const RankedBytes& ranked) {
    TokenIndex index(ranked.tokens.size());
    const auto bytes_of = [&](int32_t rank) -> std::string_view { return ranked.tokens[static_cast<size_t>(rank)]; };
    for (size_t rank = 0; rank < ranked.tokens.size(); ++rank)
        index.insert(ranked.tokens[rank], static_cast<int32_t>(rank));
    struct Pair {
        int32_t left, right, rank;
    };
    std::vector<Pair> pairs;
    for (size_t rank = 0; rank < ranked.tokens.size(); ++rank) {
        const std::string_view token = ranked.tokens[rank];
        for (size_t cut = 1; cut < token.size(); ++cut) {
            const auto left = index.find(token.substr(0, cut), bytes_of);
            if (!left) continue;
            if (const auto right = index.find(token.substr(cut), bytes_of)) {
                pairs.push_back({*left, *right, static_cast<int32_t>(rank)});
            }
        }
    }
    MergeTable table(pairs.size());
    for (const Pair& pair : pairs) {
        table.insert(pair.left + ranked.first_id, pair.right + ranked.first_id,
                     {static_cast<uint32_t>(pair.rank), pair.rank + ranked.first_id});
    }
    return table;
}

Result<void> check_tokens(const RankedBytes& ranked, const std::string& origin) {
    if (ranked.tokens.empty()) return fail("{}: the file has no tokens", origin);
    std::vector<std::string_view> sorted(ranked.tokens.begin(), ranked.tokens.end());
    std::sort(sorted.begin(), sorted.end());
    if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
        return fail("{}: two ranks have the same bytes", origin);
    }
    for (int byte = 0; byte < 256; ++byte) {
        const auto text = std::string(1, static_cast<char>(byte));
        if (!std::binary_search(sorted.begin(), sorted.end(), text)) {
            return fail("{}: there is no token for the byte 0x{:02X}", origin, byte);
        }
    }
    return {};
}

Result<VocabularySource> source_of(const RankedBytes& ranked, const std::string& origin) {
    VocabularySource source;
    source.origin = origin;
    source.model = ranked.model;
    source.pieces.emplace();
    size_t count = static_cast<size_t>(ranked.first_id) + ranked.tokens.size();
    for (const AddedToken& special : ranked.specials) {
        if (special.token < 0 || static_cast<size_t>(special.token) >= ranked.tokens.size() + kMostSpecials) {
            return fail("{}: the token '{}' has the id {}, far from all others", origin, printable(special.text, 60),
                        special.token);
        }
        count = std::max(count, static_cast<size_t>(special.token) + 1);
    }
    source.tokens.resize(count);
    source.pieces->resize(count);
    source.kinds.assign(count, static_cast<int32_t>(TokenKind::normal));
    for (size_t rank = 0; rank < ranked.tokens.size(); ++rank) {
        const size_t id = static_cast<size_t>(ranked.first_id) + rank;
        source.tokens[id] = byte_level_text(ranked.tokens[rank]);
        (*source.pieces)[id] = ranked.tokens[rank];
    }
    for (const AddedToken& special : ranked.specials) {
        const auto id = static_cast<size_t>(special.token);
        if (!source.tokens[id].empty()) {
            return fail("{}: '{}' and another token both have the id {}", origin, printable(special.text, 60), id);
        }
        source.tokens[id] = special.text;
        (*source.pieces)[id] = special.text;
        source.kinds[id] = static_cast<int32_t>(special.special ? TokenKind::control : TokenKind::user_defined);
    }
    return source;
}

}  // namespace

Result<TokenizerParts> parts_from_ranked_bytes(RankedBytes ranked, const std::string& origin, const FileHints& hints) {
    TRY(check_tokens(ranked, origin));
    TokenizerParts parts;
    parts.taken_from = origin;
    TRY_ASSIGN(VocabularySource source, source_of(ranked, origin));
    TRY(add_vocabulary(std::move(source), hints, parts));
    Result<Pattern> pattern = Pattern::compile(ranked.pattern);
    if (!pattern) return fail("{}: {}", origin, pattern.error().message);
    parts.splitter.add(split::ByPattern{std::move(*pattern), SplitBehavior::isolated});
    parts.model = std::make_unique<BytePairEncoder>(*parts.vocabulary, merges_of_ranks(ranked), true);
    parts.added = AddedTokens(std::move(ranked.specials), AddedTokens::Reading::gguf);
    return parts;
}

namespace {

// Special tokens of Tekken files that do not list them (version 7 and older).
constexpr std::string_view kOldTekkenSpecials[] = {"<unk>",
                                                   "<s>",
                                                   "</s>",
                                                   "[INST]",
                                                   "[/INST]",
                                                   "[AVAILABLE_TOOLS]",
                                                   "[/AVAILABLE_TOOLS]",
                                                   "[TOOL_RESULTS]",
                                                   "[/TOOL_RESULTS]",
                                                   "[TOOL_CALLS]",
                                                   "[IMG]",
                                                   "<pad>",
                                                   "[IMG_BREAK]",
                                                   "[IMG_END]",
                                                   "[PREFIX]",
                                                   "[MIDDLE]",
                                                   "[SUFFIX]",
                                                   "[SYSTEM_PROMPT]",
                                                   "[/SYSTEM_PROMPT]",
                                                   "[TOOL_CONTENT]"};

Result<void> read_tekken_specials(const JsonTree& root, const std::string& origin, size_t count, RankedBytes& ranked) {
    const JsonTree* list = root.find("special_tokens");
    if (list == nullptr) {
        for (size_t id = 0; id < std::size(kOldTekkenSpecials) && id < count; ++id) {
            AddedToken& special = ranked.specials.emplace_back();
            special.text = kOldTekkenSpecials[id];
            special.token = static_cast<int32_t>(id);
            special.special = true;
        }
    } else {
        if (list->array() == nullptr) return fail("{}: 'special_tokens' is not a list", origin);
        for (const JsonTree& entry : *list->array()) {
            const JsonFields fields(entry, fmt::format("{}: special token {}", origin, ranked.specials.size()));
            AddedToken special;
            TRY_ASSIGN(const int64_t rank, fields.count("rank", static_cast<int64_t>(count) - 1));
            special.token = static_cast<int32_t>(rank);
            TRY_ASSIGN(special.text, fields.text("token_str"));
            TRY_ASSIGN(special.special, fields.flag("is_control", true));
            ranked.specials.push_back(std::move(special));
        }
    }
    std::vector<bool> named(count);
    for (const AddedToken& special : ranked.specials) named[static_cast<size_t>(special.token)] = true;
    for (size_t id = 0; id < count; ++id) {
        if (named[id]) continue;
        AddedToken& filler = ranked.specials.emplace_back();
        filler.text = fmt::format("<SPECIAL_{}>", id);
        filler.token = static_cast<int32_t>(id);
        filler.special = true;
    }
    return {};
}

}  // namespace

Result<TokenizerParts> parts_from_tekken(std::string_view text, const std::string& origin, const FileHints& given) {
    Result<JsonTree> root = JsonTree::parse(text);
    if (!root) return fail("{}: {}", origin, root.error().message);
    const JsonTree* config = root->find("config");
    if (config == nullptr) return fail("{}: 'config' is missing", origin);
    const JsonFields fields(*config, origin + ": the config");
    RankedBytes ranked;
    ranked.model = "tekken";
    TRY_ASSIGN(ranked.pattern, fields.text("pattern"));
    TRY_ASSIGN(const int64_t specials, fields.count("default_num_special_tokens", kMostSpecials));
    TRY_ASSIGN(const int64_t size, fields.count("default_vocab_size", static_cast<int64_t>(kMostTokens)));
    if (size < specials)
        return fail("{}: 'default_vocab_size' is {}, less than the {} special tokens", fields.where(), size, specials);
    ranked.first_id = static_cast<int32_t>(specials);
    TRY(read_tekken_specials(*root, origin, static_cast<size_t>(specials), ranked));
    TRY_ASSIGN(const JsonTree::Array* entries, JsonFields(*root, origin).list("vocab"));
    const auto used = static_cast<size_t>(size - specials);
    if (entries->size() < used)
        return fail("{}: {} tokens, but 'default_vocab_size' asks for {}", origin, entries->size(), used);
    for (size_t rank = 0; rank < used; ++rank) {
        const JsonFields entry((*entries)[rank], fmt::format("{}: token {}", origin, rank));
        TRY_ASSIGN(const int64_t stated, entry.count("rank", static_cast<int64_t>(kMostTokens)));
        if (stated != static_cast<int64_t>(rank)) return fail("{} has the rank {}", entry.where(), stated);
        TRY_ASSIGN(const std::string base64, entry.text("token_bytes"));
        Result<std::string> bytes = decode_base64(base64);
        if (!bytes) return fail("{}: {}", entry.where(), bytes.error().message);
        if (bytes->empty() || bytes->size() > kMostTokenBytes)
            return fail("{} has {} bytes", entry.where(), bytes->size());
        ranked.tokens.push_back(std::move(*bytes));
    }
    FileHints hints = given;
    if (!hints.bos) hints.bos = "<s>";
    if (!hints.eos) hints.eos = "</s>";
    if (!hints.unknown) hints.unknown = "<unk>";
    if (!hints.padding) hints.padding = "<pad>";
    TRY_ASSIGN(TokenizerParts parts, parts_from_ranked_bytes(std::move(ranked), origin, hints));
    const int32_t bos = parts.vocabulary->source().bos;
    if (bos >= 0 && hints.add_bos.value_or(true)) parts.before.push_back(bos);
    apply_end_rules(hints, parts);
    return parts;
}

bool looks_like_tiktoken(std::string_view text) {
    const std::string_view line = text.substr(0, std::min<size_t>(text.find('\n'), 100));
    const size_t space = line.find(' ');
    return space != std::string_view::npos && space > 0 && decode_base64(line.substr(0, space)).has_value();
}

Result<TokenizerParts> parts_from_tiktoken(std::string_view text, const std::string& origin, const FileHints& hints) {
    RankedBytes ranked;
    ranked.model = "tiktoken";
    ranked.pattern = hints.pattern;
    for (size_t number = 1; !text.empty(); ++number) {
        const size_t end = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (line.empty()) continue;
        const size_t space = std::min(line.find(' '), line.size());
        Result<std::string> bytes = decode_base64(line.substr(0, space));
        const std::string_view digits = line.substr(std::min(space + 1, line.size()));
        size_t rank = 0;
        const auto [rest, error] = std::from_chars(digits.data(), digits.data() + digits.size(), rank);
        const bool is_number = error == std::errc() && rest == digits.data() + digits.size();
        if (!bytes || !is_number || bytes->empty() || bytes->size() > kMostTokenBytes) {
            return fail("{}: line {} is not a token in base64 with its rank", origin, number);
        }
        if (rank != ranked.tokens.size())
            return fail("{}: line {} has the rank {} instead of {}", origin, number, rank, ranked.tokens.size());
        if (rank >= kMostTokens) return fail("{}: more than {} tokens", origin, kMostTokens);
        ranked.tokens.push_back(std::move(*bytes));
    }
    ranked.specials = hints.added;
    const auto count = static_cast<int32_t>(ranked.tokens.size());
    std::erase_if(ranked.specials, [&](const AddedToken& token) { return token.token < count; });
    TRY_ASSIGN(TokenizerParts parts, parts_from_ranked_bytes(std::move(ranked), origin, hints));
    apply_end_rules(hints, parts);
    return parts;
}

}  // namespace invar
