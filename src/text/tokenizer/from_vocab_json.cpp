// Turns the two files into the model of a tokenizer.json and continues as for that file (from_vocab_json.h).
#include "text/tokenizer/from_vocab_json.h"

#include "text/tokenizer/assemble.h"
#include "text/tokenizer/from_tokenizer_json.h"

namespace invar {
namespace {

// Reads lines of two texts. The first line may be a comment with the version.
JsonTree merges_of_lines(std::string_view text) {
    JsonTree::Array merges;
    bool is_first = true;
    while (!text.empty()) {
        const size_t end = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (line.ends_with('\r')) line.remove_suffix(1);
        const bool is_comment = is_first && line.starts_with("#version");
        is_first = false;
        if (!line.empty() && !is_comment) merges.emplace_back(std::string(line));
    }
    return JsonTree(std::move(merges));
}

}  // namespace

Result<TokenizerParts> parts_from_vocab_json(std::string_view vocabulary, std::string_view merges,
                                             const std::string& origin, bool normalizes_to_nfc,
                                             const FileHints& hints) {
    Result<JsonTree> tokens = JsonTree::parse(vocabulary);
    if (!tokens) return fail("{}: {}", origin, tokens.error().message);
    JsonTree tree{JsonTree::Object{}};
    tree.object()->push_back({"type", JsonTree(std::string("BPE"))});
    tree.object()->push_back({"vocab", std::move(*tokens)});
    tree.object()->push_back({"merges", merges_of_lines(merges)});
    TRY_ASSIGN(ModelDescription model, read_model(tree, origin));

    Decoder decoder;
    decoder.steps.emplace_back(decode::ByteLevel{});
    Normalizer normalizer;
    if (normalizes_to_nfc) normalizer.add(normalize::UnicodeForm{normalize::Form::nfc});
    WordSplitter splitter;
    if (hints.add_prefix_space.value_or(false))
        splitter.add(split::ByteLevel{.add_prefix_space = true, .writes_stand_ins = false});
    TRY_ASSIGN(Pattern pattern, Pattern::compile(hints.pattern));
    splitter.add(split::ByPattern{std::move(pattern), SplitBehavior::isolated});
    splitter.add(split::ByteLevel{.add_prefix_space = false, .writes_stand_ins = true});
    std::vector<PlacedToken> added;
    for (const AddedToken& token : hints.added) {
        if (token.token >= 0) added.push_back({token, false});
    }
    TRY_ASSIGN(TokenizerParts parts, assemble_parts({std::move(model), std::move(added), std::move(normalizer),
                                                     std::move(splitter), std::move(decoder)},
                                                    origin, hints));
    apply_end_rules(hints, parts);
    return parts;
}

}  // namespace invar
