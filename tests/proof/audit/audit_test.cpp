// Every defect that the audit looks for is put into a sound file, one at a time, and must be found at its place and
// alone; sound files of every format and architecture give nothing.
#include "proof/audit/audit.h"

#include <cmath>
#include <map>
#include <set>

#include "base/json.h"
#include "checkpoint/tiny_directory.h"
#include "proof/specimen.h"

namespace invar {
namespace {

using test::get_u16;
using test::put_u16;
using test::Specimen;
using test::SpecimenText;
using test::tiny;
using test::TinyModel;

TinyModel model_of(FormatId format, const std::string& architecture = "llama") {
    TinyModel model = tiny(architecture);
    model.layers = 4;  // layers are compared with each other from four on
    model.matrix_format = format;
    model.vocabulary = test::kSpecimenTokens;
    return model;
}

// A copy of the sound file; encoding one takes longer than auditing it.
Specimen specimen_of(FormatId format, const std::string& architecture = "llama") {
    static std::map<std::pair<FormatId, std::string>, Specimen> made;
    const auto key = std::pair(format, architecture);
    const auto found = made.find(key);
    if (found != made.end()) return found->second;
    return made.emplace(key, Specimen(model_of(format, architecture))).first->second;
}

AuditReport audited(const Checkpoint& file, int threads = 1) {
    const auto pool = ThreadPool::create({.threads = threads}).value();
    return audit(file, *pool, nullptr).value();
}
AuditReport audited(const Specimen& specimen, int threads = 1) { return audited(specimen.open(), threads); }

std::string listed(const AuditReport& report) {
    std::string text;
    for (const AuditFinding& finding : report.findings)
        text += fmt::format("\n  {} {}: {}", finding.check->name, finding.subject, finding.what);
    return text;
}

// The one finding there must be.
AuditFinding only_finding(const AuditReport& report, std::string_view check, std::string_view subject) {
    EXPECT_EQ(report.findings.size(), 1u) << check << listed(report);
    if (report.findings.empty()) return {.check = &audit_checks()[0]};
    EXPECT_EQ(report.findings[0].check->name, check) << listed(report);
    EXPECT_EQ(report.findings[0].subject, subject);
    return report.findings[0];
}

void expect_place(const AuditFinding& finding, int64_t count, int64_t block, int64_t offset) {
    EXPECT_EQ(finding.count, count) << finding.what;
    EXPECT_EQ(finding.block, block) << finding.what;
    EXPECT_EQ(finding.file_offset, offset) << finding.what;
    EXPECT_NE(finding.what.find(fmt::format("byte {} of the file", offset)), std::string::npos) << finding.what;
}

constexpr const char* kUp = "blk.2.ffn_up.weight";  // [512, 256]

TEST(Audit, FindsNothingInSoundFilesOfEveryFormatAndArchitecture) {
    int files = 0;
    const auto expect_sound = [&](FormatId id, const std::string& architecture) {
        const AuditReport report = audited(specimen_of(id, architecture));
        EXPECT_TRUE(report.findings.empty()) << format(id).name << " " << architecture << listed(report);
        EXPECT_TRUE(report.not_checked.empty());
        ++files;
    };
    for (const Format* format : formats()) {
        if (format->in_gguf()) expect_sound(format->id, "llama");
    }
    for (const std::string& architecture : test::tiny_architectures()) expect_sound(FormatId::q4_k, architecture);
    std::printf("[audit] %d sound files, 0 findings expected\n", files);
}

TEST(Audit, DoesNotDependOnTheNumberOfThreads) {
    Specimen specimen = specimen_of(FormatId::q4_k, "qwen3moe");
    put_u16(specimen.block("blk.1.ffn_gate_exps.weight", 300), 0, 0x7C00);
    const std::string one = audit_as_json(audited(specimen, 1)).dump();
    for (const int threads : {2, 5}) EXPECT_EQ(audit_as_json(audited(specimen, threads)).dump(), one);
}

// Offsets of the binary16 scales in a block, from the published layouts.
const std::map<FormatId, std::vector<size_t>> kBinary16Scales = {
    {FormatId::q4_0, {0}},    {FormatId::q4_1, {0, 2}},   {FormatId::q5_0, {0}},   {FormatId::q5_1, {0, 2}},
    {FormatId::q8_0, {0}},    {FormatId::q2_k, {80, 82}}, {FormatId::q3_k, {108}}, {FormatId::q4_k, {0, 2}},
    {FormatId::q5_k, {0, 2}}, {FormatId::q6_k, {208}},    {FormatId::iq4_nl, {0}}, {FormatId::iq4_xs, {0}}};

TEST(Audit, FindsEveryScaleThatIsNoNumber) {
    int found = 0;
    for (const auto& [id, offsets] : kBinary16Scales) {
        const Format& format = invar::format(id);
        const int64_t block = 512 * 256 / format.block_weights / 3;
        for (const size_t offset : offsets) {
            for (const uint16_t bits : {0x7C00, 0xFC00, 0x7E00, 0x7C01}) {
                Specimen specimen = specimen_of(id);
                put_u16(specimen.block(kUp, block), offset, bits);
                const AuditFinding finding = only_finding(audited(specimen), "non-finite-scale", kUp);
                expect_place(finding, 1, block,
                             specimen.offset(kUp) + block * format.block_bytes + static_cast<int64_t>(offset));
                EXPECT_EQ(finding.row, block * format.block_weights / 256);
                ++found;
            }
        }
    }
    std::printf("[audit] %d bad binary16 scales found at their byte\n", found);
    EXPECT_EQ(found, 4 * 17);
}

TEST(Audit, FindsScaleBytesThatTheFormatReserves) {
    const struct {
        FormatId format;
        size_t offset;
        int value;
    } cases[] = {
        {FormatId::mxfp4, 0, 0xFF}, {FormatId::nvfp4, 0, 0x7F}, {FormatId::nvfp4, 3, 0x80}, {FormatId::nvfp4, 2, 0xFF}};
    for (const auto& [id, offset, value] : cases) {
        Specimen specimen = specimen_of(id);
        specimen.block(kUp, 77)[offset] = static_cast<std::byte>(value);
        const int64_t byte = specimen.offset(kUp) + 77 * format(id).block_bytes + static_cast<int64_t>(offset);
        expect_place(only_finding(audited(specimen), "reserved-scale", kUp), 1, 77, byte);
    }
    // The largest scales that are numbers are none of these.
    Specimen sound = specimen_of(FormatId::nvfp4);
    sound.block(kUp, 77)[1] = std::byte{0x7E};
    for (const AuditFinding& finding : audited(sound).findings) EXPECT_NE(finding.check->name, "reserved-scale");
}

TEST(Audit, FindsWeightsThatAreNoNumbersOrHuge) {
    const struct {
        FormatId format;
        uint32_t bits;
        const char* check;
    } cases[] = {{FormatId::f32, 0x7FC00000, "non-finite-weight"}, {FormatId::f32, 0xFF800000, "non-finite-weight"},
                 {FormatId::f16, 0x7C00, "non-finite-weight"},     {FormatId::f16, 0xFE01, "non-finite-weight"},
                 {FormatId::bf16, 0x7F80, "non-finite-weight"},    {FormatId::bf16, 0x7FC1, "non-finite-weight"},
                 {FormatId::f32, 0x477FE100, "huge-weight"},       {FormatId::bf16, 0xC780, "huge-weight"}};
    for (const auto& [id, bits, check] : cases) {
        Specimen specimen = specimen_of(id);
        const int64_t weight = 300 * 256 + 17, bytes = format(id).block_bytes;
        std::memcpy(&specimen.tensor(kUp)[static_cast<size_t>(weight * bytes)], &bits, static_cast<size_t>(bytes));
        const AuditFinding finding = only_finding(audited(specimen), check, kUp);
        expect_place(finding, 1, 300, specimen.offset(kUp) + weight * bytes);
        EXPECT_NE(finding.what.find("row 300, columns 0 to 255: its weight 17 is"), std::string::npos) << finding.what;
    }
    Specimen norm = specimen_of(FormatId::q8_0);
    const float nan = std::nanf("");
    std::memcpy(&norm.tensor("blk.3.attn_norm.weight")[4 * 9], &nan, 4);
    const AuditFinding finding = only_finding(audited(norm), "non-finite-weight", "blk.3.attn_norm.weight");
    EXPECT_EQ(finding.file_offset, norm.offset("blk.3.attn_norm.weight") + 36);
}

TEST(Audit, FindsQuantizedWeightsBeyondBinary16) {
    Specimen specimen = specimen_of(FormatId::q8_0);
    put_u16(specimen.block(kUp, 9), 0, 0x7BFF);  // 65504: twice that and more as a weight
    expect_place(only_finding(audited(specimen), "huge-weight", kUp), 1, 9, specimen.offset(kUp) + 9 * 34);
    Specimen powers = specimen_of(FormatId::mxfp4);
    powers.block(kUp, 9)[0] = std::byte{127 + 17};
    expect_place(only_finding(audited(powers), "huge-weight", kUp), 1, 9, powers.offset(kUp) + 9 * 17);
}

TEST(Audit, FindsWhatIsDead) {
    Specimen tensor = specimen_of(FormatId::q4_k);
    std::ranges::fill(tensor.tensor(kUp), std::byte{0});
    EXPECT_EQ(only_finding(audited(tensor), "dead-tensor", kUp).file_offset, tensor.offset(kUp));

    Specimen rows = specimen_of(FormatId::q8_0);
    for (const int64_t row : {40, 41, 500}) std::ranges::fill(rows.row(kUp, row), std::byte{0});
    expect_place(only_finding(audited(rows), "dead-rows", kUp), 3, 40 * 8, rows.offset(kUp) + 40 * 8 * 34);

    Specimen blocks = specimen_of(FormatId::q8_0);
    for (const int64_t block : {9, 10, 4000}) put_u16(blocks.block(kUp, block), 0, 0);  // a zero scale
    expect_place(only_finding(audited(blocks), "dead-blocks", kUp), 3, 9, blocks.offset(kUp) + 9 * 34);

    Specimen tokens = specimen_of(FormatId::bf16);
    for (const int64_t row : {7, 8}) std::ranges::fill(tokens.row("token_embd.weight", row), std::byte{0});
    expect_place(only_finding(audited(tokens), "unused-tokens", "token_embd.weight"), 2, 7,
                 tokens.offset("token_embd.weight") + 7 * 512);

    Specimen expert = specimen_of(FormatId::q6_k, "qwen3moe");
    const std::span<std::byte> stack = expert.tensor("blk.0.ffn_up_exps.weight");
    std::ranges::fill(stack.subspan(stack.size() / 8 * 5, stack.size() / 8), std::byte{0});
    const AuditFinding finding = only_finding(audited(expert), "dead-expert", "blk.0.ffn_up_exps.weight");
    expect_place(finding, 1, 5 * 256, expert.offset("blk.0.ffn_up_exps.weight") + 5 * 256 * 210);
    EXPECT_NE(finding.what.find("expert 5"), std::string::npos);
}

TEST(Audit, FindsBlocksOfOneNumber) {
    Specimen quantized = specimen_of(FormatId::q4_0);
    for (size_t i = 2; i < 18; ++i) quantized.block(kUp, 123)[i] = std::byte{0xBB};  // code 3 everywhere
    expect_place(only_finding(audited(quantized), "constant-blocks", kUp), 1, 123, quantized.offset(kUp) + 123 * 18);
    Specimen plain = specimen_of(FormatId::f16);
    for (size_t i = 0; i < 256; ++i) put_u16(plain.row(kUp, 99), 2 * i, 0x2E66);
    expect_place(only_finding(audited(plain), "constant-blocks", kUp), 1, 99, plain.offset(kUp) + 99 * 512);
}

TEST(Audit, FindsVectorsThatWereFilledIn) {
    Specimen ones = specimen_of(FormatId::q8_0);
    ones.encode("blk.1.ffn_norm.weight", std::vector<float>(256, 1.0f));
    only_finding(audited(ones), "constant-norm", "blk.1.ffn_norm.weight");
    Specimen zeros = specimen_of(FormatId::q8_0);
    zeros.encode("output_norm.weight", std::vector<float>(256, 0.0f));
    only_finding(audited(zeros), "dead-tensor", "output_norm.weight");
    Specimen bias = specimen_of(FormatId::q8_0, "qwen2");
    bias.encode("blk.0.attn_k.bias", std::vector<float>(128, 0.0f));
    only_finding(audited(bias), "zero-bias", "blk.0.attn_k.bias");
}

TEST(Audit, FindsScalesFarFromTheRest) {
    Specimen bit = specimen_of(FormatId::q8_0);
    const std::span<std::byte> block = bit.block(kUp, 1000);
    put_u16(block, 0, static_cast<uint16_t>(get_u16(block, 0) ^ 0x2000));  // the exponent bit that counts 8
    expect_place(only_finding(audited(bit), "scale-outlier", kUp), 1, 1000, bit.offset(kUp) + 34000);

    Specimen minimum = specimen_of(FormatId::q4_k);
    put_u16(minimum.block(kUp, 50), 2, 0x4000);  // dmin = 2
    expect_place(only_finding(audited(minimum), "scale-outlier", kUp), 1, 50, minimum.offset(kUp) + 50 * 144 + 2);

    Specimen plain = specimen_of(FormatId::bf16);
    put_u16(plain.row(kUp, 4), 2 * 100, 0x42F0);  // 120
    expect_place(only_finding(audited(plain), "scale-outlier", kUp), 1, 4, plain.offset(kUp) + 4 * 512);

    Specimen power = specimen_of(FormatId::mxfp4);
    power.block(kUp, 31)[0] = std::byte{127 + 6};
    expect_place(only_finding(audited(power), "scale-outlier", kUp), 1, 31, power.offset(kUp) + 31 * 17);

    Specimen faint = specimen_of(FormatId::q8_0);
    put_u16(faint.block(kUp, 8), 0, 2);
    expect_place(only_finding(audited(faint), "faint-blocks", kUp), 1, 8, faint.offset(kUp) + 8 * 34);
}

TEST(Audit, FindsTensorsWhoseScalesAreCoarse) {
    Specimen specimen = specimen_of(FormatId::q4_k);
    std::vector<float> values = specimen.decode(kUp);
    for (size_t i = 0; i < 25 * 256; ++i) values[i] *= 0.003f;  // 25 blocks with scales of 15 steps or so
    specimen.encode(kUp, values);
    const AuditFinding finding = only_finding(audited(specimen), "coarse-scales", kUp);
    EXPECT_EQ(finding.count, 25);
    EXPECT_EQ(finding.block, 0);
}

TEST(Audit, FindsCodesReadWithoutTheirOffset) {
    Specimen specimen = specimen_of(FormatId::q8_0);
    std::vector<float> values = specimen.decode(kUp);
    for (float& value : values) value += 8 * 0.02f;
    specimen.encode(kUp, values);
    only_finding(audited(specimen), "off-centre", kUp);
}

TEST(Audit, FindsLayersAndExpertsOfAnotherSize) {
    for (const float factor : {12.0f, 1.0f / 12}) {
        Specimen layer = specimen_of(FormatId::bf16);
        std::vector<float> values = layer.decode(kUp);
        for (float& value : values) value *= factor;
        layer.encode(kUp, values);
        const AuditFinding finding = only_finding(audited(layer), "odd-layer", kUp);
        EXPECT_EQ(finding.file_offset, layer.offset(kUp));

        constexpr const char* kStack = "blk.3.ffn_down_exps.weight";
        Specimen expert = specimen_of(FormatId::bf16, "qwen3moe");
        values = expert.decode(kStack);
        const size_t size = values.size() / 8;
        for (size_t i = 6 * size; i < 7 * size; ++i) values[i] *= factor;
        expert.encode(kStack, values);
        const AuditFinding odd = only_finding(audited(expert), "odd-expert", kStack);
        EXPECT_NE(odd.what.find("expert 6 "), std::string::npos) << odd.what;
        EXPECT_EQ(odd.row, 6 * 256);
    }
}

TEST(Audit, FindsCopies) {
    constexpr const char* kDown = "blk.2.ffn_down.weight";  // [256, 512]: two blocks a row
    Specimen block = specimen_of(FormatId::q4_k);
    std::ranges::copy(block.block(kDown, 17), block.block(kDown, 400).begin());
    expect_place(only_finding(audited(block), "duplicated-blocks", kDown), 1, 400, block.offset(kDown) + 400 * 144);

    Specimen row = specimen_of(FormatId::q8_0);
    std::ranges::copy(row.row(kUp, 30), row.row(kUp, 31).begin());
    std::ranges::copy(row.row(kUp, 30), row.row(kUp, 99).begin());
    const AuditFinding rows = only_finding(audited(row), "duplicated-rows", kUp);
    expect_place(rows, 2, 31 * 8, row.offset(kUp) + 31 * 8 * 34);
    EXPECT_NE(rows.what.find("row 31, equal to row 30"), std::string::npos) << rows.what;

    Specimen plain = specimen_of(FormatId::f32);
    std::ranges::copy(plain.row(kUp, 1), plain.row(kUp, 3).begin());
    expect_place(only_finding(audited(plain), "duplicated-rows", kUp), 1, 3, plain.offset(kUp) + 3 * 1024);

    Specimen token = specimen_of(FormatId::q8_0);
    std::ranges::copy(token.row("token_embd.weight", 5), token.row("token_embd.weight", 6).begin());
    only_finding(audited(token), "equal-tokens", "token_embd.weight");
}

TEST(Audit, FindsCopiesOfExpertsRoutersAndTensors) {
    Specimen router = specimen_of(FormatId::q8_0, "qwen3moe");
    std::ranges::copy(router.row("blk.2.ffn_gate_inp.weight", 2), router.row("blk.2.ffn_gate_inp.weight", 7).begin());
    const AuditFinding equal = only_finding(audited(router), "equal-router-rows", "blk.2.ffn_gate_inp.weight");
    EXPECT_NE(equal.what.find("row 7, equal to row 2"), std::string::npos) << equal.what;

    Specimen expert = specimen_of(FormatId::q4_0, "qwen3moe");
    const std::span<std::byte> stack = expert.tensor("blk.1.ffn_gate_exps.weight");
    const size_t size = stack.size() / 8;
    std::ranges::copy(stack.subspan(0, size), stack.subspan(3 * size, size).begin());
    const AuditFinding copy = only_finding(audited(expert), "duplicated-experts", "blk.1.ffn_gate_exps.weight");
    EXPECT_EQ(copy.row, 3 * 256);
    EXPECT_NE(copy.what.find("expert 3, equal to expert 0"), std::string::npos) << copy.what;

    Specimen across = specimen_of(FormatId::q4_0, "qwen3moe");
    const std::span<std::byte> gates = across.tensor("blk.1.ffn_gate_exps.weight");
    const std::span<std::byte> ups = across.tensor("blk.3.ffn_up_exps.weight");
    std::ranges::copy(gates.subspan(2 * size, size), ups.subspan(5 * size, size).begin());
    const AuditFinding other = only_finding(audited(across), "duplicated-experts", "blk.3.ffn_up_exps.weight");
    EXPECT_EQ(other.file_offset, across.offset("blk.3.ffn_up_exps.weight") + 5 * static_cast<int64_t>(size));
    EXPECT_NE(other.what.find("expert 5 holds the same bytes as expert 2 of blk.1.ffn_gate_exps.weight"),
              std::string::npos)
        << other.what;

    Specimen tensor = specimen_of(FormatId::q4_k);
    std::ranges::copy(tensor.tensor("blk.0.attn_q.weight"), tensor.tensor("blk.3.attn_q.weight").begin());
    const AuditFinding twice = only_finding(audited(tensor), "duplicated-tensor", "blk.3.attn_q.weight");
    EXPECT_EQ(twice.file_offset, tensor.offset("blk.3.attn_q.weight"));
    EXPECT_NE(twice.what.find("as blk.0.attn_q.weight"), std::string::npos) << twice.what;

    Specimen head = specimen_of(FormatId::q8_0);
    std::ranges::copy(head.tensor("token_embd.weight"), head.tensor("output.weight").begin());
    only_finding(audited(head), "head-stored-twice", "output.weight");
}

TEST(Audit, CallsNothingACopyThatChanceExplains) {
    // Ternary weights in blocks of 32: of 4096 blocks, few bits each, many are equal by chance or nearly so.
    Specimen specimen = specimen_of(FormatId::q4_0);
    std::vector<float> values = specimen.decode(kUp);
    for (size_t i = 0; i < values.size(); ++i) values[i] = i % 32 == (i / 32 * 7) % 32 ? 0.05f : 0.0f;
    specimen.encode(kUp, values);
    for (const AuditFinding& finding : audited(specimen).findings) {
        EXPECT_NE(finding.check->name, "duplicated-blocks") << finding.what;
        EXPECT_NE(finding.check->name, "duplicated-rows") << finding.what;
    }
}

TEST(Audit, FindsFilesThatTheEngineRefuses) {
    TinyModel extra = model_of(FormatId::q8_0);
    extra.edit_tensors = [](auto& list) { list.push_back({"blk.0.mystery.weight", {256}, &format(FormatId::f32)}); };
    const AuditFinding finding = only_finding(audited(Specimen(extra)), "refused", "file");
    EXPECT_NE(finding.what.find("mystery"), std::string::npos) << finding.what;

    TinyModel unknown = model_of(FormatId::q8_0);
    unknown.edit_metadata = [](GgufWriter& writer) { writer.add("general.architecture", "starfish"); };
    const AuditReport report = audited(Specimen(unknown));
    only_finding(report, "architecture", "file");
    EXPECT_EQ(report.not_checked.size(), 1u);
}

TEST(Audit, ReportSaysHowManyAndWhatToDo) {
    Specimen specimen = specimen_of(FormatId::q8_0);
    put_u16(specimen.block(kUp, 3), 0, 0x7C00);
    std::ranges::fill(specimen.row("token_embd.weight", 0), std::byte{0});
    const AuditReport report = audited(specimen);
    EXPECT_EQ(report.count(Severity::error), 1);
    EXPECT_EQ(report.count(Severity::note), 1);
    EXPECT_EQ(report.findings[0].check->severity, Severity::error);  // errors first
    const std::string text = audit_as_text(report);
    for (const char* part : {"error    non-finite-scale", "Download the file again", "1 error, 0 warnings, 1 note"})
        EXPECT_NE(text.find(part), std::string::npos) << part << " in\n" << text;
    const Json json = audit_as_json(report);
    EXPECT_EQ(json["errors"], 1);
    EXPECT_EQ(json["findings"][0]["check"], "non-finite-scale");
    EXPECT_EQ(json["findings"][0]["block"], 3);
    EXPECT_EQ(json["findings"][0]["offset"], specimen.offset(kUp) + 3 * 34);
}

TEST(Audit, FindsScalesOfBlocksThatNoWriterMakes) {
    test::TinyDirectory tiny = test::tiny_directory();
    const std::string down = "model.layers.0.mlp.down_proj.weight";
    tiny.compress(down, 4096.0f);
    const auto found = [&]() -> std::string {
        const auto checkpoint = tiny.open();
        EXPECT_TRUE(checkpoint);
        for (const AuditFinding& finding : audited(*checkpoint).findings) {
            if (finding.check->name == "block-scale") return finding.subject + " " + finding.what;
        }
        return "none";
    };
    EXPECT_EQ(found(), "none");
    std::string& scales = tiny.tensors.at(down + "_scale").bytes;
    scales[3] = static_cast<char>(0x80);  // minus zero is zero
    EXPECT_EQ(found(), "none");
    scales[3] = static_cast<char>(0x85);
    scales[9] = static_cast<char>(0x7F);
    EXPECT_EQ(found(), down + "_scale 2 of 512");
    scales[3] = scales[9] = 0;
    tiny.number(down + "_global_scale", -3);  // the engine refuses to bind it; it is counted all the same
    EXPECT_EQ(found(), down + "_global_scale 1 of 1");
}

TEST(Audit, ReportShowsFiveOfAKindAndCountsTheRest) {
    AuditReport report{.file = "model.gguf"};
    for (int i = 0; i < 9; ++i)
        report.findings.push_back({.check = &audit_check("dead-rows"), .subject = fmt::format("tensor {}", i)});
    const std::string text = audit_as_text(report);
    EXPECT_NE(text.find("tensor 4"), std::string::npos);
    EXPECT_EQ(text.find("tensor 5"), std::string::npos);
    EXPECT_NE(text.find("4 more of dead-rows"), std::string::npos) << text;
    EXPECT_EQ(audit_as_json(report)["findings"].size(), 9u);
}

TEST(Audit, EveryCheckHasAMeaningAndAnAdvice) {
    std::set<std::string_view> names;
    for (const AuditCheck& check : audit_checks()) {
        EXPECT_TRUE(names.insert(check.name).second) << check.name;
        EXPECT_TRUE(check.meaning.ends_with('.')) << check.name;
        EXPECT_TRUE(check.advice.ends_with('.')) << check.name;
    }
}

}  // namespace
}  // namespace invar
