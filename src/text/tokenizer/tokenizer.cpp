// Takes a text through the parts (parts.h), and tokens back to text.
#include "text/tokenizer/tokenizer.h"

#include <algorithm>

#include "text/tokenizer/parts.h"
#include "text/tokenizer/pre_tokenizer.h"

namespace invar {
namespace {

constexpr size_t kMostTextBytes = size_t{1} << 26;  // a context of 16 million tokens or more

}  // namespace

Tokenizer::Tokenizer(TokenizerParts parts) : parts_(std::make_unique<const TokenizerParts>(std::move(parts))) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

struct Tokenizer::Work {
    WordSplitter::Work words;
    ModelWork model;
    std::vector<AddedTokens::Segment> segments;
};

// Normalises, cuts and encodes a text that contains no token of `added`.
Result<void> Tokenizer::encode_text(std::string_view text, bool starts_text, Specials specials, Work& work,
                                    std::vector<int32_t>& tokens) const {
    const TokenizerParts& parts = *parts_;
    Normalizer::Text normalized{{}, true};
    if (!parts.normalizer.empty()) {
        TRY_ASSIGN(normalized, parts.normalizer.normalize(text, work.words.search));
        text = normalized.text;
    }
    parts.added_normalized.cut(text, specials, work.segments);
    for (const AddedTokens::Segment& segment : work.segments) {
        if (segment.token >= 0) {
            tokens.push_back(segment.token);
            continue;
        }
        work.words.text.assign(text.substr(segment.begin, segment.end - segment.begin));
        work.words.starts_text = starts_text && normalized.keeps_start && segment.begin == 0;
        TRY(parts.splitter.split(work.words));
        for (const Span word : work.words.words) TRY(parts.model->encode(work.words.text, word, work.model, tokens));
    }
    return {};
}

Result<std::vector<int32_t>> Tokenizer::encode(std::string_view text, Specials specials, Ends ends) const {
    const TokenizerParts& parts = *parts_;
    if (text.size() > kMostTextBytes) {
        return fail("the text has {} bytes, at most {} can be encoded at once", text.size(), kMostTextBytes);
    }
    if (const auto offset = find_invalid_utf8(text)) {
        return fail("the text is not valid UTF-8 at byte {} (0x{:02X}): convert it to UTF-8", *offset,
                    static_cast<uint8_t>(text[*offset]));
    }
    std::vector<int32_t> tokens;
    tokens.reserve(text.size() / 3 + 2);
    std::vector<AddedTokens::Segment> segments;
    parts.added.cut(text, specials, segments);
    Work work;
    for (const AddedTokens::Segment& segment : segments) {
        if (segment.token >= 0) {
            tokens.push_back(segment.token);
        } else {
            const Result<void> encoded = encode_text(text.substr(segment.begin, segment.end - segment.begin),
                                                     segment.begin == 0, specials, work, tokens);
            if (!encoded) return fail("{}: {}", parts.taken_from, encoded.error().message);
        }
    }
    if (ends == Ends::add) {
        const bool has_them = tokens.size() >= parts.before.size() &&
                              std::equal(parts.before.begin(), parts.before.end(), tokens.begin());
        if (!has_them) tokens.insert(tokens.begin(), parts.before.begin(), parts.before.end());
        tokens.insert(tokens.end(), parts.behind.begin(), parts.behind.end());
    }
    return tokens;
}

std::string Tokenizer::piece(int32_t token, bool show_control) const {
    const Vocabulary& vocabulary = *parts_->vocabulary;
    if (!vocabulary.has(token) || (!show_control && !vocabulary.is_shown(token))) return {};
    return std::string(vocabulary.piece(token));
}

std::string Tokenizer::decode(std::span<const int32_t> tokens, bool show_control) const {
    TokenStream stream(*this, show_control);
    std::string bytes;
    for (const int32_t token : tokens) stream.append_piece(token, bytes);
    return bytes;
}

int32_t Tokenizer::size() const { return parts_->vocabulary->size(); }
bool Tokenizer::has(int32_t token) const { return parts_->vocabulary->has(token); }
TokenKind Tokenizer::kind(int32_t token) const {
    return has(token) ? parts_->vocabulary->kind(token) : TokenKind::unused;
}
std::string_view Tokenizer::text(int32_t token) const {
    return has(token) ? parts_->vocabulary->text(token) : std::string_view();
}
std::optional<int32_t> Tokenizer::find(std::string_view stored_text) const {
    return parts_->vocabulary->find(stored_text);
}

namespace {
std::optional<int32_t> if_named(int32_t token) { return token < 0 ? std::nullopt : std::optional(token); }
}  // namespace

std::optional<int32_t> Tokenizer::bos() const { return if_named(parts_->vocabulary->source().bos); }
std::optional<int32_t> Tokenizer::eos() const { return if_named(parts_->vocabulary->source().eos); }
std::optional<int32_t> Tokenizer::padding() const { return if_named(parts_->vocabulary->source().padding); }
std::span<const int32_t> Tokenizer::before() const { return parts_->before; }
std::span<const int32_t> Tokenizer::behind() const { return parts_->behind; }
bool Tokenizer::adds_bos() const {
    const auto& before = parts_->before;
    return bos() && std::find(before.begin(), before.end(), *bos()) != before.end();
}
bool Tokenizer::adds_eos() const {
    const auto& behind = parts_->behind;
    return eos() && std::find(behind.begin(), behind.end(), *eos()) != behind.end();
}
bool Tokenizer::adds_space_prefix() const { return parts_->adds_space_prefix; }

bool Tokenizer::is_end_of_generation(int32_t token) const {
    const auto ends = end_tokens();
    return std::any_of(ends.begin(), ends.end(), [&](const EndToken& end) { return end.token == token; });
}
std::span<const EndToken> Tokenizer::end_tokens() const { return parts_->vocabulary->end_tokens(); }

std::span<const int32_t> Tokenizer::suppressed() const { return parts_->vocabulary->suppressed(); }

std::string_view Tokenizer::model() const { return parts_->vocabulary->source().model; }
std::string_view Tokenizer::pre_tokenizer() const { return parts_->pre_tokenizer; }
std::string_view Tokenizer::taken_from() const { return parts_->taken_from; }
std::span<const std::string> Tokenizer::notes() const { return parts_->notes; }

TokenStream::TokenStream(const Tokenizer& tokenizer, bool show_control, Begins begins)
    : tokenizer_(&tokenizer),
      show_control_(show_control),
      is_first_(begins == Begins::text),
      drops_space_(begins == Begins::text && tokenizer.parts_->decoder.drops_space_after_specials),
      drops_start_(begins == Begins::text ? tokenizer.parts_->decoder.strip_text.start : 0) {}

void TokenStream::drop_at_begin(std::string& piece) {
    const std::string& character = tokenizer_->parts_->decoder.strip_text.character;
    for (; drops_start_ > 0 && piece.starts_with(character); --drops_start_) piece.erase(0, character.size());
    if (!piece.empty()) drops_start_ = 0;
}

// Holds back what the end of a text would lose, until more follows.
void TokenStream::hold_back_end(std::string& piece) {
    const Decoder& decoder = tokenizer_->parts_->decoder;
    const std::string character = decoder.drops_last_space ? " " : decoder.strip_text.character;
    const size_t most = decoder.drops_last_space ? 1 : decoder.strip_text.stop;
    piece.insert(0, held_);
    held_.clear();
    for (size_t i = 0; i < most && piece.ends_with(character); ++i) {
        piece.erase(piece.size() - character.size());
        held_ += character;
    }
}

void TokenStream::append_piece(int32_t token, std::string& text) {
    const TokenizerParts& parts = *tokenizer_->parts_;
    const Vocabulary& vocabulary = *parts.vocabulary;
    const Decoder& decoder = parts.decoder;
    if (!vocabulary.has(token)) return;
    const bool is_special = vocabulary.kind(token) == TokenKind::user_defined || !vocabulary.is_shown(token);
    const bool is_hidden = !show_control_ && !vocabulary.is_shown(token);
    if (decoder.drops_space_after_specials) {
        std::string_view piece = is_hidden ? std::string_view() : vocabulary.piece(token);
        if (!is_special && drops_space_ && piece.starts_with(' ')) piece.remove_prefix(1);
        drops_space_ = is_special;
        text += piece;
        return;
    }
    if (is_hidden) return;
    const bool holds_back = decoder.drops_last_space || decoder.strip_text.stop > 0;
    const bool is_changed = (is_first_ && decoder.first_is_special) || drops_start_ > 0 || holds_back;
    if (!is_changed) {
        is_first_ = false;
        text += vocabulary.piece(token);
        return;
    }
    std::string piece(vocabulary.piece(token));
    if (is_first_ && decoder.first_is_special) piece = decoder.piece_of(vocabulary.text(token), is_special, true);
    is_first_ = false;
    if (drops_start_ > 0) drop_at_begin(piece);
    if (holds_back) hold_back_end(piece);
    text += piece;
}

std::vector<std::string> supported_tokenizers() {
    std::vector<std::string> lines = {"llama: SentencePiece", "gemma4: BPE over characters, with byte fallback",
                                      "bert: WordPiece", "t5: Unigram"};
    for (const PreTokenizerRow& row : pre_tokenizer_rows()) {
        std::string line = fmt::format("gpt2: byte-level BPE, pre-tokeniser {}", row.name);
        for (const std::string_view name : row.also) line.append(", ").append(name);
        lines.push_back(std::move(line));
    }
    return lines;
}

}  // namespace invar
