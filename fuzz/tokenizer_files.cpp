// Fuzzes the readers of tokenizer files with any bytes: tokenizer.json, tekken.json, tiktoken's lines, a sentencepiece
// model, vocab.json with merges, vocab.txt, a charsmap, an expression. Reading, encoding and decoding end in a result
// or in one sentence. The input is one byte that chooses the file, the file up to the first 0xFF, and the text to
// encode.
#include <cstdint>
#include <string>

#include "require_stream.h"
#include "text/tokenizer/charsmap.h"
#include "text/tokenizer/encoder_vocabularies.h"
#include "text/tokenizer/from_sentence_piece.h"
#include "text/tokenizer/from_tokenizer_json.h"
#include "text/tokenizer/from_vocab_json.h"
#include "text/tokenizer/pattern.h"
#include "text/tokenizer/pre_tokenizer.h"
#include "text/tokenizer/ranked_bytes.h"
#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/tokenizer_files.h"
#include "text/tokenizer/utf8.h"

namespace {

using namespace invar;

void use(Result<TokenizerParts> parts, std::string_view text) {
    if (!parts) {
        require(!parts.error().message.empty());
        return;
    }
    const Tokenizer tokenizer(std::move(*parts));
    for (int32_t token = -2; token < std::min(tokenizer.size(), 300) + 2; ++token) {
        tokenizer.piece(token);
        tokenizer.is_end_of_generation(token);
    }
    for (const Specials specials : {Specials::parse, Specials::as_text}) {
        const auto tokens = tokenizer.encode(text, specials, Tokenizer::Ends::add);
        if (!tokens) {
            require(!tokens.error().message.empty());
            continue;
        }
        for (const int32_t token : *tokens) require(tokenizer.has(token));
        const std::string back = tokenizer.decode(*tokens, true);
        require_stream(tokenizer, *tokens, back);
    }
}

void search(std::string_view expression, std::string_view text) {
    const Result<Pattern> pattern = Pattern::compile(expression);
    if (!pattern) {
        require(!pattern.error().message.empty());
        return;
    }
    if (find_invalid_utf8(text)) return;
    Pattern::Workspace workspace;
    std::vector<Span> matches;
    if (!pattern->find_all(text, {0, text.size()}, workspace, matches)) return;
    size_t end = 0;
    for (const Span match : matches) {
        require(match.begin >= end && match.end >= match.begin && match.end <= text.size());
        end = match.end;
    }
}

void map_text(std::string_view bytes, std::string_view text) {
    const Result<Charsmap> map = Charsmap::read(bytes);
    if (!map || find_invalid_utf8(text)) return;
    for (size_t i = 0; i < text.size(); ++i) {
        for (const auto& match : {map->shortest(text.substr(i)), map->longest(text.substr(i))}) {
            if (match)
                require(match->bytes > 0 && match->bytes <= text.size() - i && !find_invalid_utf8(match->replacement));
        }
    }
}

void read_small_files(std::string_view bytes) {
    TokenizerFiles files;
    files.directory = "fuzz";
    files.tokenizer_json = {"tokenizer.json",
                            R"({"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}})"};
    for (auto* file : {&files.tokenizer_config, &files.special_tokens_map, &files.added_tokens,
                       &files.generation_config, &files.config, &files.chat_template_json}) {
        *file = {"small.json", std::string(bytes)};
    }
    const auto tokenizer = read_tokenizer(files);
    if (!tokenizer) require(!tokenizer.error().message.empty());
    (void)read_chat_template(files);
    (void)read_special_texts(files);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) return 0;
    const std::string_view all(reinterpret_cast<const char*>(data) + 1, size - 1);
    const size_t cut = std::min(all.find('\xFF'), all.size());
    const bool is_binary = data[0] % 8 == 3 || data[0] % 8 == 5;  // these may hold 0xFF, so their text is fixed
    const std::string_view file = is_binary ? all : all.substr(0, cut);
    const std::string_view text = is_binary ? std::string_view("the  cafe\xCC\x81 \xE6\x9D\xB1 <s>x\n")
                                            : all.substr(std::min(cut + 1, all.size()));
    FileHints hints;
    switch (data[0] % 8) {
        case 0:
            use(parts_from_tokenizer_json(file, "fuzz", hints), text);
            break;
        case 1:
            use(parts_from_tekken(file, "fuzz", hints), text);
            break;
        case 2:
            hints.pattern = gpt2_expression();
            use(parts_from_tiktoken(file, "fuzz", hints), text);
            break;
        case 3:
            use(parts_from_sentence_piece(file, "fuzz", hints), text);
            break;
        case 4: {
            const size_t end = std::min(file.find('\x1E'), file.size());
            hints.pattern = gpt2_expression();
            use(parts_from_vocab_json(file.substr(0, end), file.substr(end), "fuzz", true, hints), text);
            break;
        }
        case 5:
            map_text(file, text);
            break;
        case 6:
            search(file, text);
            break;
        default:
            if (data[0] % 16 == 15) {
                use(parts_from_vocab_txt(file, "fuzz", {}, hints), text);
            } else {
                read_small_files(file);
            }
            break;
    }
    return 0;
}
