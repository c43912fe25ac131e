// Reads the small files first, as hints, and then the tokenizer's own (tokenizer_files.h).
#include "text/tokenizer/tokenizer_files.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "base/json.h"
#include "base/mapped_file.h"
#include "files/printable.h"
#include "text/tokenizer/encoder_vocabularies.h"
#include "text/tokenizer/file_hints.h"
#include "text/tokenizer/from_sentence_piece.h"
#include "text/tokenizer/from_tokenizer_json.h"
#include "text/tokenizer/from_vocab_json.h"
#include "text/tokenizer/json_fields.h"
#include "text/tokenizer/known_patterns.h"
#include "text/tokenizer/ranked_bytes.h"
#include "text/tokenizer/utf8.h"

namespace invar {
namespace {

constexpr size_t kMostFileBytes = size_t{1} << 29;
constexpr int64_t kMostId = (int64_t{1} << 24) - 1;

using File = TokenizerFiles::File;

// A null tree if there is no such file.
Result<JsonTree> read_json(const std::optional<File>& file) {
    if (!file) return JsonTree();
    Result<JsonTree> tree = JsonTree::parse(file->bytes);
    if (!tree) return fail("{}: {}", file->name, tree.error().message);
    if (tree->object() == nullptr) return fail("{}: the file is not a JSON object", file->name);
    return tree;
}

std::string name_of(const std::optional<File>& file) { return file ? file->name : std::string(); }

// A token is named by its text, or by an object whose 'content' is the text.
std::optional<std::string> token_text(const JsonTree* tree) {
    if (tree == nullptr) return std::nullopt;
    if (tree->string() != nullptr) return *tree->string();
    const JsonTree* content = tree->find("content");
    if (content == nullptr || content->string() == nullptr) return std::nullopt;
    return *content->string();
}

std::optional<bool> flag_of(const JsonTree& tree, std::string_view key) {
    const JsonTree* value = tree.find(key);
    return value == nullptr || value->boolean() == nullptr ? std::nullopt : std::optional(*value->boolean());
}

struct SmallFiles {
    JsonTree config, special_tokens_map, added_tokens, generation_config, model_config;
};

Result<SmallFiles> read_small_files(const TokenizerFiles& files) {
    SmallFiles small;
    TRY_ASSIGN(small.config, read_json(files.tokenizer_config));
    TRY_ASSIGN(small.special_tokens_map, read_json(files.special_tokens_map));
    TRY_ASSIGN(small.added_tokens, read_json(files.added_tokens));
    TRY_ASSIGN(small.generation_config, read_json(files.generation_config));
    TRY_ASSIGN(small.model_config, read_json(files.config));
    return small;
}

std::optional<std::string> special_text(const SmallFiles& small, std::string_view key) {
    if (const auto text = token_text(small.config.find(key))) return text;
    return token_text(small.special_tokens_map.find(key));
}

// Reads a number or a list of numbers; null is no token.
Result<std::vector<int32_t>> ids_of(const JsonTree& tree, const std::string& key, const std::string& path) {
    std::vector<int32_t> tokens;
    const JsonTree* ids = tree.find(key);
    if (ids == nullptr) return tokens;
    const JsonTree::Array one = {*ids};
    for (const JsonTree& id : ids->array() != nullptr ? *ids->array() : one) {
        if (id.integer() == nullptr || *id.integer() < 0 || *id.integer() > kMostId)
            return fail("{}: '{}' names no token", path, key);
        tokens.push_back(static_cast<int32_t>(*id.integer()));
    }
    return tokens;
}

Result<void> read_ends(const JsonTree& tree, const std::string& path, FileHints& hints) {
    TRY_ASSIGN(const std::vector<int32_t> tokens, ids_of(tree, "eos_token_id", path));
    for (const int32_t token : tokens)
        hints.ends.push_back({token, "eos_token_id of " + std::filesystem::path(path).filename().string()});
    return {};
}

// Reads `"added_tokens_decoder": {"id": {"content": ...}}` of tokenizer_config.json.
Result<void> read_added_tokens_decoder(const JsonTree& config, const std::string& path, FileHints& hints) {
    const JsonTree* decoder = config.find("added_tokens_decoder");
    if (decoder == nullptr) return {};
    if (decoder->object() == nullptr) return fail("{}: 'added_tokens_decoder' is not an object", path);
    for (const JsonTree::Member& member : *decoder->object()) {
        int32_t id = -1;
        const auto [rest, error] = std::from_chars(member.key.data(), member.key.data() + member.key.size(), id);
        if (error != std::errc() || rest != member.key.data() + member.key.size() || id < 0 || id > kMostId) {
            return fail("{}: 'added_tokens_decoder' has the key '{}', which is no id", path, printable(member.key, 60));
        }
        const JsonFields fields(member.value, fmt::format("{}: added token {}", path, id));
        AddedToken token;
        token.token = id;
        TRY_ASSIGN(token.text, fields.text("content"));
        TRY_ASSIGN(token.special, fields.flag("special", false));
        TRY_ASSIGN(token.single_word, fields.flag("single_word", false));
        TRY_ASSIGN(token.left_strip, fields.flag("lstrip", false));
        TRY_ASSIGN(token.right_strip, fields.flag("rstrip", false));
        hints.added.push_back(std::move(token));
    }
    return {};
}

// Reads `{"text": id}` of added_tokens.json. It does not state the kind of a token; those that other files name are
// special.
Result<void> read_added_tokens_json(const SmallFiles& small, const std::string& path, FileHints& hints) {
    if (small.added_tokens.object() == nullptr) return {};
    std::vector<std::string> special;
    for (const JsonTree* tree : {&small.config, &small.special_tokens_map}) {
        for (const char* key :
             {"bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"}) {
            if (auto text = token_text(tree->find(key))) special.push_back(std::move(*text));
        }
        const JsonTree* more = tree->find("additional_special_tokens");
        if (more == nullptr || more->array() == nullptr) continue;
        for (const JsonTree& entry : *more->array()) {
            if (auto text = token_text(&entry)) special.push_back(std::move(*text));
        }
    }
    for (const JsonTree::Member& member : *small.added_tokens.object()) {
        const int64_t* id = member.value.integer();
        if (id == nullptr || *id < 0 || *id > kMostId)
            return fail("{}: the id of '{}' is no id", path, printable(member.key, 60));
        const auto same = [&](const AddedToken& token) { return token.token == *id || token.text == member.key; };
        if (std::any_of(hints.added.begin(), hints.added.end(), same)) continue;
        AddedToken token;
        token.text = member.key;
        token.token = static_cast<int32_t>(*id);
        token.special = std::find(special.begin(), special.end(), member.key) != special.end();
        hints.added.push_back(std::move(token));
    }
    return {};
}

Result<FileHints> hints_of(const TokenizerFiles& files, const SmallFiles& small) {
    FileHints hints;
    hints.bos = special_text(small, "bos_token");
    hints.eos = special_text(small, "eos_token");
    hints.unknown = special_text(small, "unk_token");
    hints.padding = special_text(small, "pad_token");
    hints.add_bos = flag_of(small.config, "add_bos_token");
    hints.add_eos = flag_of(small.config, "add_eos_token");
    hints.add_prefix_space = flag_of(small.config, "add_prefix_space");
    TRY(read_ends(small.generation_config, name_of(files.generation_config), hints));
    TRY(read_ends(small.model_config, name_of(files.config), hints));
    TRY_ASSIGN(hints.suppressed, ids_of(small.generation_config, "suppress_tokens", name_of(files.generation_config)));
    if (const JsonTree* text_config = small.model_config.find("text_config"))
        TRY(read_ends(*text_config, name_of(files.config), hints));
    hints.model_type = token_text(small.model_config.find("model_type")).value_or("");
    TRY(read_added_tokens_decoder(small.config, name_of(files.tokenizer_config), hints));
    TRY(read_added_tokens_json(small, name_of(files.added_tokens), hints));
    return hints;
}

Result<TokenizerParts> parts_of_tiktoken(const File& file, FileHints hints) {
    const KnownPattern* known = tiktoken_pattern(hints.model_type);
    if (known == nullptr) {
        return fail(
            ErrorKind::unsupported,
            "{}: a tiktoken file does not say how words are cut, and for the model type '{}' of config.json it is "
            "not known (it is for {}): use a tokenizer.json",
            file.name, printable(hints.model_type, 60), tiktoken_model_types());
    }
    hints.pattern = known->expression;
    return parts_from_tiktoken(file.bytes, file.name, hints);
}

Result<TokenizerParts> parts_of_vocab_json(const TokenizerFiles& files, const SmallFiles& small, FileHints hints) {
    const std::string tokenizer_class = token_text(small.config.find("tokenizer_class")).value_or("");
    const KnownPattern* known = vocab_json_pattern(tokenizer_class, hints.model_type);
    if (known == nullptr) {
        return fail(
            ErrorKind::unsupported,
            "{}: the file does not say how words are cut, and for the tokenizer class '{}' it is not known: use a "
            "tokenizer.json",
            files.vocab_json->name, printable(tokenizer_class, 60));
    }
    hints.pattern = known->expression;
    return parts_from_vocab_json(files.vocab_json->bytes, files.merges_txt->bytes, files.vocab_json->name,
                                 known->normalizes_to_nfc, hints);
}

// Their code cuts words in BERT's way, and the file says nothing about it.
constexpr std::string_view kBertClasses[] = {"BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer",
                                             "DistilBertTokenizerFast"};
constexpr std::string_view kBertTypes[] = {"bert", "distilbert", "nomic_bert"};

Result<TokenizerParts> parts_of_vocab_txt(const File& file, const SmallFiles& small, const FileHints& hints) {
    const std::string tokenizer_class = token_text(small.config.find("tokenizer_class")).value_or("");
    const auto is_one_of = [](const auto& names, std::string_view name) {
        return std::find(std::begin(names), std::end(names), name) != std::end(names);
    };
    if (!(tokenizer_class.empty() ? is_one_of(kBertTypes, hints.model_type) : is_one_of(kBertClasses, tokenizer_class)))
        return fail(
            ErrorKind::unsupported,
            "{}: the file does not say how words are cut, and for the tokenizer class '{}' it is not known: use a "
            "tokenizer.json",
            file.name, printable(tokenizer_class, 60));
    BertRules rules;
    rules.lowercase = flag_of(small.config, "do_lower_case").value_or(true);
    rules.strip_accents = flag_of(small.config, "strip_accents").value_or(rules.lowercase);
    rules.handle_chinese_chars = flag_of(small.config, "tokenize_chinese_chars").value_or(true);
    rules.first = special_text(small, "cls_token").value_or(rules.first);
    rules.last = special_text(small, "sep_token").value_or(rules.last);
    rules.mask = special_text(small, "mask_token").value_or(rules.mask);
    return parts_from_vocab_txt(file.bytes, file.name, rules, hints);
}

Result<TokenizerParts> read_parts(const TokenizerFiles& files) {
    TRY_ASSIGN(const SmallFiles small, read_small_files(files));
    TRY_ASSIGN(FileHints hints, hints_of(files, small));
    if (const auto& file = files.tokenizer_json) return parts_from_tokenizer_json(file->bytes, file->name, hints);
    if (const auto& file = files.tekken_json) return parts_from_tekken(file->bytes, file->name, hints);
    for (const auto* file : {&files.tiktoken_model, &files.tokenizer_model}) {
        if (!*file) continue;
        if (looks_like_tiktoken((*file)->bytes)) return parts_of_tiktoken(**file, std::move(hints));
        return parts_from_sentence_piece((*file)->bytes, (*file)->name, hints);
    }
    if (files.vocab_json && files.merges_txt) return parts_of_vocab_json(files, small, std::move(hints));
    if (files.vocab_txt) return parts_of_vocab_txt(*files.vocab_txt, small, hints);
    return fail(
        ErrorKind::not_found,
        "{}: there is no tokenizer (tokenizer.json, tekken.json, tiktoken.model, tokenizer.model, vocab.json with "
        "merges.txt, or vocab.txt)",
        files.directory);
}

// A chat template is a text, or a list of named texts.
Result<std::optional<std::string>> template_of(const JsonTree& tree, const std::string& path) {
    const JsonTree* value = tree.find("chat_template");
    if (value == nullptr) return std::nullopt;
    if (value->string() != nullptr) return *value->string();
    if (value->array() == nullptr) return fail("{}: 'chat_template' is neither a text nor a list of texts", path);
    for (const JsonTree& entry : *value->array()) {
        const auto name = token_text(entry.find("name"));
        const auto text = token_text(entry.find("template"));
        if (name == "default" && text) return *text;
    }
    return fail("{}: 'chat_template' is a list without a template named 'default'", path);
}

}  // namespace

// `read(name)` gives a file, or nothing if there is none.
template <class Read>
Result<TokenizerFiles> collect(std::string directory, Read&& read) {
    TokenizerFiles files;
    files.directory = std::move(directory);
    TRY_ASSIGN(files.tokenizer_json, read("tokenizer.json"));
    TRY_ASSIGN(files.tekken_json, read("tekken.json"));
    TRY_ASSIGN(files.tiktoken_model, read("tiktoken.model"));
    TRY_ASSIGN(files.tokenizer_model, read("tokenizer.model"));
    TRY_ASSIGN(files.vocab_json, read("vocab.json"));
    TRY_ASSIGN(files.merges_txt, read("merges.txt"));
    TRY_ASSIGN(files.vocab_txt, read("vocab.txt"));
    TRY_ASSIGN(files.tokenizer_config, read("tokenizer_config.json"));
    TRY_ASSIGN(files.special_tokens_map, read("special_tokens_map.json"));
    TRY_ASSIGN(files.added_tokens, read("added_tokens.json"));
    TRY_ASSIGN(files.generation_config, read("generation_config.json"));
    TRY_ASSIGN(files.config, read("config.json"));
    TRY_ASSIGN(files.chat_template_jinja, read("chat_template.jinja"));
    TRY_ASSIGN(files.chat_template_json, read("chat_template.json"));
    return files;
}

Result<TokenizerFiles> TokenizerFiles::in_directory(const std::string& directory) {
    return collect(directory, [&](const char* name) -> Result<std::optional<File>> {
        const std::string path = (std::filesystem::path(directory) / name).string();
        std::error_code error;
        if (!std::filesystem::exists(path, error)) return std::nullopt;
        TRY_ASSIGN(const MappedFile file, MappedFile::open(path));
        const auto bytes = file.bytes();
        if (bytes.size() > kMostFileBytes) {
            return fail("{}: {} bytes, at most {} are supported", path, bytes.size(), kMostFileBytes);
        }
        return File{path, std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size())};
    });
}

Result<TokenizerFiles> TokenizerFiles::of(const ModelDirectory& directory) {
    return collect(directory.name(), [&](std::string_view name) -> Result<std::optional<File>> {
        if (name == "config.json") return File{directory.config_name(), directory.config().dump()};
        if (!directory.has(name)) return std::nullopt;
        TRY_ASSIGN(std::string bytes, directory.read(name, kMostFileBytes));
        return File{directory.name_of(name), std::move(bytes)};
    });
}

Result<Tokenizer> read_tokenizer(const TokenizerFiles& files) {
    TRY_ASSIGN(TokenizerParts parts, read_parts(files));
    return Tokenizer(std::move(parts));
}

Result<std::optional<ChatTemplateText>> read_chat_template(const TokenizerFiles& files) {
    if (const auto& file = files.chat_template_jinja) {
        if (const auto offset = find_invalid_utf8(file->bytes)) {
            return fail("{}: not valid UTF-8 at byte {}", file->name, *offset);
        }
        return ChatTemplateText{file->bytes, file->name};
    }
    for (const auto* file : {&files.tokenizer_config, &files.chat_template_json}) {
        if (!*file) continue;
        TRY_ASSIGN(const JsonTree tree, read_json(*file));
        TRY_ASSIGN(auto text, template_of(tree, (*file)->name));
        if (text) return ChatTemplateText{std::move(*text), (*file)->name};
    }
    return std::nullopt;
}

Result<SpecialTexts> read_special_texts(const TokenizerFiles& files) {
    TRY_ASSIGN(const SmallFiles small, read_small_files(files));
    return SpecialTexts{special_text(small, "bos_token"), special_text(small, "eos_token"),
                        special_text(small, "unk_token"), special_text(small, "pad_token")};
}

}  // namespace invar
