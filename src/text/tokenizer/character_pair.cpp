// Unknown characters and bytes are appended in the order that the `tokenizers` library uses (character_pair.h).
#include "text/tokenizer/character_pair.h"

#include "files/printable.h"
#include "text/tokenizer/utf8.h"

namespace invar {

CharacterPairEncoder::CharacterPairEncoder(const Vocabulary& vocabulary, int32_t model_tokens, CharacterPairRules rules,
                                           MergeTable merges)
    : vocabulary_(&vocabulary), model_tokens_(model_tokens), rules_(std::move(rules)), merges_(std::move(merges)) {
    for (int byte = 0; byte < 256; ++byte) {
        byte_tokens_[static_cast<size_t>(byte)] = find(fmt::format("<0x{:02X}>", byte)).value_or(-1);
    }
}

std::optional<int32_t> CharacterPairEncoder::find(std::string_view text) const {
    const std::optional<int32_t> token = vocabulary_->find(text);
    return token && *token < model_tokens_ ? token : std::nullopt;
}

bool CharacterPairEncoder::append_bytes(std::string_view spelled, uint32_t begin, ModelWork& work) const {
    for (const char byte : spelled) {
        if (byte_tokens_[static_cast<uint8_t>(byte)] < 0) return false;
    }
    for (const char byte : spelled) work.merges.append(begin, 1, byte_tokens_[static_cast<uint8_t>(byte)]);
    return true;
}

Result<void> CharacterPairEncoder::append_characters(std::string_view text, Span word, ModelWork& work) const {
    bool unknown_waits = false;
    for (size_t begin = word.begin; begin < word.end;) {
        const uint32_t size = read_utf8(text.substr(begin)).bytes;
        std::string_view spelled = text.substr(begin, size);
        const bool has_prefix = begin > word.begin && !rules_.subword_prefix.empty();
        const bool has_suffix = begin + size >= word.end && !rules_.word_suffix.empty();
        if (has_prefix || has_suffix) {
            work.spelled.assign(has_prefix ? rules_.subword_prefix : "").append(spelled);
            if (has_suffix) work.spelled += rules_.word_suffix;
            spelled = work.spelled;
        }
        const auto at = static_cast<uint32_t>(begin);
        if (const auto token = find(spelled)) {
            if (unknown_waits) work.merges.append(at, 0, rules_.unknown);
            unknown_waits = false;
            work.merges.append(at, size, *token);
        } else if (!(rules_.byte_fallback && append_bytes(spelled, at, work))) {
            if (rules_.unknown < 0) {
                return fail(
                    "the vocabulary has no token for '{}', which is at byte {} of the text, and no unknown token",
                    printable(spelled), begin);
            }
            if (unknown_waits && !rules_.fuse_unknown) work.merges.append(at, 0, rules_.unknown);
            unknown_waits = true;
        }
        begin += size;
    }
    if (unknown_waits) work.merges.append(static_cast<uint32_t>(word.end), 0, rules_.unknown);
    return {};
}

Result<void> CharacterPairEncoder::encode(std::string_view text, Span word, ModelWork& work,
                                          std::vector<int32_t>& tokens) const {
    if (word.begin == word.end) return {};
    if (rules_.whole_words_first) {
        const auto whole = find(text.substr(word.begin, word.end - word.begin));
        if (whole && vocabulary_->kind(*whole) != TokenKind::control) {
            tokens.push_back(*whole);
            return {};
        }
    }
    work.merges.symbols.clear();
    TRY(append_characters(text, word, work));
    merge_neighbours(work.merges, [this](const MergeSymbol& left, const MergeSymbol& right) {
        return merges_.find(left.token, right.token);
    });
    if (work.merges.symbols.empty()) return {};
    for (int32_t i = 0; i >= 0; i = work.merges.symbols[static_cast<size_t>(i)].next) {
        tokens.push_back(work.merges.symbols[static_cast<size_t>(i)].token);
    }
    return {};
}

}  // namespace invar
