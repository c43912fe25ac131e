// Read word_piece.h first.
#include "text/tokenizer/word_piece.h"

#include <algorithm>

#include "files/printable.h"
#include "text/tokenizer/utf8.h"

namespace invar {

// The longest token at `begin`; sets `end` to the place behind it.
std::optional<int32_t> WordPieceEncoder::longest_at(std::string_view word, size_t begin, size_t& end,
                                                    std::string& spelled) const {
    spelled.assign(begin > 0 ? rules_.subword_prefix : "");
    const size_t prefix = spelled.size();
    const size_t most = vocabulary_->longest_text() > prefix ? vocabulary_->longest_text() - prefix : 0;
    spelled.append(word.substr(begin, most));
    for (end = begin + std::min(most, word.size() - begin); end > begin; --end) {
        if (end < word.size() && (word[end] & 0xC0) == 0x80) continue;  // inside a character
        const auto token = vocabulary_->find(std::string_view(spelled).substr(0, prefix + end - begin));
        if (token && *token < model_tokens_) return token;
    }
    return std::nullopt;
}

Result<void> WordPieceEncoder::encode(std::string_view text, Span word, ModelWork& work,
                                      std::vector<int32_t>& tokens) const {
    const std::string_view bytes = text.substr(word.begin, word.end - word.begin);
    const auto begins_character = [](char byte) { return (byte & 0xC0) != 0x80; };
    const auto characters = static_cast<size_t>(std::count_if(bytes.begin(), bytes.end(), begins_character));
    const size_t first = tokens.size();
    bool is_spelled = characters <= rules_.most_characters;
    for (size_t begin = 0; is_spelled && begin < bytes.size();) {
        size_t end = 0;
        if (const auto token = longest_at(bytes, begin, end, work.spelled)) {
            tokens.push_back(*token);
            begin = end;
        } else {
            is_spelled = false;
        }
    }
    if (is_spelled) return {};
    tokens.resize(first);
    if (rules_.unknown < 0)
        return fail("the vocabulary has no tokens for the word '{}', and no unknown token", printable(bytes));
    tokens.push_back(rules_.unknown);
    return {};
}

Result<void> WordLevelEncoder::encode(std::string_view text, Span word, ModelWork&,
                                      std::vector<int32_t>& tokens) const {
    const std::string_view bytes = text.substr(word.begin, word.end - word.begin);
    const auto token = vocabulary_->find(bytes);
    const int32_t chosen = token && *token < model_tokens_ ? *token : unknown_;
    if (chosen < 0)
        return fail("the vocabulary has no token for the word '{}', and no unknown token", bytes.substr(0, 100));
    tokens.push_back(chosen);
    return {};
}

}  // namespace invar
