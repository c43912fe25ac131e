// The table of pre-tokenisers. The expressions are those in the models' own tokenizer.json files (for gpt-2, in the
// paper's encoder), written with `\s` = White_Space and explicit code points. If tokenizer.json uses the steps Digits
// or ByteLevel, the row states what these do. To add one: add a row here and its name in tools/fixtures/tokenizer.py,
// and make the fixtures again (docs/tokenizers.md).
#include "text/tokenizer/pre_tokenizer.h"

#include <algorithm>

namespace invar {
namespace {

// Contractions, letters, digits and the rest are alternatives of one expression, one per line. The first that matches
// wins, and every character matches one.
constexpr std::string_view kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kOneDigit = R"(\p{N})";
constexpr std::string_view kThreeDigits = R"(\p{N}{1,3})";
constexpr std::string_view kOneLineBreak = R"([\r\n])";

constexpr std::string_view kGpt2Expressions[] = {kGpt2};

constexpr std::string_view kStarcoderExpressions[] = {kOneDigit, kGpt2};

constexpr std::string_view kLlamaExpressions[] = {R"((?i:'s|'t|'re|'ve|'m|'ll|'d))"
                                                  R"(|[^\r\n\p{L}\p{N}]?\p{L}+)"
                                                  R"(|\p{N}{1,3})"
                                                  R"(| ?[^\s\p{L}\p{N}]+[\r\n]*)"
                                                  R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"};

constexpr std::string_view kQwen2Expressions[] = {R"((?i:'s|'t|'re|'ve|'m|'ll|'d))"
                                                  R"(|[^\r\n\p{L}\p{N}]?\p{L}+)"
                                                  R"(|\p{N})"
                                                  R"(| ?[^\s\p{L}\p{N}]+[\r\n]*)"
                                                  R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"};

// As qwen2, with combining marks counted among the letters.
constexpr std::string_view kQwen35Expressions[] = {R"((?i:'s|'t|'re|'ve|'m|'ll|'d))"
                                                   R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+)"
                                                   R"(|\p{N})"
                                                   R"(| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*)"
                                                   R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"};

// Tekken and gpt-4o end a word where an upper-case letter follows a lower-case one.
constexpr std::string_view kTekkenExpressions[] = {
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"(|\p{N})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"};

constexpr std::string_view kGpt4oExpressions[] = {
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"};

// U+4E00 to U+9FA5; then everything from U+0800 to U+4E00, and Hangul to the end of its extension B.
constexpr std::string_view kDeepseekIdeographs = R"([\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+)";

constexpr std::string_view kDeepseekCoderExpressions[] = {kOneLineBreak, R"(\s?\p{L}+)", R"(\s?\p{P}+)",
                                                          kDeepseekIdeographs, kOneDigit};

// The list of cased letters is the model's own and no Unicode property (Armenian and Georgian lower case and the
// mathematical letters are missing). The model's fourth expression has `\s+$`. Written as here, a run of blanks that
// does not end the piece is scanned once instead of once per blank.
constexpr std::string_view kDeepseekLlmExpressions[] = {
    kOneLineBreak,
    R"(\s?[A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}\x{295}-\x{2AF})"
    R"(\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5})"
    R"(\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD})"
    R"(\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15})"
    R"(\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D})"
    R"(\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB})"
    R"(\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D})"
    R"(\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E})"
    R"(\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D})"
    R"(\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06})"
    R"(\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB})"
    R"(\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}]+)",
    R"(\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+)",
    R"((?<!\s)\s++\z)",
    kDeepseekIdeographs,
    kOneDigit};

constexpr std::string_view kDeepseekV3Expressions[] = {kThreeDigits,
                                                       R"([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)",
                                                       R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+)"
                                                       R"(|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
                                                       R"(| ?[\p{P}\p{S}]+[\r\n]*)"
                                                       R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"};

// Punctuation, then words, then groups of three ASCII digits.
constexpr std::string_view kFalconExpressions[] = {R"([\p{P}!-/:-@\[-`{-~]+)", kGpt2, R"([0-9][0-9][0-9])"};

// Words end at a comma, a full stop or the like; the rest lies between the matches.
constexpr std::string_view kBloom = R"( ?[^(\s|.,!?\x{2026}\x{3002}\x{FF0C}\x{3001}\x{964}\x{6D4}\x{60C})]+)";
constexpr std::string_view kBloomExpressions[] = {kBloom};
constexpr std::string_view kVikingExpressions[] = {kBloom, kOneDigit};

constexpr std::string_view kChameleonExpressions[] = {
    R"(<sentinel:[0-9]+>)",    R"((IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z)",
    R"(([\t\n]|    |  ))",     kOneDigit,
    R"([\p{P}!-/:-@\[-`{-~])", kGpt2};

// Numbers are cut into groups of three digits, counted from their end: a group begins wherever a multiple of three
// digits follows. The model's file says `(?=(\d{3})+(?!\d))`, which scans the rest of a number from each of its digits.
// Here a number is measured once, at its beginning, and the matches are the groups themselves.
constexpr std::string_view kSuperbpeExpressions[] = {
    R"(\p{N}+)", R"((?<!\d)\d{3}(?=(?:\d{3})*+(?!\d))|(?<=(?<!\d)\d)\d{3}(?=(?:\d{3})*+(?!\d)))"
                 R"(|(?<=(?<!\d)\d\d)\d{3}(?=(?:\d{3})*+(?!\d))|\G(?<=\d\d\d)\d{3})"};

// The same, but only for numbers that no letter follows (`\d{1,3}(?=(?:\d{3})*\b)` in the file); then those of gpt-4o.
constexpr std::string_view kTinyAyaExpressions[] = {R"((?<!\d)\d{1,3}(?=(?:\d{3})*+\b)|\G(?<=\d)\d{3}(?=\d|\b))",
                                                    kGpt4oExpressions[0]};

constexpr std::string_view kBailingmoeExpressions[] = {R"('(?i:[sdmt]|ll|ve|re))"
                                                       R"(|[^\r\n\p{L}\p{N}]?+\p{L}+)"
                                                       R"(|\p{N})"
                                                       R"(| ?[^\s\p{L}\p{N}]++[\r\n]*)"
                                                       R"(|\s*[\r\n]|\s+(?!\S)|\s+)"};

constexpr std::string_view kSeedCoderExpressions[] = {R"((?i:'s|'t|'re|'ve|'m|'ll|'d))"
                                                      R"(|[^\r\n\p{L}\p{N}]?\p{L}+)"
                                                      R"(|\p{N})"
                                                      R"(| ?[^\s\p{L}\p{N}\r\n]+)"
                                                      R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"};

// Words of letters with marks, together with words that follow after single spaces. `(?> ...)` prevents backtracking,
// which changes no match: the file's `(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+` can match a text in one way only.
constexpr std::string_view kExaoneMoeExpressions[] = {R"((?i:'s|'t|'re|'ve|'m|'ll|'d))"
                                                      R"(|[^\r\n\p{L}\p{N}]?(?>(?:\p{L}\p{M}*+(?: (?=\p{L}))?+)++))"
                                                      R"(|\p{N})"
                                                      R"(| ?[^\s\p{L}\p{N}]+[\r\n/]?)"
                                                      R"(|\s*[\r\n]|\s+(?!\S)|\s+)"};

// Han characters by themselves; elsewhere as gpt-4o, with Han taken out of every class.
constexpr std::string_view kKimiExpressions[] = {
    R"([\p{Han}]+)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"};

// Numbers in groups of three from their end; Asian scripts by themselves; then deepseek-v3's words.
constexpr std::string_view kAfmoeExpressions[] = {
    R"((?<!\p{N})\p{N}{1,3}(?=(?:\p{N}{3})*+(?!\p{N}))|\G(?<=\p{N})\p{N}{3})",
    R"([\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{F900}-\x{FAFF}\x{3040}-\x{309F}\x{30A0}-\x{30FF}\x{FF65}-\x{FF9F})"
    R"(\x{2F00}-\x{2FDF}\x{E40}-\x{E7F}\x{EC0}-\x{EFF}\x{1780}-\x{17FF}\x{1000}-\x{109F}\x{AA60}-\x{AA7F})"
    R"(\x{A9E0}-\x{A9FF}\x{AC00}-\x{D7AF}\x{1100}-\x{11FF}]+)",
    kDeepseekV3Expressions[2]};

constexpr std::string_view kMinicpm5Expressions[] = {kThreeDigits, R"((?i:'s|'t|'re|'ve|'m|'ll|'d))"
                                                                   R"(|[^\r\n\p{L}\p{N}]?\p{L}+)"
                                                                   R"(|\p{N}+)"
                                                                   R"(| ?[^\s\p{L}\p{N}]+[\r\n]*)"
                                                                   R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"};

// As llama-bpe, with white space in powers of two.
constexpr std::string_view kJais2Expressions[] = {
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d))"
    R"(|[^\r\n\p{L}\p{N}]?\p{L}+)"
    R"(|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+)"
    R"(|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S))"
    R"(|\s{4}(?!\S)|\s{1,2}(?!\S)|\s)"};

// As deepseek-v3, with single line breaks and then single digits.
constexpr std::string_view kSparkExpressions[] = {kThreeDigits, kDeepseekV3Expressions[1],
                                                  R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+)"
                                                  R"(|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
                                                  R"(| ?[\p{P}\p{S}]+)"
                                                  R"(|[\r\n]|\s+(?!\S)|\s+)",
                                                  kOneDigit};

// Hangul, East Asian punctuation, Bopomofo and ideographs with kana by themselves; then gpt-4o's words, digits one by
// one.
constexpr std::string_view kYoutuExpressions[] = {
    R"([\x{AC00}-\x{D7A3}\x{3131}-\x{318E}]+)"
    R"(|[\x{FF01}\x{2026}\x{201C}\x{201D}\x{2018}\x{2019}\x{2014}\x{FF1A}\x{FF1B}\x{FF0C}\x{3001}-\x{303F}\x{FE30}-\x{FE4F}]+)"
    R"(|[\x{3105}-\x{312F}]+)"
    R"(|[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)",
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|\p{N})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"};

// As qwen2 without English contractions.
constexpr std::string_view kUfakzekaExpressions[] = {R"([^\r\n\p{L}\p{N}]?\p{L}+)"
                                                     R"(|\p{N})"
                                                     R"(| ?[^\s\p{L}\p{N}]+[\r\n]*)"
                                                     R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"};

constexpr std::string_view kLagunaExpressions[] = {R"([^\n]+|[\n]+)", kQwen2Expressions[0]};

using Names = std::string_view;
constexpr Names kGpt2Also[] = {"phi-2",    "mpt",      "olmo",       "jais",        "mellum",          "exaone4",
                               "trillion", "gigachat", "a.x-4.0",    "modern-bert", "granite-docling", "roberta-bpe",
                               "jina-es",  "jina-de",  "jina-v1-en", "jina-v2-es",  "jina-v2-de",      "jina-v2-code"};
constexpr Names kLlamaAlso[] = {"llama3", "llama-v3", "falcon3", "falcon-h1",
                                "lfm2",   "midm-2.0", "pixtral", "jina-v5-nano"};
constexpr Names kDbrxAlso[] = {"smaug-bpe", "chatglm-bpe"};
constexpr Names kGlm4Also[] = {"glm5"};
constexpr Names kQwen2Also[] = {"deepseek-r1-qwen", "stablelm2",  "hunyuan", "megrez",
                                "grok-2",           "solar-open", "kormo",   "f2llmv2"};
constexpr Names kDeepseekV3Also[] = {"hunyuan-dense", "joyai-llm", "hy_v4"};
constexpr Names kStarcoderAlso[] = {"smollm", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"};
constexpr Names kGpt4oAlso[] = {"llama4", "kanana2", "minimax-m2", "talkie"};
constexpr Names kBloomAlso[] = {"poro-chat", "gpt3-finnish"};
constexpr Names kBailingmoeAlso[] = {"bailingmoe2", "llada-moe"};
constexpr Names kTinyAyaAlso[] = {"cohere2moe"};

constexpr PreTokenizerRow kRows[] = {
    {.name = "gpt-2", .also = kGpt2Also, .expressions = kGpt2Expressions},
    {.name = "llama-bpe",
     .also = kLlamaAlso,
     .expressions = kLlamaExpressions,
     .whole_words_first = true,
     .adds_bos = true},
    {.name = "dbrx", .also = kDbrxAlso, .expressions = kLlamaExpressions},
    {.name = "glm4", .also = kGlm4Also, .expressions = kLlamaExpressions, .whole_words_first = true},
    {.name = "qwen2", .also = kQwen2Also, .expressions = kQwen2Expressions},
    {.name = "qwen35", .also = {}, .expressions = kQwen35Expressions},
    {.name = "tekken", .also = {}, .expressions = kTekkenExpressions, .whole_words_first = true, .adds_bos = true},
    {.name = "gpt-4o", .also = kGpt4oAlso, .expressions = kGpt4oExpressions},
    {.name = "starcoder", .also = kStarcoderAlso, .expressions = kStarcoderExpressions},
    {.name = "deepseek-llm", .also = {}, .expressions = kDeepseekLlmExpressions},
    {.name = "deepseek-coder", .also = {}, .expressions = kDeepseekCoderExpressions},
    {.name = "deepseek-v3", .also = kDeepseekV3Also, .expressions = kDeepseekV3Expressions},
    {.name = "falcon", .also = {}, .expressions = kFalconExpressions},
    {.name = "bloom", .also = kBloomAlso, .expressions = kBloomExpressions},
    {.name = "viking", .also = {}, .expressions = kVikingExpressions},
    {.name = "chameleon", .also = {}, .expressions = kChameleonExpressions, .adds_bos = true},
    {.name = "superbpe", .also = {}, .expressions = kSuperbpeExpressions, .last_only_begins_words = true},
    {.name = "tiny_aya", .also = kTinyAyaAlso, .expressions = kTinyAyaExpressions},
    {.name = "bailingmoe", .also = kBailingmoeAlso, .expressions = kBailingmoeExpressions},
    {.name = "seed-coder", .also = {}, .expressions = kSeedCoderExpressions},
    {.name = "exaone-moe", .also = {}, .expressions = kExaoneMoeExpressions},
    {.name = "kimi-k2", .also = {}, .expressions = kKimiExpressions},
    {.name = "afmoe", .also = {}, .expressions = kAfmoeExpressions},
    {.name = "minicpm5", .also = {}, .expressions = kMinicpm5Expressions, .whole_words_first = true},
    {.name = "jais-2", .also = {}, .expressions = kJais2Expressions},
    {.name = "laguna", .also = {}, .expressions = kLagunaExpressions},
    {.name = "granite-embed-multi-97m", .also = {}, .expressions = kGpt4oExpressions, .whole_words_first = true},
    {.name = "youtu", .also = {}, .expressions = kYoutuExpressions, .whole_words_first = true},
    {.name = "spark2_5", .also = {}, .expressions = kSparkExpressions},
    {.name = "ufakzeka", .also = {}, .expressions = kUfakzekaExpressions},
};

}  // namespace

std::span<const PreTokenizerRow> pre_tokenizer_rows() { return kRows; }

std::string pre_tokenizer_names() {
    std::string names;
    const auto add = [&](std::string_view name) { names.append(names.empty() ? "" : ", ").append(name); };
    for (const PreTokenizerRow& row : kRows) {
        add(row.name);
        for (const std::string_view name : row.also) add(name);
    }
    return names;
}

std::string_view gpt2_expression() { return kGpt2; }

const PreTokenizerRow* find_pre_tokenizer(std::string_view name) {
    for (const PreTokenizerRow& row : kRows) {
        if (row.name == name || std::find(row.also.begin(), row.also.end(), name) != row.also.end()) return &row;
    }
    return nullptr;
}

Result<WordSplitter> splitter_of(const PreTokenizerRow& row) {
    WordSplitter splitter;
    for (const std::string_view& expression : row.expressions) {
        TRY_ASSIGN(Pattern pattern, Pattern::compile(expression));
        const bool only_begins = row.last_only_begins_words && &expression == &row.expressions.back();
        const SplitBehavior behavior = only_begins ? SplitBehavior::merged_with_next : SplitBehavior::isolated;
        splitter.add(split::ByPattern{std::move(pattern), behavior});
    }
    return splitter;
}

}  // namespace invar
