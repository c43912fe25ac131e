// The audit of tokenizers and chat templates: one contradiction at a time in a sound file, found alone. Vocabularies of
// real models, where they are present, give no error.
#include <filesystem>

#include "proof/audit/audit.h"
#include "proof/specimen.h"

namespace invar {
namespace {

using test::kSpecimenBos;
using test::kSpecimenEnd;
using test::kSpecimenStart;
using test::kSpecimenTokens;
using test::Specimen;
using test::SpecimenText;
using test::tiny;
using test::TinyModel;

AuditReport audited(const SpecimenText& text, int64_t rows = kSpecimenTokens) {
    TinyModel model = tiny("llama");
    model.matrix_format = FormatId::q8_0;
    model.vocabulary = rows;
    const auto pool = ThreadPool::create({.threads = 1}).value();
    return audit(Specimen(model, text).open(), *pool, nullptr).value();
}

std::string listed(const AuditReport& report) {
    std::string all;
    for (const AuditFinding& finding : report.findings)
        all += fmt::format("\n  {} {}: {}", finding.check->name, finding.subject, finding.what);
    return all;
}

// That the one finding is this, and that it says so with these parts.
void expect_only(const AuditReport& report, std::string_view check, std::initializer_list<std::string_view> parts) {
    ASSERT_EQ(report.findings.size(), 1u) << check << listed(report);
    EXPECT_EQ(report.findings[0].check->name, check) << listed(report);
    for (const std::string_view part : parts)
        EXPECT_NE(report.findings[0].what.find(part), std::string::npos) << part << " in " << report.findings[0].what;
}

TEST(AuditTokenizer, FindsNothingInASoundOne) {
    const AuditReport report = audited({});
    EXPECT_TRUE(report.findings.empty()) << listed(report);
    EXPECT_TRUE(report.not_checked.empty());
}

TEST(AuditTokenizer, FindsDuplicateTokens) {
    SpecimenText text;
    text.tokens[258] = "th";
    text.merges.pop_back();
    expect_only(audited(text), "duplicate-tokens", {"tokens 256 and 258", "'th'"});
}

TEST(AuditTokenizer, ComparesTheVocabularyWithTheEmbedding) {
    expect_only(audited({}, 256), "tokens-without-rows", {"262 tokens", "256 rows"});
    expect_only(audited({}, 320), "rows-without-tokens", {"320 rows", "262 tokens"});
}

TEST(AuditTokenizer, FindsSpecialTokensThatAreNone) {
    SpecimenText range;
    range.eos = 262;
    expect_only(audited(range), "special-token-range", {"eos_token_id is 262", "262 tokens"});
    SpecimenText kind;
    kind.kinds[kSpecimenBos] = 4;  // user defined: still cut out of a text
    expect_only(audited(kind), "special-token-kind", {"bos_token_id is 259", "'<|bos|>'", "type 4"});
    SpecimenText missing;
    missing.bos = -1;
    expect_only(audited(missing), "bos-missing", {"add_bos_token"});
    SpecimenText endless;
    endless.eos = -1;
    endless.tokens[kSpecimenEnd] = "<|stop|>";  // not a text that is known to end an answer
    endless.chat_template = "";
    const AuditReport report = audited(endless);
    ASSERT_EQ(report.findings.size(), 2u) << listed(report);
    EXPECT_EQ(report.findings[0].check->name, "no-end-token");
    EXPECT_EQ(report.findings[1].check->name, "template-missing");
}

TEST(AuditTokenizer, FindsMergesOfUnknownTexts) {
    SpecimenText text;
    text.merges = {"t h", "q z", "th e", "x"};
    const AuditReport report = audited(text);
    ASSERT_FALSE(report.findings.empty());
    EXPECT_EQ(report.findings.back().check->name, "merges-of-unknown") << listed(report);
    EXPECT_EQ(report.findings.back().count, 2);
    EXPECT_NE(report.findings.back().what.find("merge 1, 'q z', names 'qz'"), std::string::npos) << listed(report);
}

TEST(AuditTokenizer, FindsMissingBytes) {
    SpecimenText text;
    text.tokens[0xE4] = "ab";
    text.tokens[0xC0] = "cd";  // never in UTF-8: not missed
    expect_only(audited(text), "bytes-missing", {"1 of the 243", "0xE4"});
}

TEST(AuditTokenizer, SaysWhenThereIsNone) {
    TinyModel model = tiny("llama");
    model.matrix_format = FormatId::q8_0;
    const std::vector<std::byte> bytes = model.bytes();
    const auto pool = ThreadPool::create({.threads = 1}).value();
    const AuditReport report = audit(Checkpoint::from_bytes(bytes, "model.gguf").value(), *pool, nullptr).value();
    expect_only(report, "tokenizer-missing", {"tokenizer.ggml.model"});
    EXPECT_EQ(report.not_checked.size(), 1u);
}

SpecimenText with_template(std::string source) {
    SpecimenText text;
    text.chat_template = std::move(source);
    return text;
}

TEST(AuditTemplate, FindsWhatDoesNotRender) {
    expect_only(audited(with_template("")), "template-missing", {});
    expect_only(audited(with_template("line one\n{% for m in %}")), "template-syntax", {"line 2"});
    expect_only(audited(with_template("{{ raise_exception('roles must alternate') }}")), "template-fails",
                {"roles must alternate"});
    expect_only(audited(with_template("<|start|>{{ messages[0].content }}<|end|>")), "template-fails",
                {"does not contain", "And plus one?"});
    expect_only(
        audited(with_template("{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') "
                              "}}{% endif %}<|start|>{{ m.content }}<|end|>{% endfor %}")),
        "template-no-system", {"no system"});
}

TEST(AuditTemplate, FindsMarksThatAreNoTokens) {
    expect_only(audited(with_template("{% for m in messages %}<|im_start|>{{ m.content }}<|end|>{% endfor %}")),
                "marker-unknown", {"'<|im_start|>'", "no token", "12 tokens"});
    expect_only(audited(with_template("{% if tools %}<|tool_call|>{% endif %}{% for m in messages %}{{ m.content "
                                      "}}<|end|>{% endfor %}")),
                "marker-unknown-elsewhere", {"'<|tool_call|>'"});
    SpecimenText kind;
    kind.kinds[kSpecimenStart] = 1;
    const AuditReport report = audited(kind);
    ASSERT_EQ(report.findings.size(), 1u) << listed(report);
    EXPECT_EQ(report.findings[0].check->name, "marker-unknown");
    EXPECT_NE(report.findings[0].what.find("is token 260, but of type 1"), std::string::npos) << listed(report);
}

TEST(AuditTemplate, FindsAnswersThatNeverEnd) {
    SpecimenText text;
    text.tokens.push_back("<|turn|>");
    text.kinds.push_back(3);
    text.chat_template = "{% for m in messages %}{{ m.content }}<|turn|>{% endfor %}";
    expect_only(audited(text, 263), "turn-end", {"'<|turn|>'", "'<|end|>'"});
    const AuditReport bare = audited(with_template("{% for m in messages %}{{ m.content }}{% endfor %}"));
    EXPECT_TRUE(bare.findings.empty()) << listed(bare);
    ASSERT_EQ(bare.not_checked.size(), 1u);
    EXPECT_NE(bare.not_checked[0].find("what ends an answer"), std::string::npos);
}

TEST(AuditTemplate, FindsASecondBeginning) {
    expect_only(audited(with_template("{{ bos_token }}{% for m in messages %}{{ m.content }}<|end|>{% endfor %}")),
                "double-bos", {"'<|bos|>'"});
}

TEST(AuditTokenizer, FindsNoErrorInVocabulariesOfRealModels) {
    const std::string folder = std::string(INVAR_SHARED_DATA) + "/tokenizers/";
    if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is not there";
    const auto pool = ThreadPool::create({.threads = 1}).value();
    int files = 0;
    for (const char* name : {"gpt-2", "starcoder", "deepseek-coder", "deepseek-llm", "llama-spm", "phi-3"}) {
        const Checkpoint file = Checkpoint::open(folder + "ggml-vocab-" + name + ".gguf").value();
        const AuditReport report = audit(file, *pool, nullptr).value();
        EXPECT_EQ(report.count(Severity::error), 0) << name << listed(report);
        // StarCoder's vocabulary really lacks one byte.
        EXPECT_EQ(report.count(Severity::warning), std::string(name) == "starcoder" ? 1 : 0) << name << listed(report);
        ++files;
    }
    std::printf("[audit] %d vocabularies of real models, 0 errors\n", files);
}

TEST(AuditTokenizer, FindsNothingInTheDemonstrationModels) {
    const auto pool = ThreadPool::create({.threads = 2}).value();
    for (const char* name : {"demo-dense.gguf", "demo-moe.gguf"}) {
        const auto file = Checkpoint::open(std::string(INVAR_MODELS) + "/" + name);
        ASSERT_TRUE(file) << file.error().message;
        const AuditReport report = audit(*file, *pool, nullptr).value();
        EXPECT_TRUE(report.findings.empty()) << name << listed(report);
    }
}

}  // namespace
}  // namespace invar
