// Makes a tokenizer from the vocabulary of a GGUF file: finds its pre-tokeniser and chooses the parts (parts.h).
#include <algorithm>

#include "text/tokenizer/byte_pair.h"
#include "text/tokenizer/character_pair.h"
#include "text/tokenizer/encoder_vocabularies.h"
#include "text/tokenizer/parts.h"
#include "text/tokenizer/pre_tokenizer.h"
#include "text/tokenizer/sentence_piece.h"
#include "text/tokenizer/tokenizer.h"

namespace invar {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581

// Families whose models were all trained with one pre-tokeniser, for files that were written before tokenizer.ggml.pre
// existed. llama is not among them: its models use at least six different ones.
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

// Gemma 4: spaces become marks, and merges run over the characters of the whole text.
Result<void> add_gemma4_parts(TokenizerParts& parts) {
    const Vocabulary& vocabulary = *parts.vocabulary;
    TRY_ASSIGN(Pattern space, Pattern::literal(" "));
    parts.normalizer.add(normalize::Replace{std::move(space), std::string(kSpaceMark)});
    TRY_ASSIGN(MergeTable merges, read_merges(vocabulary, parts.notes));
    CharacterPairRules rules;
    rules.byte_fallback = true;
    const int32_t unknown = vocabulary.source().unknown;
    if (unknown >= 0 && vocabulary.kind(unknown) == TokenKind::unknown) rules.unknown = unknown;
    parts.model =
        std::make_unique<CharacterPairEncoder>(vocabulary, vocabulary.size(), std::move(rules), std::move(merges));
    return {};
}

}  // namespace

Result<Tokenizer> Tokenizer::create(VocabularySource given) {
    if (given.model == "bert" || given.model == "t5") {
        TRY_ASSIGN(TokenizerParts encoder,
                   given.model == "bert" ? parts_of_word_piece(given) : parts_of_unigram(given));
        return Tokenizer(std::move(encoder));
    }
    TRY_ASSIGN(Vocabulary checked, Vocabulary::check(std::move(given)));
    TokenizerParts parts;
    parts.vocabulary = std::make_unique<Vocabulary>(std::move(checked));
    const Vocabulary& vocabulary = *parts.vocabulary;
    const VocabularySource& source = vocabulary.source();
    parts.notes.assign(vocabulary.notes().begin(), vocabulary.notes().end());
    parts.taken_from = source.origin;
    parts.added = AddedTokens::of_vocabulary(vocabulary);
    bool family_adds_bos = true;
    if (vocabulary.is_sentence_piece()) {
        parts.adds_space_prefix = source.add_space_prefix.value_or(true);
        parts.decoder.drops_space_after_specials = parts.adds_space_prefix;
        using Input = SentencePieceEncoder::Input;
        const Input input = parts.adds_space_prefix ? Input::prefixed : Input::plain;
        parts.model = std::make_unique<SentencePieceEncoder>(vocabulary, input);
    } else if (source.model == "gemma4") {
        TRY(add_gemma4_parts(parts));
    } else {
        TRY_ASSIGN(const PreTokenizerRow* row, choose_pre_tokenizer(source, parts.notes));
        TRY_ASSIGN(parts.splitter, splitter_of(*row));
        TRY_ASSIGN(MergeTable merges, read_merges(vocabulary, parts.notes));
        parts.model = std::make_unique<BytePairEncoder>(vocabulary, std::move(merges), row->whole_words_first);
        parts.pre_tokenizer = row->name;
        family_adds_bos = row->adds_bos;
    }
    bool adds_bos = source.add_bos.value_or(family_adds_bos && source.bos >= 0);
    if (source.model == "gemma4" && !adds_bos && source.bos >= 0) {
        adds_bos = true;
        parts.notes.push_back("tokenizer.ggml.add_bos_token is false, but no Gemma 4 works without BOS: it is added");
    }
    if (adds_bos) parts.before.push_back(source.bos);
    if (source.add_eos.value_or(false)) parts.behind.push_back(source.eos);
    const int32_t separator = source.separator >= 0 ? source.separator : source.eos;
    if (source.add_separator.value_or(false) && parts.behind.empty() && separator >= 0)
        parts.behind.push_back(separator);
    return Tokenizer(std::move(parts));
}

}  // namespace invar
