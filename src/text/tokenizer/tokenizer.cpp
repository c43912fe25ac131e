// Puts the parts together: choice of the pre-tokeniser, special tokens cut out first, ends added last.
// Read tokenizer.h first.
#include "text/tokenizer/tokenizer.h"

#include <algorithm>

#include "text/tokenizer/byte_pair.h"
#include "text/tokenizer/sentence_piece.h"

namespace invar {
namespace {

constexpr size_t kMostTextBytes = size_t{1} << 26;  // a context of 16 million tokens or more

// Families whose models were all trained with one pre-tokeniser, for files that were written before
// tokenizer.ggml.pre existed. llama is not among them: its models use at least six different ones.
constexpr struct {
    std::string_view architecture;
    std::string_view pre;
} kUnambiguousFamilies[] = {{"qwen2", "qwen2"}, {"qwen2moe", "qwen2"}, {"qwen3", "qwen2"}, {"qwen3moe", "qwen2"}};

Result<const PreTokenizerRow*> choose_pre_tokenizer(const VocabularySource& source, std::vector<std::string>& notes) {
    if (const PreTokenizerRow* row = find_pre_tokenizer(source.pre)) return row;
    if (source.pre.empty()) {
        for (const auto& [architecture, pre] : kUnambiguousFamilies) {
            if (source.architecture != architecture) continue;
            notes.push_back(fmt::format("the file names no pre-tokeniser: '{}', as all {} models", pre, architecture));
            return find_pre_tokenizer(pre);
        }
        return fail(
            "{}: the file names no pre-tokeniser, and a wrong one would spoil the text unnoticed: add "
            "tokenizer.ggml.pre, or convert the model again (supported: {})",
            source.origin, pre_tokenizer_names());
    }
    if (source.pre == "default") {
        return fail(
            "{}: tokenizer.ggml.pre is 'default', which means that the converter did not know the pre-tokeniser: "
            "write the right name, or convert the model again (supported: {})",
            source.origin, pre_tokenizer_names());
    }
    return fail(ErrorKind::unsupported, "{}: pre-tokeniser '{}' is not supported (tokenizer.ggml.pre may be {})",
                source.origin, source.pre, pre_tokenizer_names());
}

size_t skip_white_space(std::string_view text, size_t offset) {
    while (offset < text.size()) {
        const Utf8Step step = read_utf8(text.substr(offset));
        if (!is_white_space(step.character)) break;
        offset += step.bytes;
    }
    return offset;
}

}  // namespace

struct Tokenizer::State {
    explicit State(Vocabulary checked) : vocabulary(std::move(checked)), special_tokens(vocabulary) {}

    Vocabulary vocabulary;
    SpecialTokens special_tokens;
    std::optional<BytePairEncoder> byte_pair;  // one of the two
    std::optional<SentencePieceEncoder> sentence_piece;
    bool adds_bos = false;
    bool adds_eos = false;
    bool adds_space_prefix = false;
    std::vector<int32_t> strips_after;  // sorted
    std::vector<std::string> notes;
};

Tokenizer::Tokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::create(VocabularySource given) {
    TRY_ASSIGN(Vocabulary checked, Vocabulary::check(std::move(given)));
    auto state = std::make_unique<State>(std::move(checked));
    const Vocabulary& vocabulary = state->vocabulary;
    const VocabularySource& source = vocabulary.source();
    state->notes.assign(vocabulary.notes().begin(), vocabulary.notes().end());
    bool family_adds_bos = true;
    if (vocabulary.is_sentence_piece()) {
        state->sentence_piece.emplace(vocabulary);
    } else {
        TRY_ASSIGN(const PreTokenizerRow* row, choose_pre_tokenizer(source, state->notes));
        TRY_ASSIGN(PreTokenizer pre_tokenizer, PreTokenizer::create(*row));
        TRY_ASSIGN(state->byte_pair, BytePairEncoder::create(vocabulary, std::move(pre_tokenizer), state->notes));
        family_adds_bos = row->adds_bos;
    }
    state->adds_bos = source.add_bos.value_or(family_adds_bos && source.bos >= 0);
    state->adds_eos = source.add_eos.value_or(false);
    state->adds_space_prefix = vocabulary.is_sentence_piece() && source.add_space_prefix.value_or(true);
    state->strips_after = source.strip_after;
    std::sort(state->strips_after.begin(), state->strips_after.end());
    return Tokenizer(std::move(state));
}

Result<std::vector<int32_t>> Tokenizer::encode(std::string_view text, Specials specials, Ends ends) const {
    const State& state = *state_;
    if (text.size() > kMostTextBytes) {
        return fail("the text has {} bytes, at most {} can be encoded at once", text.size(), kMostTextBytes);
    }
    if (const auto offset = find_invalid_utf8(text)) {
        return fail("the text is not valid UTF-8 at byte {} (0x{:02X}): convert it to UTF-8", *offset,
                    static_cast<uint8_t>(text[*offset]));
    }
    std::vector<int32_t> tokens;
    tokens.reserve(text.size() / 3 + 2);
    BytePairEncoder::Workspace workspace;
    for (size_t offset = 0; offset < text.size();) {
        const auto match = state.special_tokens.find(text, offset, specials);
        const Span raw = {offset, match ? match->begin : text.size()};
        if (raw.begin < raw.end) {
            TRY(state.byte_pair ? state.byte_pair->encode(text, raw, workspace, tokens)
                                : state.sentence_piece->encode(text, raw, state.adds_space_prefix, tokens));
        }
        if (!match) break;
        tokens.push_back(match->token);
        const bool strips = std::binary_search(state.strips_after.begin(), state.strips_after.end(), match->token);
        offset = strips ? skip_white_space(text, match->end) : match->end;
    }
    if (ends == Ends::add) {
        const int32_t first = state.vocabulary.source().bos;
        if (state.adds_bos && (tokens.empty() || tokens.front() != first)) tokens.insert(tokens.begin(), first);
        if (state.adds_eos) tokens.push_back(state.vocabulary.source().eos);
    }
    return tokens;
}

std::string Tokenizer::piece(int32_t token, bool show_control) const {
    const Vocabulary& vocabulary = state_->vocabulary;
    if (!vocabulary.has(token) || (!show_control && !vocabulary.is_shown(token))) return {};
    return std::string(vocabulary.piece(token));
}

std::string Tokenizer::decode(std::span<const int32_t> tokens, bool show_control) const {
    TokenStream stream(*this, show_control);
    std::string bytes;
    for (const int32_t token : tokens) bytes += stream.next_piece(token);
    return bytes;
}

int32_t Tokenizer::size() const { return state_->vocabulary.size(); }
bool Tokenizer::has(int32_t token) const { return state_->vocabulary.has(token); }
TokenKind Tokenizer::kind(int32_t token) const {
    return has(token) ? state_->vocabulary.kind(token) : TokenKind::unused;
}
std::string_view Tokenizer::text(int32_t token) const {
    return has(token) ? state_->vocabulary.text(token) : std::string_view();
}
std::optional<int32_t> Tokenizer::find(std::string_view stored_text) const {
    return state_->vocabulary.find(stored_text);
}

namespace {
std::optional<int32_t> if_named(int32_t token) { return token < 0 ? std::nullopt : std::optional(token); }
}  // namespace

std::optional<int32_t> Tokenizer::bos() const { return if_named(state_->vocabulary.source().bos); }
std::optional<int32_t> Tokenizer::eos() const { return if_named(state_->vocabulary.source().eos); }
std::optional<int32_t> Tokenizer::padding() const { return if_named(state_->vocabulary.source().padding); }
bool Tokenizer::adds_bos() const { return state_->adds_bos; }
bool Tokenizer::adds_eos() const { return state_->adds_eos; }
bool Tokenizer::adds_space_prefix() const { return state_->adds_space_prefix; }

bool Tokenizer::is_end_of_generation(int32_t token) const {
    const auto ends = end_tokens();
    return std::any_of(ends.begin(), ends.end(), [&](const EndToken& end) { return end.token == token; });
}
std::span<const EndToken> Tokenizer::end_tokens() const { return state_->vocabulary.end_tokens(); }

std::string_view Tokenizer::model() const { return state_->vocabulary.source().model; }
std::string_view Tokenizer::pre_tokenizer() const {
    return state_->byte_pair ? state_->byte_pair->pre_tokenizer().row().name : std::string_view();
}
std::span<const std::string> Tokenizer::notes() const { return state_->notes; }

std::string_view TokenStream::next_piece(int32_t token) {
    const Tokenizer::State& state = *tokenizer_->state_;
    const Vocabulary& vocabulary = state.vocabulary;
    if (!vocabulary.has(token)) return {};
    const bool is_special = vocabulary.kind(token) == TokenKind::user_defined || !vocabulary.is_shown(token);
    std::string_view piece = vocabulary.piece(token);
    if (is_special) {
        drops_space_ = true;
        return show_control_ || vocabulary.is_shown(token) ? piece : std::string_view();
    }
    if (state.adds_space_prefix && drops_space_ && piece.starts_with(' ')) piece.remove_prefix(1);
    drops_space_ = false;
    return piece;
}

std::string TokenStream::feed(int32_t token) { return utf8_.feed(next_piece(token)); }

std::vector<std::string> supported_tokenizers() {
    std::vector<std::string> lines = {"llama: SentencePiece"};
    for (const PreTokenizerRow& row : pre_tokenizer_rows()) {
        std::string line = fmt::format("gpt2: byte-level BPE, pre-tokeniser {}", row.name);
        for (const std::string_view name : row.also) line.append(", ").append(name);
        lines.push_back(std::move(line));
    }
    return lines;
}

}  // namespace invar
