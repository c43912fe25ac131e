// Read assemble.h first.
#include "text/tokenizer/assemble.h"

#include <algorithm>

#include "files/printable.h"
#include "text/tokenizer/pre_tokenizer.h"

namespace invar {
namespace {

constexpr std::string_view kMistralTypes[] = {"",           "mistral", "mistral3", "ministral",
                                              "ministral3", "pixtral", "voxtral"};
constexpr int32_t kTekkenTokens = 131072;

}  // namespace

Result<void> add_vocabulary(VocabularySource source, const FileHints& hints, TokenizerParts& parts) {
    const auto token_of = [&](const std::optional<std::string>& text, std::string_view name) {
        if (!text) return -1;
        const auto found = std::find(source.tokens.begin(), source.tokens.end(), *text);
        if (found != source.tokens.end()) return static_cast<int32_t>(found - source.tokens.begin());
        parts.notes.push_back(fmt::format("the {} token '{}' is not in the vocabulary", name, printable(*text, 60)));
        return -1;
    };
    if (source.bos < 0) source.bos = token_of(hints.bos, "bos");
    if (source.eos < 0) source.eos = token_of(hints.eos, "eos");
    if (source.unknown < 0) source.unknown = token_of(hints.unknown, "unknown");
    if (source.padding < 0) source.padding = token_of(hints.padding, "padding");
    for (const EndToken& end : hints.ends) {
        if (end.token < static_cast<int32_t>(source.tokens.size())) {
            source.more_ends.push_back(end);
        } else {
            parts.notes.push_back(fmt::format("{} names token {} as an end, but the vocabulary has {} tokens",
                                              end.reason, end.token, source.tokens.size()));
        }
    }
    for (const int32_t token : hints.suppressed) {
        if (token < static_cast<int32_t>(source.tokens.size())) source.suppressed.push_back(token);
    }
    TRY_ASSIGN(Vocabulary checked, Vocabulary::check(std::move(source)));
    parts.vocabulary = std::make_unique<Vocabulary>(std::move(checked));
    const auto notes = parts.vocabulary->notes();
    parts.notes.insert(parts.notes.end(), notes.begin(), notes.end());
    return {};
}

void apply_end_rules(const FileHints& hints, TokenizerParts& parts) {
    const auto apply = [&](std::optional<bool> wanted, int32_t token, std::vector<int32_t>& ends, bool at_front,
                           std::string_view name) {
        const bool has = std::find(ends.begin(), ends.end(), token) != ends.end();
        if (!wanted || token < 0 || *wanted == has) return;
        parts.notes.push_back(fmt::format(
            "tokenizer_config.json says add_{}_token = {}, unlike the tokenizer's file: it counts", name, *wanted));
        if (*wanted) {
            ends.insert(at_front ? ends.begin() : ends.end(), token);
        } else {
            std::erase(ends, token);
        }
    };
    apply(hints.add_bos, parts.vocabulary->source().bos, parts.before, true, "bos");
    apply(hints.add_eos, parts.vocabulary->source().eos, parts.behind, false, "eos");
}

Result<void> correct_mistral_pattern(const FileHints& hints, TokenizerParts& parts) {
    const bool is_mistral =
        std::find(std::begin(kMistralTypes), std::end(kMistralTypes), hints.model_type) != std::end(kMistralTypes);
    const Vocabulary& vocabulary = *parts.vocabulary;
    const bool is_tekken =
        vocabulary.size() == kTekkenTokens && vocabulary.find("[INST]") == 3 && vocabulary.find("[/INST]") == 4;
    auto& steps = parts.splitter.steps();
    auto* first = steps.empty() ? nullptr : std::get_if<split::ByPattern>(&steps[0]);
    if (!is_mistral || !is_tekken || first == nullptr) return {};
    const std::string_view right = find_pre_tokenizer("tekken")->expressions[0];
    if (first->pattern.expression() == right) return {};
    TRY_ASSIGN(first->pattern, Pattern::compile(right));
    first->behavior = SplitBehavior::isolated;
    first->invert = false;
    parts.notes.push_back(
        "the file cuts words with the expression of another tokenizer, as Mistral published it: Tekken's own is used "
        "instead");
    return {};
}

}  // namespace invar
