// Read decoder.h first.
#include "text/tokenizer/decoder.h"

#include "text/tokenizer/utf8.h"
#include "text/tokenizer/vocabulary.h"

namespace invar {
namespace decode {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
    if (from.empty()) return;
    std::string made;
    size_t done = 0;
    for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, done)) {
        made.append(text, done, at - done).append(to);
        done = at + from.size();
    }
    made.append(text, done);
    text = std::move(made);
}

void apply(const Replace& step, std::string& text) {
    if (find_invalid_utf8(text)) return;  // an incomplete character cannot match a pattern
    Pattern::Workspace workspace;
    std::vector<Span> matches;
    if (!step.pattern.find_all(text, {0, text.size()}, workspace, matches)) return;
    std::string made;
    size_t done = 0;
    for (const Span match : matches) {
        made.append(text, done, match.begin - done).append(step.content);
        done = match.end;
    }
    text = made.append(text, done);
}

void apply(const Strip& step, std::string& text) {
    for (size_t i = 0; i < step.start && text.starts_with(step.character); ++i) text.erase(0, step.character.size());
    for (size_t i = 0; i < step.stop && text.ends_with(step.character); ++i)
        text.erase(text.size() - step.character.size());
}

void apply(const WordPiece& step, std::string& text, bool first) {
    if (!first) {
        if (text.starts_with(step.prefix)) {
            text.erase(0, step.prefix.size());
        } else {
            text.insert(text.begin(), ' ');
        }
    }
    if (!step.cleanup) return;
    constexpr std::string_view kJoined[][2] = {{" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
                                               {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
                                               {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    for (const auto& pair : kJoined) replace_all(text, pair[0], pair[1]);
}

}  // namespace
}  // namespace decode

std::string Decoder::piece_of(std::string_view token, bool added, bool first) const {
    std::string text(token);
    for (const decode::Step& step : steps) {
        if (std::holds_alternative<decode::ByteLevel>(step) && !added) text = bytes_of_byte_level(text);
        if (std::holds_alternative<decode::ByteFallback>(step)) {
            if (const auto byte = byte_token_byte(text)) text.assign(1, static_cast<char>(*byte));
        }
        if (const auto* replace = std::get_if<decode::Replace>(&step)) decode::apply(*replace, text);
        if (const auto* strip = std::get_if<decode::Strip>(&step)) decode::apply(*strip, text);
        if (const auto* piece = std::get_if<decode::WordPiece>(&step)) decode::apply(*piece, text, first);
        if (const auto* mark = std::get_if<decode::Metaspace>(&step)) {
            decode::replace_all(text, mark->mark, first && mark->drops_first ? "" : " ");
        }
        if (const auto* suffix = std::get_if<decode::Suffix>(&step)) decode::replace_all(text, suffix->suffix, " ");
    }
    if (joins_with_space && !first) text.insert(text.begin(), ' ');
    return text;
}

}  // namespace invar
