// Checks a vocabulary, in an order in which each check may rely on the previous ones, and lists the texts of tokens
// that end an answer (vocabulary.h).
#include "text/tokenizer/vocabulary.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "text/tokenizer/utf8.h"

namespace invar {
namespace {

constexpr size_t kMostTokens = size_t{1} << 24;      // the largest vocabularies in use have 2^18
constexpr size_t kMostTokenBytes = size_t{1} << 16;  // of one token's text
constexpr size_t kMostSpecialBytes = 1024;           // of a token that is searched in every input, to bound that search
constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581, SentencePiece's space

// Texts that end a turn, a message or a document in the families that are published as GGUF. A token counts only if the
// file marks it as special, because "</s>" may be ordinary text in a byte-level vocabulary.
constexpr std::string_view kEndTexts[] = {"</s>",
                                          "<|endoftext|>",
                                          "<|end_of_text|>",
                                          "<|im_end|>",
                                          "<|eot_id|>",
                                          "<|eom_id|>",
                                          "<|end|>",
                                          "<end_of_turn>",
                                          "<eos>",
                                          "<|return|>",
                                          "<|call|>",
                                          "<turn|>",
                                          "<EOT>",
                                          "_<EOT>",
                                          "[EOT]",
                                          "[EOS]",
                                          "<|EOT|>",
                                          "<\xEF\xBD\x9C"
                                          "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",
                                          "<end_of_utterance>",
                                          "<|END_OF_TURN_TOKEN|>",
                                          "<|eot|>",
                                          "<|eom|>",
                                          "<seed:eos>",
                                          "[|endofturn|]",
                                          "[e~["};

// Quotes a token for a message, at most 40 bytes of it, cut between characters.
std::string quoted(std::string_view text) {
    size_t shown = std::min<size_t>(text.size(), 40);
    while (shown > 0 && shown < text.size() && (static_cast<uint8_t>(text[shown]) & 0xC0) == 0x80) --shown;
    return fmt::format("'{}{}'", text.substr(0, shown), shown < text.size() ? "..." : "");
}

// GPT-2 keeps the printable bytes of Latin-1 and represents the other 68 by the characters from U+0100 on.
constexpr bool is_own_stand_in(int byte) {
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

constexpr std::array<int16_t, 0x144> kByteOfStandIn = [] {
    std::array<int16_t, 0x144> bytes{};
    bytes.fill(-1);
    int next = 0x100;
    for (int byte = 0; byte < 256; ++byte) bytes[is_own_stand_in(byte) ? byte : next++] = static_cast<int16_t>(byte);
    return bytes;
}();

void append_byte_level(std::string& piece, std::string_view text) {
    const size_t start = piece.size();
    for (size_t offset = 0; offset < text.size();) {
        const Utf8Step step = read_utf8(text.substr(offset));
        const std::optional<uint8_t> byte = byte_level_byte(step.character);
        if (!byte) {  // not spelled in stand-ins: a converter marked an added token as normal
            piece.resize(start);
            piece += text;
            return;
        }
        piece.push_back(static_cast<char>(*byte));
        offset += step.bytes;
    }
}

void append_unescaped(std::string& piece, std::string_view text) {
    for (size_t offset = 0; offset < text.size();) {
        const size_t mark = std::min(text.find(kSpaceMark, offset), text.size());
        piece += text.substr(offset, mark - offset);
        if (mark < text.size()) piece += ' ';
        offset = mark + kSpaceMark.size();
    }
}

}  // namespace

std::optional<uint8_t> byte_level_byte(char32_t character) {
    if (character >= kByteOfStandIn.size() || kByteOfStandIn[character] < 0) return std::nullopt;
    return static_cast<uint8_t>(kByteOfStandIn[character]);
}

std::optional<uint8_t> byte_token_byte(std::string_view text) {
    if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return std::nullopt;
    int byte = 0;
    for (const char digit : text.substr(3, 2)) {
        int value = 0;
        if (digit >= '0' && digit <= '9')
            value = digit - '0';
        else if (digit >= 'A' && digit <= 'F')
            value = digit - 'A' + 10;
        else if (digit >= 'a' && digit <= 'f')
            value = digit - 'a' + 10;
        else
            return std::nullopt;
        byte = byte * 16 + value;
    }
    return static_cast<uint8_t>(byte);
}

Result<Vocabulary> Vocabulary::check(VocabularySource source) {
    Vocabulary vocabulary(std::move(source));
    TRY(vocabulary.check_sizes());
    TRY(vocabulary.read_kinds());
    TRY(vocabulary.index_tokens());
    TRY(vocabulary.check_special_ids());
    TRY(vocabulary.spell_pieces());
    vocabulary.find_end_tokens();
    return vocabulary;
}

Result<void> Vocabulary::check_sizes() {
    const VocabularySource& s = source_;
    if (s.pieces) {
        spelling_ = Spelling::given;
    } else if (s.model == "llama" || s.model == "gemma4") {
        spelling_ = Spelling::space_marks;
    } else if (s.model != "gpt2") {
        return fail(
            ErrorKind::unsupported,
            "{}: tokenizer model '{}' is not supported (tokenizer.ggml.model may be 'gpt2', byte-level BPE, 'llama', "
            "SentencePiece, 'gemma4', 'bert', WordPiece, or 't5', Unigram)",
            s.origin, s.model);
    }
    const size_t count = s.tokens.size();
    if (count == 0) return fail("{}: the vocabulary is empty (tokenizer.ggml.tokens)", s.origin);
    if (count > kMostTokens) return fail("{}: {} tokens, at most {} are supported", s.origin, count, kMostTokens);
    if (s.pieces && s.pieces->size() != count) {
        return fail("{}: {} tokens but {} spellings of them", s.origin, count, s.pieces->size());
    }
    const bool needs_kinds = spelling_ != Spelling::byte_level;
    if (s.kinds.size() != count && (needs_kinds || !s.kinds.empty())) {
        return fail("{}: {} tokens but {} token types (tokenizer.ggml.token_type)", s.origin, count, s.kinds.size());
    }
    const bool needs_scores = is_sentence_piece();
    if (s.scores.size() != count && (needs_scores || !s.scores.empty())) {
        return fail("{}: {} tokens but {} scores (tokenizer.ggml.scores)", s.origin, count, s.scores.size());
    }
    for (size_t i = 0; needs_scores && i < count; ++i) {
        if (!std::isfinite(s.scores[i])) return fail("{}: token {} has the score {}", s.origin, i, s.scores[i]);
    }
    if (!s.has_merges && !s.pieces && s.model != "llama") {
        return fail(
            "{}: a vocabulary of model '{}' needs its merges, and tokenizer.ggml.merges is missing: convert the model "
            "again",
            s.origin, s.model);
    }
    return {};
}

Result<void> Vocabulary::read_kinds() {
    if (source_.kinds.empty()) {
        notes_.push_back("the file gives no token types: all tokens are taken as normal");
        kinds_.assign(source_.tokens.size(), TokenKind::normal);
        return {};
    }
    kinds_.reserve(source_.kinds.size());
    for (size_t i = 0; i < source_.kinds.size(); ++i) {
        const int32_t number = source_.kinds[i];
        if (number < 0 || number > 6) {
            return fail("{}: token {} has type {}, which is none of 0 to 6 (tokenizer.ggml.token_type)", source_.origin,
                        i, number);
        }
        kinds_.push_back(number == 0 ? TokenKind::unused : static_cast<TokenKind>(number));  // 0 means undefined
    }
    return {};
}

Result<void> Vocabulary::index_tokens() {
    index_ = TokenIndex(source_.tokens.size());
    size_t empty = 0;
    for (int32_t token = 0; token < size(); ++token) {
        const std::string_view stored = text(token);
        if (stored.empty()) {
            ++empty;
            continue;
        }
        longest_text_ = std::max(longest_text_, stored.size());
        const bool searched = kind(token) == TokenKind::control || kind(token) == TokenKind::user_defined ||
                              kind(token) == TokenKind::unknown;
        const size_t most = searched ? kMostSpecialBytes : kMostTokenBytes;
        if (stored.size() > most) {
            return fail("{}: token {} is {} bytes long, at most {} are supported for its type", source_.origin, token,
                        stored.size(), most);
        }
        if (const auto offset = find_invalid_utf8(stored)) {
            return fail("{}: token {} is not valid UTF-8 at its byte {}", source_.origin, token, *offset);
        }
        if (const auto same = find(stored)) {
            return fail("{}: tokens {} and {} are both {}", source_.origin, *same, token, quoted(stored));
        }
        index_.insert(stored, token);
    }
    if (empty > 0) notes_.push_back(fmt::format("{} tokens are empty: no text becomes one of them", empty));
    return {};
}

Result<void> Vocabulary::check_special_ids() {
    const struct {
        const char* name;
        int32_t token;
    } ids[] = {{"bos", source_.bos},
               {"eos", source_.eos},
               {"eot", source_.eot},
               {"eom", source_.eom},
               {"unknown", source_.unknown},
               {"padding", source_.padding},
               {"cls", source_.classification},
               {"seperator", source_.separator}};
    for (const auto& [name, token] : ids) {
        if (token < -1 || token >= size()) {
            return fail("{}: the {} token is {} but the vocabulary has {} tokens (tokenizer.ggml.{}_token_id)",
                        source_.origin, name, token, size(), name);
        }
    }
    for (const EndToken& end : source_.more_ends) {
        if (!has(end.token)) {
            return fail("{}: {} is token {}, but the vocabulary has {} tokens", source_.origin, end.reason, end.token,
                        size());
        }
    }
    for (const int32_t token : source_.suppressed) {
        if (!has(token)) {
            return fail("{}: token {} is to be suppressed, but the vocabulary has {} tokens", source_.origin, token,
                        size());
        }
    }
    for (const int32_t token : source_.strip_after) {
        if (!has(token)) return fail("{}: token {} of strip_after is none of {}", source_.origin, token, size());
    }
    if (source_.add_bos == true && source_.bos < 0) {
        return fail("{}: tokenizer.ggml.add_bos_token asks for a token that tokenizer.ggml.bos_token_id does not name",
                    source_.origin);
    }
    if (source_.add_eos == true && source_.eos < 0) {
        return fail("{}: tokenizer.ggml.add_eos_token asks for a token that tokenizer.ggml.eos_token_id does not name",
                    source_.origin);
    }
    return {};
}

Result<void> Vocabulary::spell_pieces() {
    piece_ends_.reserve(source_.tokens.size());
    std::array<int32_t, 256> byte_tokens;
    byte_tokens.fill(-1);
    for (int32_t token = 0; token < size(); ++token) {
        const std::string_view stored = text(token);
        if (spelling_ == Spelling::given) {
            piece_bytes_ += (*source_.pieces)[static_cast<size_t>(token)];
        } else if (kind(token) == TokenKind::byte) {
            const std::optional<uint8_t> byte = byte_token_byte(stored);
            if (!byte) {
                return fail("{}: token {} is of type byte but reads {}, not like '<0x0A>'", source_.origin, token,
                            quoted(stored));
            }
            if (byte_tokens[*byte] >= 0) {
                return fail("{}: tokens {} and {} both stand for byte 0x{:02X}", source_.origin, byte_tokens[*byte],
                            token, *byte);
            }
            byte_tokens[*byte] = token;
            piece_bytes_.push_back(static_cast<char>(*byte));
        } else if (kind(token) != TokenKind::normal && kind(token) != TokenKind::unused) {
            piece_bytes_ += stored;
        } else if (spelling_ == Spelling::space_marks) {
            append_unescaped(piece_bytes_, stored);
        } else {
            append_byte_level(piece_bytes_, stored);
        }
        piece_ends_.push_back(piece_bytes_.size());
    }
    return {};
}

void Vocabulary::find_end_tokens() {
    const auto is_special = [this](std::string_view name) {
        const std::optional<int32_t> token = find(name);
        return token && (kind(*token) == TokenKind::control || kind(*token) == TokenKind::user_defined);
    };
    // In the o200k harmony vocabulary, <|end|> closes one message of an answer that continues. Some files say
    // otherwise.
    const bool is_harmony = find("<|return|>") && find("<|call|>");
    const std::optional<int32_t> goes_on = is_harmony ? find("<|end|>") : std::nullopt;
    const auto add = [&](int32_t token, std::string reason) {
        const auto same = [&](const EndToken& end) { return end.token == token; };
        if (token < 0 || std::any_of(end_tokens_.begin(), end_tokens_.end(), same)) return;
        if (token != goes_on) {
            end_tokens_.push_back({token, std::move(reason)});
        } else if (source_.eos == token || source_.eot == token || source_.eom == token) {
            notes_.push_back("<|end|> is named as an end, but in this vocabulary it ends one message of an answer");
        }
    };
    add(source_.eos, "the file's end of sequence");
    add(source_.eot, "the file's end of turn");
    add(source_.eom, "the file's end of message");
    for (const EndToken& end : source_.more_ends) add(end.token, end.reason);
    for (const std::string_view end_text : kEndTexts) {
        if (is_special(end_text)) add(*find(end_text), fmt::format("its text, {}", end_text));
    }
    // Texts that mean something else in other vocabularies: in GLM's, the next speaker's mark ends a turn, and in Gemma
    // 4's, the mark behind which a tool's answer is put.
    const auto add_together = [&](std::string_view text, std::string_view sign) {
        if (is_special(text) && is_special(sign)) add(*find(text), fmt::format("its text, {}", text));
    };
    add_together("<|user|>", "<|observation|>");
    add_together("<|observation|>", "<|user|>");
    add_together("<|tool_response>", "<turn|>");
    const auto ends = [&](int32_t token) {
        return std::any_of(end_tokens_.begin(), end_tokens_.end(), [&](const EndToken& e) { return e.token == token; });
    };
    if (const size_t dropped = std::erase_if(source_.suppressed, ends); dropped > 0)
        notes_.push_back(fmt::format("{} tokens are to be suppressed but end an answer: they may be chosen", dropped));
}

void append_byte_level_text(std::string& text, std::string_view bytes) {
    static const std::array<std::string, 256> kStandIns = [] {
        std::array<std::string, 256> texts;
        for (char32_t character = 0; character < kByteOfStandIn.size(); ++character) {
            if (const auto byte = byte_level_byte(character)) append_utf8(texts[*byte], character);
        }
        return texts;
    }();
    for (const char byte : bytes) text += kStandIns[static_cast<uint8_t>(byte)];
}

std::string byte_level_text(std::string_view bytes) {
    std::string text;
    text.reserve(bytes.size() + bytes.size() / 2);
    append_byte_level_text(text, bytes);
    return text;
}

std::string bytes_of_byte_level(std::string_view text) {
    std::string bytes;
    append_byte_level(bytes, text);
    return bytes;
}

std::string_view Vocabulary::piece(int32_t token) const {
    const size_t begin = token == 0 ? 0 : piece_ends_[token - 1];
    return std::string_view(piece_bytes_).substr(begin, piece_ends_[token] - begin);
}

bool Vocabulary::is_shown(int32_t token) const {
    return kind(token) != TokenKind::control && kind(token) != TokenKind::unknown;
}

bool Vocabulary::is_mergeable(int32_t token) const {
    if (kind(token) == TokenKind::normal) return true;
    if (kind(token) != TokenKind::user_defined) return false;
    std::string spelled;
    spelling_ == Spelling::space_marks ? append_unescaped(spelled, text(token))
                                       : append_byte_level(spelled, text(token));
    return spelled == text(token);
}

std::optional<int32_t> Vocabulary::find(std::string_view stored_text) const {
    return index_.find(stored_text, [this](int32_t token) { return text(token); });
}

}  // namespace invar
