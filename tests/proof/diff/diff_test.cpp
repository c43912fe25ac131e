// Two checkpoints of one model: quantisation in any format is no finding, and each mistake that a converter can make is
// named with its place. Distances are compared with sums in long double over separately decoded weights.
#include "proof/diff/diff_checkpoints.h"

#include <cmath>
#include <filesystem>
#include <map>

#include "base/json.h"
#include "checkpoint/module_tensors.h"
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
    model.layers = 3;
    model.matrix_format = format;
    model.vocabulary = test::kSpecimenTokens;
    return model;
}

// The same weights in every format: random numbers are drawn before they are encoded.
Specimen specimen_of(FormatId format, const std::string& architecture = "llama") {
    static std::map<std::pair<FormatId, std::string>, Specimen> made;
    const auto key = std::pair(format, architecture);
    const auto found = made.find(key);
    if (found != made.end()) return found->second;
    return made.emplace(key, Specimen(model_of(format, architecture))).first->second;
}

// Keeps the files that the result points into.
struct Compared {
    Checkpoint a, b;
    CheckpointDiff diff;

    Compared(const Specimen& x, const Specimen& y, int threads = 2) : a(x.open()), b(y.open()) {
        const auto pool = ThreadPool::create({.threads = threads}).value();
        diff = diff_weights(a, b, *pool, nullptr).value();
    }
    const TensorDistance& of(WeightId id) const {
        for (const TensorDistance& tensor : diff.tensors) {
            if (tensor.pair->id == id) return tensor;
        }
        ADD_FAILURE() << to_string(id) << " was not compared";
        return diff.tensors[0];
    }
    std::string listed() const {
        std::string text;
        for (const TensorDistance& tensor : diff.tensors) {
            for (const std::string& one : tensor.suspicions) text += "\n  " + to_string(tensor.pair->id) + ": " + one;
        }
        for (const auto* list : {&diff.match.hyperparameters, &diff.match.missing, &diff.match.extra}) {
            for (const std::string& one : *list) text += "\n  " + one;
        }
        return text;
    }
};

// The one suspicion there must be, of this weight, with these parts.
void expect_only(const Compared& compared, WeightId id, std::initializer_list<std::string_view> parts) {
    EXPECT_EQ(compared.diff.suspicions(), 1) << compared.listed();
    const TensorDistance& tensor = compared.of(id);
    ASSERT_EQ(tensor.suspicions.size(), 1u) << to_string(id) << compared.listed();
    for (const std::string_view part : parts)
        EXPECT_NE(tensor.suspicions[0].find(part), std::string::npos) << part << " in " << tensor.suspicions[0];
}

constexpr const char* kUp = "blk.1.ffn_up.weight";  // [512, 256]
const WeightId kUpId{1, "up"};

TEST(Diff, FindsNothingButQuantizationInAnyFormat) {
    int pairs = 0;
    for (const FormatId from : {FormatId::f32, FormatId::bf16, FormatId::q8_0}) {
        for (const Format* to : formats()) {
            if (!to->in_gguf()) continue;  // the model is a GGUF file
            const Compared compared(specimen_of(from), specimen_of(to->id));
            EXPECT_EQ(compared.diff.suspicions(), 0) << format(from).name << " " << to->name << compared.listed();
            for (const TensorDistance& tensor : compared.diff.tensors) {
                EXPECT_LT(std::fabs(tensor.scale - 1), 0.2) << to->name;
                if (from == to->id) {
                    EXPECT_EQ(tensor.relative_rms, 0) << to->name;
                }
            }
            ++pairs;
        }
    }
    for (const std::string& architecture : test::tiny_architectures()) {
        const Compared compared(specimen_of(FormatId::bf16, architecture), specimen_of(FormatId::q4_k, architecture));
        EXPECT_EQ(compared.diff.suspicions(), 0) << architecture << compared.listed();
        ++pairs;
    }
    std::printf("[diff] %d pairs of formats, 0 suspicious\n", pairs);
}

TEST(Diff, DistancesAreThoseOfPlainSums) {
    for (const FormatId id : {FormatId::q4_k, FormatId::q6_k, FormatId::mxfp4}) {
        Specimen a = specimen_of(FormatId::f16), b = specimen_of(id);
        const Compared compared(a, b);
        const std::vector<float> x = a.decode(kUp), y = b.decode(kUp);
        long double xx = 0, yy = 0, xy = 0, dd = 0;
        for (size_t i = 0; i < x.size(); ++i) {
            const long double p = x[i], q = y[i];
            xx += p * p, yy += q * q, xy += p * q, dd += (p - q) * (p - q);
        }
        const TensorDistance& tensor = compared.of(kUpId);
        EXPECT_NEAR(tensor.relative_rms, static_cast<double>(std::sqrt(dd / xx)), 1e-12);
        EXPECT_NEAR(tensor.scale, static_cast<double>(xy / yy), 1e-12);
        EXPECT_NEAR(tensor.scaled_rms, static_cast<double>(std::sqrt(1 - xy * xy / (xx * yy))), 1e-9);
        EXPECT_NEAR(tensor.expected / tensor.relative_rms, 1, 0.1);  // a sample of what the encoder does
        const Compared one_thread(a, b, 1);
        EXPECT_EQ(diff_as_json(one_thread.diff).dump(), diff_as_json(compared.diff).dump());
    }
}

// NVFP4 of SafeTensors and its blocks in a GGUF file: products with them are the same bits, although the weight that
// the writer's code makes of a code is rounded in another order.
TEST(Diff, TakesTheSameCodesAndScalesAsEqualWhateverTheWriterRoundsFirst) {
    const auto pool = ThreadPool::create({.threads = 2}).value();
    const auto directory = Checkpoint::open(std::filesystem::path(INVAR_TEST_DATA) / "dialects" / "nvfp4");
    ASSERT_TRUE(directory);
    const auto module = find_module(*directory, "model.layers.0.self_attn.q_proj.weight");
    ASSERT_TRUE(module && *module);
    const StoredWeight theirs{.name = "q",
                              .format = (*module)->format,
                              .shape = (*module)->shape,
                              .matrices = {{.weights = (*module)->weights, .scales = (*module)->scales}},
                              .packing = (*module)->packing,
                              .scales = (*module)->multipliers,
                              .divisors = (*module)->divisors,
                              .scale_order = (*module)->scale_order};
    RowReader reader(RowReader::Access::mapped);
    const auto rows = reader.rows(theirs, 0, theirs.rows());
    ASSERT_TRUE(rows);
    std::vector<std::byte> blocks(*rows, *rows + theirs.bytes());
    const TensorInfo tensor{.name = "blk.0.attn_q.weight",
                            .format = theirs.format,
                            .shape = theirs.shape,
                            .data = blocks.data(),
                            .bytes = blocks.size()};
    StoredWeight ours{.name = "q",
                      .format = theirs.format,
                      .shape = theirs.shape,
                      .matrices = {{.weights = &tensor}},
                      .scales = theirs.scales};
    const auto distance = [&] {
        return tensor_distance({.id = kUpId, .a = theirs, .b = ours, .rows = theirs.rows()}, *pool);
    };
    EXPECT_TRUE(distance().equal_bits);
    EXPECT_EQ(distance().relative_rms, 0);
    ours.scales[0] = std::nextafter(ours.scales[0], 1.0f);
    EXPECT_FALSE(distance().equal_bits);
    EXPECT_GT(distance().relative_rms, 0);
    ours.scales = theirs.scales;
    blocks[4] ^= std::byte{7};
    EXPECT_FALSE(distance().equal_bits);
    EXPECT_TRUE(std::isfinite(distance().relative_rms));
    EXPECT_GT(distance().relative_rms, 1e-5);
}

TEST(Diff, NamesAScaleThatIsMissingOrInverted) {
    int found = 0;
    for (const float factor : {0.5f, 1.1f, 1.0f / 2688, 2688.0f * 2688, 4.0f}) {
        for (const FormatId id : {FormatId::bf16, FormatId::q4_k, FormatId::q2_k}) {
            Specimen b = specimen_of(id);
            std::vector<float> values = specimen_of(FormatId::f32).decode(kUp);
            for (float& value : values) value *= factor;
            if (id == FormatId::q2_k && std::fabs(std::log2(factor)) < 0.5) continue;  // within its error
            b.encode(kUp, values);
            const Compared compared(specimen_of(FormatId::f32), b);
            expect_only(compared, kUpId, {"a scale of the whole tensor", "times B"});
            EXPECT_NEAR(compared.of(kUpId).scale * factor, 1, 0.15) << format(id).name;
            ++found;
        }
    }
    std::printf("[diff] %d wrong scales found\n", found);
}

TEST(Diff, NamesAReversedSignAndAnOffset) {
    Specimen b = specimen_of(FormatId::q8_0);
    std::vector<float> values = b.decode(kUp);
    for (float& value : values) value = -value;
    b.encode(kUp, values);
    const Compared reversed(specimen_of(FormatId::bf16), b);
    expect_only(reversed, kUpId, {"its sign is reversed"});
    // Of normal deviates 31.7 % are beyond one RMS.
    EXPECT_NEAR(static_cast<double>(reversed.of(kUpId).sign_flips) / (512 * 256), 0.317, 0.01);

    Specimen norm = specimen_of(FormatId::q8_0);
    values = norm.decode("blk.2.attn_norm.weight");
    for (float& value : values) value -= 1;
    norm.encode("blk.2.attn_norm.weight", values);
    expect_only(Compared(specimen_of(FormatId::bf16), norm), {2, "attention_norm"},
                {"A is B plus 1", "a norm stored without its 1"});
}

std::vector<float> permuted(const std::vector<float>& values, int64_t columns,
                            const std::function<int64_t(int64_t)>& to) {
    std::vector<float> result(values.size());
    for (int64_t row = 0; row < static_cast<int64_t>(values.size()) / columns; ++row)
        std::copy_n(values.begin() + row * columns, columns, result.begin() + to(row) * columns);
    return result;
}

TEST(Diff, NamesPermutedRows) {
    constexpr const char* kQuery = "blk.0.attn_q.weight";  // [4 heads x 64, 256]
    const std::vector<float> values = specimen_of(FormatId::f32).decode(kQuery);
    const struct {
        std::function<int64_t(int64_t)> to;
        const char* words;
    } cases[] = {
        {[](int64_t row) { return row / 64 * 64 + (row % 64 < 32 ? 2 * (row % 64) : 2 * (row % 64 - 32) + 1); },
         "halves of a head in A and neighbours in B"},
        {[](int64_t row) { return row / 64 * 64 + row % 2 * 32 + row % 64 / 2; },
         "neighbours in A and halves of a head in B"},
        {[](int64_t row) { return (row + 64) % 256; }, "heads of 64 rows are permuted"},
        {[](int64_t row) { return (row * 77 + 5) % 256; }, "rows are permuted"},
    };
    for (const auto& [to, words] : cases) {
        for (const FormatId id : {FormatId::q4_k, FormatId::q2_k}) {
            Specimen b = specimen_of(id);
            b.encode(kQuery, permuted(values, 256, to));
            expect_only(Compared(specimen_of(FormatId::bf16), b), {0, "query"}, {words});
        }
    }
    // Two rows of 512 exchanged.
    Specimen two = specimen_of(FormatId::q8_0);
    two.encode(kUp, permuted(two.decode(kUp), 256, [](int64_t row) { return row == 7 ? 300 : row == 300 ? 7 : row; }));
    expect_only(Compared(specimen_of(FormatId::bf16), two), kUpId, {"2 of 512 rows", "row 7 in A is row 300 in B"});
}

TEST(Diff, NamesSwappedExpertsAndLayers) {
    constexpr const char* kStack = "blk.1.ffn_gate_exps.weight";  // [8, 256, 256]
    Specimen experts = specimen_of(FormatId::q6_k, "qwen3moe");
    const auto swap = [](int64_t row) { return row / 256 == 2 ? row + 3 * 256 : row / 256 == 5 ? row - 3 * 256 : row; };
    experts.encode(kStack, permuted(experts.decode(kStack), 256, swap));
    expect_only(Compared(specimen_of(FormatId::bf16, "qwen3moe"), experts), {1, "expert_gate"},
                {"experts are permuted: 2 of 8", "expert 2 in A is expert 5 in B"});

    Specimen layers = specimen_of(FormatId::q8_0);
    const std::vector<float> zero = layers.decode("blk.0.attn_k.weight"), two = layers.decode("blk.2.attn_k.weight");
    layers.encode("blk.0.attn_k.weight", two);
    layers.encode("blk.2.attn_k.weight", zero);
    const Compared swapped(specimen_of(FormatId::bf16), layers);
    EXPECT_EQ(swapped.diff.suspicions(), 2) << swapped.listed();
    EXPECT_EQ(swapped.of({0, "key"}).suspicions[0], "it is that of layer 2 in B: layers are swapped");
    EXPECT_EQ(swapped.of({2, "key"}).suspicions[0], "it is that of layer 0 in B: layers are swapped");
}

TEST(Diff, NamesDamagedBlocksAndScaledRowsAtTheirPlace) {
    for (const FormatId id : {FormatId::q8_0, FormatId::q4_k, FormatId::bf16}) {
        const Format& format = invar::format(id);
        Specimen b = specimen_of(id);
        const int64_t unit = std::max(32, format.block_weights), row = 200, column = 256 - unit;
        std::vector<float> values = b.decode(kUp);
        std::reverse(values.begin() + row * 256 + column, values.begin() + row * 256 + column + unit);
        b.encode(kUp, values);
        const Compared compared(specimen_of(FormatId::f32), b);
        expect_only(compared, kUpId, {"row 200", fmt::format("columns {} to 255", column)});
        const WorstBlock& worst = compared.of(kUpId).worst;
        EXPECT_EQ(worst.row, row);
        EXPECT_EQ(worst.column, column);
        EXPECT_EQ(worst.offset_b, b.offset(kUp) + row * format.row_bytes(256) + format.row_bytes(column));
        EXPECT_NEAR(worst.relative, std::sqrt(2.0), 0.4);  // of unrelated numbers
    }
    Specimen rows = specimen_of(FormatId::bf16);
    std::vector<float> values = rows.decode(kUp);
    for (int64_t row = 50; row < 60; ++row) {
        for (int64_t i = 0; i < 256; ++i) values[static_cast<size_t>(row * 256 + i)] *= 8;
    }
    rows.encode(kUp, values);
    expect_only(Compared(specimen_of(FormatId::f32), rows), kUpId, {"10 of 512 rows", "row 50", "0.1249"});
}

TEST(Diff, NamesOtherWeightsAndWeightsThatAreNoNumbers) {
    Specimen other = specimen_of(FormatId::q8_0);
    std::vector<float> values = other.decode(kUp);
    for (size_t i = 0; i < values.size(); ++i)
        values[i] += 0.02f * std::sin(static_cast<float>(i * i % 1000));  // a fine-tune
    other.encode(kUp, values);
    expect_only(Compared(specimen_of(FormatId::bf16), other), kUpId, {"that the formats explain"});

    Specimen nan = specimen_of(FormatId::q8_0);
    put_u16(nan.block(kUp, 30), 0, 0x7C00);
    expect_only(Compared(specimen_of(FormatId::bf16), nan), kUpId, {"no numbers", "invar audit"});
}

TEST(Diff, NamesWhatTheHeadersSayDifferently) {
    TinyModel changed = model_of(FormatId::q8_0);
    changed.edit_metadata = [](GgufWriter& writer) { writer.add("llama.rope.freq_base", 500000.0f); };
    const Compared rope(specimen_of(FormatId::bf16), Specimen(changed));
    EXPECT_EQ(rope.diff.suspicions(), 1) << rope.listed();
    ASSERT_EQ(rope.diff.match.hyperparameters.size(), 1u);
    EXPECT_EQ(rope.diff.match.hyperparameters[0], "rope's base is 10000 in A and 500000 in B");

    SpecimenText text;
    text.tokens[70] = "xy";
    const Compared tokens(specimen_of(FormatId::bf16), Specimen(model_of(FormatId::q8_0), text));
    ASSERT_EQ(tokens.diff.match.hyperparameters.size(), 1u) << tokens.listed();
    EXPECT_EQ(tokens.diff.match.hyperparameters[0], "token 70 is 'F' in A and 'xy' in B");

    TinyModel without = model_of(FormatId::q8_0, "qwen2");
    without.edit_tensors = [](auto& list) {
        std::erase_if(list, [](const auto& tensor) { return tensor.name == "blk.1.attn_k.bias"; });
        list.push_back({"blk.1.attn_k.other", {128}, &format(FormatId::f32)});
    };
    const Compared missing(specimen_of(FormatId::bf16, "qwen2"), Specimen(without));
    ASSERT_EQ(missing.diff.match.missing.size(), 1u) << missing.listed();
    EXPECT_EQ(missing.diff.match.missing[0], "layer 1 key_bias is in A ('blk.1.attn_k.bias') and not in B");
    ASSERT_EQ(missing.diff.match.extra.size(), 1u);
    EXPECT_NE(missing.diff.match.extra[0].find("'blk.1.attn_k.other'"), std::string::npos);

    const Specimen qwen = specimen_of(FormatId::q8_0, "qwen2"), llama = specimen_of(FormatId::q8_0);
    const auto refused = match_checkpoints(llama.open(), qwen.open());
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("not two checkpoints of one model"), std::string::npos);
}

TEST(Diff, MatchesTiedHeadsWithStoredOnesAndPaddedTables) {
    TinyModel tied = model_of(FormatId::q8_0, "qwen3"), stored = tied;
    ASSERT_TRUE(tied.tied);
    stored.tied = false;
    Specimen b(stored);
    Specimen a(tied);
    // All other weights are drawn after the head, so they are copied.
    const Checkpoint file = a.open();
    for (const TensorInfo& tensor : file.tensors())
        std::ranges::copy(a.tensor(tensor.name), b.tensor(tensor.name).begin());
    std::ranges::copy(a.tensor("token_embd.weight"), b.tensor("output.weight").begin());
    const Compared compared(a, b);
    EXPECT_EQ(compared.diff.suspicions(), 0) << compared.listed();
    const MatchedTensor& head = *compared.of({-1, "output_head"}).pair;
    ASSERT_EQ(head.transforms.size(), 1u);
    EXPECT_EQ(head.transforms[0], "shared with token_embedding in A, stored in B");

    TinyModel padded = model_of(FormatId::q8_0, "qwen3");
    padded.vocabulary = 320;
    Specimen c(padded);
    for (const TensorInfo& tensor : file.tensors())
        std::ranges::copy(a.tensor(tensor.name), c.tensor(tensor.name).begin());
    const Compared rows(a, c);
    EXPECT_EQ(rows.diff.suspicions(), 0) << rows.listed();
    EXPECT_EQ(rows.of({-1, "token_embedding"}).pair->transforms[0],
              "padded in B to 320 rows, the first 262 are compared");
}

TEST(DiffDrift, MeasuresWhatAChangedLayerAdds) {
    ResidualRun a{.tokens = {1, 2, 3}, .width = 4, .vocabulary = 3};
    for (int layer = -1; layer < 6; ++layer) a.residuals[layer] = std::vector<float>(12, 1.0f);
    a.logits = {0, 1, 2, 2, 1, 0, 0, 5, 0};
    ResidualRun b = a;
    for (int layer = -1; layer < 6; ++layer) {
        for (size_t i = 0; i < 12; i += 2)
            b.residuals[layer][i] += layer >= 4 ? 0.3f : 0.001f * static_cast<float>(layer + 2);
    }
    b.logits[0] = 3;  // another first choice at position 0
    const DriftReport report = compare_runs(a, b);
    ASSERT_EQ(report.layers.size(), 7u);
    EXPECT_NEAR(report.layers[0].relative_rms, 0.001 / std::sqrt(2.0), 1e-7);
    EXPECT_NEAR(report.layers[6].relative_rms, 0.3 / std::sqrt(2.0), 1e-6);
    EXPECT_EQ(report.first_jump, 4);
    EXPECT_NEAR(report.same_best_share(), 2.0 / 3, 1e-12);
    EXPECT_EQ(report.positions[1].kl, 0);
    // KL of softmax(0, 1, 2) and softmax(3, 1, 2).
    const double e0 = 1, e1 = std::exp(1), e2 = std::exp(2), e3 = std::exp(3);
    const double p = e0 + e1 + e2, q = e3 + e1 + e2;
    const double expected = std::log(q / p) - 3 * e0 / p;
    EXPECT_NEAR(report.positions[0].kl, expected, 1e-12);
    EXPECT_NEAR(report.mean_kl(), expected / 3, 1e-12);
}

// The tensor with the largest distance is not the one with the largest multiple of what its format explains.
TEST(Diff, TheTableAndTheLastLineCallTheSameTensorTheFarthest) {
    Compared compared(specimen_of(FormatId::bf16), specimen_of(FormatId::q4_k));
    double largest = 0;
    for (TensorDistance& tensor : compared.diff.tensors) {
        if (to_string(tensor.pair->id) == "layer 1 up") {
            tensor.relative_rms = 0.875;
            tensor.expected = 1.0;
        } else {
            largest = std::max(largest, tensor.relative_rms);
            tensor.expected = 1e-3;
        }
    }
    ASSERT_GT(largest, 0.01);
    ASSERT_LT(largest, 0.875);
    const std::string text = diff_as_text(compared.diff, false);
    EXPECT_NE(text.find("the farthest is layer 1 up (bf16 / q4_k) at a distance of 0.875"), std::string::npos) << text;
    const size_t row = text.find("\nlayer 1 up ");
    ASSERT_NE(row, std::string::npos) << text;
    EXPECT_NE(text.substr(row, text.find('\n', row + 1) - row).find(" 0.875 "), std::string::npos) << text;
    EXPECT_EQ(text.find("\nlayer 0 up "), std::string::npos) << text;
    EXPECT_EQ(text.find("\nlayer 2 up "), std::string::npos) << text;
}

TEST(Diff, ReportNamesTheFinding) {
    Specimen b = specimen_of(FormatId::q8_0);
    std::vector<float> values = b.decode(kUp);
    for (float& value : values) value *= 4;
    b.encode(kUp, values);
    const Compared compared(specimen_of(FormatId::bf16), b);
    const std::string text = diff_as_text(compared.diff, false);
    EXPECT_NE(text.find("SUSPICIOUS: layer 1 up (blk.1.ffn_up.weight): A is 0.2499"), std::string::npos) << text;
    EXPECT_NE(text.find("1 suspicious finding\n"), std::string::npos) << text;
    const Json json = diff_as_json(compared.diff);
    EXPECT_EQ(json["suspicions"], 1);
    EXPECT_EQ(json["tensors"].size(), compared.diff.tensors.size());
}

}  // namespace
}  // namespace invar
