// Which file the tokens are taken from, and what the others say of them. Read gguf_vocabulary.h first.
#include "make/gguf_vocabulary.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "make/gguf_tekken.h"
#include "make/gguf_tokens.h"
#include "make/gguf_vocabulary_check.h"
#include "text/tokenizer/ranked_bytes.h"
#include "text/tokenizer/sentence_piece_file.h"
#include "text/tokenizer/tokenizer_files.h"

namespace invar {
namespace {

constexpr uint64_t kMostBytes = 256u << 20;

// Where no other file names a role: tokens that the post-processor adds, or the pieces that have sentencepiece's roles.
struct Roles {
    std::string bos, eos, padding;
};

void add_special_ids(const SpecialTexts& texts, const Json& config, const Roles& roles, const GgufTokens& tokens,
                     GgufWriter& writer) {
    struct Special {
        std::string_view name, key;
        const std::optional<std::string>& text;
        std::string_view role;
    };
    const Special specials[] = {{"bos", "bos", texts.bos, roles.bos},
                                {"eos", "eos", texts.eos, roles.eos},
                                {"unk", "unknown", texts.unknown, ""},
                                {"pad", "padding", texts.padding, roles.padding}};
    for (const auto& [name, key, text, role] : specials) {
        std::optional<uint32_t> id;
        if (text) id = tokens.id_of(*text);
        if (!id) {
            const Json* number = member(config, fmt::format("{}_token_id", name));
            const bool usable = number != nullptr && number->is_number_unsigned();
            if (usable && number->get<uint64_t>() < tokens.texts.size()) id = number->get<uint32_t>();
        }
        if (!id && !role.empty()) id = tokens.id_of(role);
        if (id) writer.add(fmt::format("tokenizer.ggml.{}_token_id", key), *id);
    }
}

// What the directory's tokenizer puts before and behind a text; empty where it puts nothing.
struct Ends {
    std::vector<int32_t> before, behind;
};

Ends ends_of(const Tokenizer& tokenizer) {
    for (const std::string_view text : {"a", ""}) {
        const auto alone = tokenizer.encode(text, Specials::as_text, Tokenizer::Ends::none);
        const auto whole = tokenizer.encode(text, Specials::as_text, Tokenizer::Ends::add);
        if (!alone || !whole) continue;
        const auto found = std::search(whole->begin(), whole->end(), alone->begin(), alone->end());
        if (found == whole->end() && !alone->empty()) continue;
        return {{whole->begin(), found}, {found + std::ssize(*alone), whole->end()}};
    }
    return {};
}

enum class Kind : uint8_t { byte_level, characters, word_piece, unigram, other };

Kind kind_of_tokenizer(const Json& tokenizer) {
    const Json* model = member(tokenizer, "model");
    const std::string type = model == nullptr ? "" : text_of(member(*model, "type")).value_or("");
    if (type == "WordPiece") return Kind::word_piece;
    if (type == "Unigram") return Kind::unigram;
    if (type != "BPE") return Kind::other;
    const Json* fallback = member(*model, "byte_fallback");
    const bool falls_back = fallback != nullptr && fallback->is_boolean() && fallback->get<bool>();
    return falls_back ? Kind::characters : Kind::byte_level;
}

Result<Json> read_optional(const ModelDirectory& directory, std::string_view file) {
    if (!directory.has(file)) return Json::object();
    return directory.read_json(file, kMostBytes);
}

// From tokenizer.model, with the tokens that other files add; `roles` are its own.
Result<GgufTokens> tokens_of_model(const ModelDirectory& directory, const std::string& bytes, const Json& config,
                                   int64_t rows, Roles& roles) {
    const std::string file = directory.name_of("tokenizer.model");
    TRY_ASSIGN(const SentencePieceFile model, read_sentence_piece_file(bytes));
    TRY_ASSIGN(GgufTokens tokens,
               model.type == 1 ? unigram_tokens_of_model(model, file, rows) : sentence_piece_tokens(bytes, file, rows));
    roles = {model.bos, model.eos, model.padding};
    TRY_ASSIGN(const Json added, read_optional(directory, "added_tokens.json"));
    TRY(add_tokens_json(added, directory.name_of("added_tokens.json"), tokens));
    TRY(add_tokens_decoder(config, directory.name_of("tokenizer_config.json"), tokens));
    return tokens;
}

// As the converter: byte-level BPE, WordPiece and Unigram from tokenizer.json; else tokenizer.model, where there is
// one, before tokenizer.json.
Result<GgufTokens> read_tokens(const ModelDirectory& directory, const Tokenizer& of_directory, const Json& tokenizer,
                               const Json& config, int64_t rows, Roles& roles) {
    const Kind kind = kind_of_tokenizer(tokenizer);
    const std::string file = directory.name_of("tokenizer.json");
    if (kind == Kind::byte_level) return byte_level_tokens(tokenizer, file, rows);
    if (kind == Kind::unigram) return unigram_tokens(tokenizer, file, rows);
    if (kind == Kind::word_piece || of_directory.taken_from().ends_with("vocab.txt")) {
        return word_piece_tokens(of_directory, tokenizer, config, std::string(of_directory.taken_from()), rows);
    }
    if (directory.has("tokenizer.model")) {
        TRY_ASSIGN(const std::string bytes, directory.read("tokenizer.model", kMostBytes));
        if (!looks_like_tiktoken(bytes)) return tokens_of_model(directory, bytes, config, rows, roles);
    }
    if (kind == Kind::characters) return character_tokens(tokenizer, file, rows);
    if (!directory.has("tokenizer.json")) {
        return fail(
            "{}: has no tokenizer.json, no tekken.json and no tokenizer.model of SentencePiece, from one of which the "
            "vocabulary of a GGUF file is made",
            directory.name());
    }
    return fail("{}: is not a tokenizer of BPE, WordPiece or Unigram, and others cannot be written into a GGUF file",
                file);
}

// From the files beside the weights, where they are not Tekken's.
Result<void> add_tokens_and_ids(const ModelDirectory& directory, const TokenizerFiles& files,
                                const Tokenizer& of_directory, int64_t rows, GgufWriter& writer) {
    TRY_ASSIGN(const Json tokenizer, read_optional(directory, "tokenizer.json"));
    TRY_ASSIGN(const Json config, read_optional(directory, "tokenizer_config.json"));
    const Ends ends = ends_of(of_directory);
    Roles roles;
    if (!ends.before.empty()) roles.bos = of_directory.text(ends.before.front());
    if (!ends.behind.empty()) roles.eos = of_directory.text(ends.behind.back());
    TRY_ASSIGN(GgufTokens tokens, read_tokens(directory, of_directory, tokenizer, config, rows, roles));
    const Json* prefix = member(config, "add_prefix_space");
    if (prefix != nullptr && prefix->is_boolean() && tokens.model == "llama") {
        tokens.add_space_prefix = prefix->get<bool>();
    }
    tokens.write(writer);
    TRY_ASSIGN(const SpecialTexts texts, read_special_texts(files));
    const Json* text_config = member(directory.config(), "text_config");
    add_special_ids(texts, text_config != nullptr ? *text_config : directory.config(), roles, tokens, writer);
    writer.add("tokenizer.ggml.add_bos_token", !ends.before.empty());
    const bool bert = tokens.model == "bert";  // whose ends have keys of their own
    if (!bert && !ends.behind.empty()) writer.add("tokenizer.ggml.add_eos_token", true);
    if (tokens.model == "t5") writer.add("tokenizer.ggml.add_eos_token", !ends.behind.empty());
    if (!bert) return {};
    writer.add("tokenizer.ggml.add_sep_token", !ends.behind.empty());
    if (!ends.before.empty()) writer.add("tokenizer.ggml.cls_token_id", static_cast<uint32_t>(ends.before.front()));
    if (!ends.behind.empty())
        writer.add("tokenizer.ggml.seperator_token_id", static_cast<uint32_t>(ends.behind.back()));
    return {};
}

// Whether the directory's tokenizer normalises to NFC, which byte_level_tokens() lets pass.
bool composes(const Json& tokenizer) {
    const auto steps = steps_of(tokenizer, "normalizer", "normalizers");
    return std::ranges::any_of(steps, [](const Json* step) { return text_of(member(*step, "type")) == "NFC"; });
}

}  // namespace

Result<std::vector<std::string>> add_vocabulary(const ModelDirectory& directory, int64_t rows, GgufWriter& writer) {
    TRY_ASSIGN(const TokenizerFiles files, TokenizerFiles::of(directory));
    TRY_ASSIGN(const Tokenizer of_directory, read_tokenizer(files));
    TRY_ASSIGN(const auto chat_template, read_chat_template(files));
    if (!directory.has("tokenizer.json") && directory.has("tekken.json")) {
        TRY(add_tekken_vocabulary(directory, rows, writer));
    } else {
        TRY(add_tokens_and_ids(directory, files, of_directory, rows, writer));
    }
    if (chat_template) writer.add("tokenizer.chat_template", chat_template->text);
    const std::string file(of_directory.taken_from());
    TRY_ASSIGN(const Tokenizer of_file, read_back(writer, file));
    TRY_ASSIGN(const Json tokenizer, read_optional(directory, "tokenizer.json"));
    TRY(check_tokens(of_directory, of_file, composes(tokenizer), file));
    std::vector<std::string> notes;
    add_end_tokens(of_directory, of_file, writer, notes);
    TRY_ASSIGN(const Json config, read_optional(directory, "tokenizer_config.json"));
    const bool of_json = directory.has("tokenizer.json");
    const Json* added = of_json ? member(tokenizer, "added_tokens") : member(config, "added_tokens_decoder");
    if (added != nullptr) note_added_tokens(*added, of_directory, of_file, notes);
    return notes;
}

}  // namespace invar
