// The weights of a directory and of the GGUF file that llama.cpp's converter made of it (tests/data/goldens_hf) are the
// same numbers, bit for bit, once each container's orders are undone. No name or order here is that of an architecture
// of src/models: they are stated anew.
#include <cmath>
#include <filesystem>

#include "checkpoint/held_weights.h"
#include "files/model_directory.h"

namespace invar {
namespace {

using test::matrix_in;
using test::numbers_of;
using test::stack_in;
using test::vector_in;

const std::filesystem::path kFolder = std::filesystem::path(INVAR_TEST_DATA) / "goldens_hf";

// One model in both containers, and how many numbers of it were compared.
struct Pair {
    explicit Pair(const std::string& model, int at = 0)
        : layer(at), directory(open(kFolder / model)), file(open(kFolder / (model + ".gguf"))) {}
    static Checkpoint open(const std::filesystem::path& path) {
        auto opened = Checkpoint::open(path);
        if (!opened) throw std::runtime_error(opened.error().message);
        return std::move(*opened);
    }
    void vector(WeightNames names, int64_t size, const VectorOptions& options, double ulps = 0) {
        compare(names.gguf, numbers_of(vector_in(directory, names, size, options, layer)),
                numbers_of(vector_in(file, names, size, options, layer)), size, ulps);
    }
    void matrix(WeightNames names, int64_t rows, int64_t columns, const MatrixOptions& options) {
        compare(names.gguf, numbers_of(matrix_in(directory, names, rows, columns, options, layer)),
                numbers_of(matrix_in(file, names, rows, columns, options, layer)), rows * columns, 0);
    }
    void stack(WeightNames names, const std::vector<int64_t>& shape, const MatrixOptions& options) {
        compare(names.gguf, numbers_of(stack_in(directory, names, shape, options, layer)),
                numbers_of(stack_in(file, names, shape, options, layer)), shape[0] * shape[1] * shape[2], 0);
    }
    void compare(std::string_view name, const std::vector<float>& theirs, const std::vector<float>& converted,
                 int64_t count, double ulps) {
        ASSERT_EQ(theirs.size(), static_cast<size_t>(count)) << name;
        ASSERT_EQ(converted.size(), theirs.size()) << name;
        int64_t different = 0;
        for (size_t i = 0; i < theirs.size(); ++i)
            different += std::fabs(theirs[i] - converted[i]) <= ulps * 0x1p-23 * std::fabs(theirs[i]) ? 0 : 1;
        EXPECT_EQ(different, 0) << name << ": of " << count << " numbers";
        compared += count;
    }
    int layer;
    Checkpoint directory, file;
    int64_t compared = 0;
};

bool lacks(const std::string& model) { return !std::filesystem::exists(kFolder / (model + ".gguf")); }

TEST(ConvertedWeights, OfAGatedDeltaNetWithTiledHeads) {
    if (lacks("qwen35")) GTEST_SKIP() << "tests/data/goldens_hf has no qwen35";
    constexpr int64_t kK = 2, kV = 6, kWidth = 16, kPer = kV / kK, kBefore = 2 * kK * kWidth, kD = 32;
    const GroupOrder heads{.count = kK, .rows = kPer * kWidth, .sections = {kWidth}};
    const GroupOrder single{.count = kK, .rows = kPer, .sections = {1}};
    GroupOrder behind = heads;
    behind.unmoved = kBefore;
    const auto rows = [](const GroupOrder& order) { return HeldAs{.order = {.groups = order}}; };
    Pair pair("qwen35");
    pair.matrix({"qkv", "attn_qkv.weight", "linear_attn.in_proj_qkv.weight"}, kBefore + kV * kWidth, kD,
                {.hugging_face = rows(behind)});
    pair.matrix({"z", "attn_gate.weight", "linear_attn.in_proj_z.weight"}, kV * kWidth, kD,
                {.hugging_face = rows(heads)});
    pair.matrix({"a", "ssm_alpha.weight", "linear_attn.in_proj_a.weight"}, kV, kD, {.hugging_face = rows(single)});
    pair.matrix({"b", "ssm_beta.weight", "linear_attn.in_proj_b.weight"}, kV, kD, {.hugging_face = rows(single)});
    pair.matrix({"out", "ssm_out.weight", "linear_attn.out_proj.weight"}, kD, kV * kWidth,
                {.hugging_face = {.columns = heads}});
    pair.matrix({"conv", "ssm_conv1d.weight", "linear_attn.conv1d.weight"}, kBefore + kV * kWidth, 4,
                {.hugging_face = {.order = {.groups = behind}, .shape = {kBefore + kV * kWidth, 1, 4}}});
    pair.vector({"dt", "ssm_dt.bias", "linear_attn.dt_bias"}, kV, {.hugging_face = rows(single)});
    pair.vector({"a_log", "ssm_a", "linear_attn.A_log"}, kV,
                {.hugging_face = {.order = {.groups = single}, .law = VectorLaw::minus_exp}}, 2);
    pair.vector({"norm", "attn_norm.weight", "input_layernorm.weight"}, kD,
                {.hugging_face = {.law = VectorLaw::plus_one}});
    EXPECT_EQ(pair.compared, 160 * 32 + 96 * 32 + 2 * 6 * 32 + 32 * 96 + 160 * 4 + 6 + 6 + 32);
}

TEST(ConvertedWeights, OfAGatedDeltaNetWithInterleavedProjections) {
    if (lacks("qwen3next")) GTEST_SKIP() << "tests/data/goldens_hf has no qwen3next";
    Pair pair("qwen3next");
    const TensorInfo* gate = pair.file.find("blk.0.attn_gate.weight");
    ASSERT_NE(gate, nullptr);
    const TensorInfo* a = pair.file.find("blk.0.ssm_a");
    ASSERT_NE(a, nullptr);
    const int64_t heads = a->weights(), width = gate->shape[0] / heads, columns = gate->shape[1];
    const int64_t key = (pair.file.find("blk.0.attn_qkv.weight")->shape[0] - heads * width) / 2;  // of all key heads
    constexpr int64_t kK = 2;
    const int64_t group = 2 * key / kK + 2 * heads / kK * width, value = heads / kK * width;
    pair.matrix({"qkv", "attn_qkv.weight", "linear_attn.in_proj_qkvz.weight"}, 2 * key + heads * width, columns,
                {.hugging_face = {.order = {.groups = {kK, group, {key / kK, key / kK, value}}}}});
    pair.matrix({"z", "attn_gate.weight", "linear_attn.in_proj_qkvz.weight"}, heads * width, columns,
                {.hugging_face = {.order = {.first = 2 * key / kK + value, .groups = {kK, group, {value}}}}});
    pair.matrix({"ba", "ssm_ba.weight", "linear_attn.in_proj_ba.weight"}, 2 * heads, columns, {});
    EXPECT_GT(pair.compared, 1000);
}

TEST(ConvertedWeights, OfGptOssInBothOfItsForms) {
    int models = 0;
    for (const char* model : {"gpt-oss", "gpt-oss-mxfp4"}) {
        if (lacks(model)) continue;
        Pair pair(model);
        const TensorInfo* down = pair.file.find("blk.0.ffn_down_exps.weight");
        ASSERT_NE(down, nullptr);
        const int64_t experts = down->shape[0], width = down->shape[1], ffn = down->shape[2];
        const auto every_other = [](int64_t first) {
            return HeldAs{.order = {.first = first, .step = 2}, .transposed = Transposed::where_plain};
        };
        pair.stack({"gate", "ffn_gate_exps.weight", "mlp.experts.gate_up_proj"}, {experts, ffn, width},
                   {.hugging_face = every_other(0)});
        pair.stack({"up", "ffn_up_exps.weight", "mlp.experts.gate_up_proj"}, {experts, ffn, width},
                   {.hugging_face = every_other(1)});
        pair.stack({"down", "ffn_down_exps.weight", "mlp.experts.down_proj"}, {experts, width, ffn},
                   {.hugging_face = {.transposed = Transposed::where_plain}});
        for (const auto& [name, first] : {std::pair{"ffn_gate_exps.bias", 0}, {"ffn_up_exps.bias", 1}}) {
            pair.vector({"bias", name, "mlp.experts.gate_up_proj_bias"}, experts * ffn,
                        {.gguf = {.shape = {experts, ffn}},
                         .hugging_face = {.order = {.first = first, .step = 2}, .shape = {experts, 2 * ffn}}});
        }
        pair.vector({"bias", "ffn_down_exps.bias", "mlp.experts.down_proj_bias"}, experts * width,
                    {.gguf = {.shape = {experts, width}}, .hugging_face = {.shape = {experts, width}}});
        EXPECT_EQ(pair.compared, experts * (3 * width * ffn + 2 * ffn + width));
        ++models;
    }
    if (models == 0) GTEST_SKIP() << "tests/data/goldens_hf has no gpt-oss";
}

TEST(ConvertedWeights, OfLatentAttention) {
    if (lacks("deepseek-v3")) GTEST_SKIP() << "tests/data/goldens_hf has no deepseek-v3";
    constexpr int64_t kHeads = 4, kNope = 16, kV = 20, kLatent = 24;
    Pair pair("deepseek-v3");
    pair.stack({"k", "attn_k_b.weight", "self_attn.kv_b_proj.weight"}, {kHeads, kLatent, kNope},
               {.hugging_face = {.matrix_rows = kNope + kV, .transposed = Transposed::yes}});
    pair.stack({"v", "attn_v_b.weight", "self_attn.kv_b_proj.weight"}, {kHeads, kV, kLatent},
               {.hugging_face = {.order = {.first = kNope}, .matrix_rows = kNope + kV}});
    EXPECT_EQ(pair.compared, kHeads * (kNope + kV) * kLatent);
}

TEST(ConvertedWeights, OfAStateSpaceMixerBelowItsOwnRoot) {
    if (lacks("nemotron-h")) GTEST_SKIP() << "tests/data/goldens_hf has no nemotron-h";
    Pair pair("nemotron-h");
    pair.vector({"a", "ssm_a", "mixer.A_log"}, 6,
                {.gguf = {.shape = {6, 1}}, .hugging_face = {.law = VectorLaw::minus_exp}}, 2);
    pair.vector({"d", "ssm_d", "mixer.D"}, 6, {.gguf = {.shape = {6, 1}}});
    pair.vector({"conv", "ssm_conv1d.weight", "mixer.conv1d.weight"}, 112 * 4,
                {.gguf = {.shape = {112, 4}}, .hugging_face = {.shape = {112, 1, 4}}});
    pair.vector({"norm", "ssm_norm.weight", "mixer.norm.weight"}, 48, {.gguf = {.shape = {2, 24}}});
    pair.layer = -1;
    pair.vector({"norm", "output_norm.weight", "norm.weight"}, 32, {});
    EXPECT_EQ(pair.compared, 6 + 6 + 112 * 4 + 48 + 32);
}

TEST(ConvertedWeights, OfExpertsWithAFactor) {
    if (lacks("gemma4-moe")) GTEST_SKIP() << "tests/data/goldens_hf has no gemma4-moe";
    Pair pair("gemma4-moe");
    pair.stack({"down", "ffn_down_exps.weight", "experts.down_proj"}, {8, 32, 8},
               {.gguf = {.factors = "ffn_down_exps.scale"}, .hugging_face = {.factors = "router.per_expert_scale"}});
    for (const int64_t first : {0, 8}) {
        pair.stack({"half", first == 0 ? "gate" : "up", first == 0 ? "g" : "u"}, {8, 8, 32},
                   {.gguf_fused = "ffn_gate_up_exps.weight",
                    .hugging_face_fused = "experts.gate_up_proj",
                    .fused_row = first});
    }
    pair.vector({"scalar", "layer_output_scale.weight", "layer_scalar"}, 1, {});
    EXPECT_EQ(pair.compared, 8 * 32 * 8 + 8 * 16 * 32 + 1);
}

TEST(ConvertedWeights, OfFusedProjections) {
    if (lacks("phi3")) GTEST_SKIP() << "tests/data/goldens_hf has no phi3";
    Pair pair("phi3");
    const TensorInfo* up = pair.file.find("blk.0.ffn_up.weight");
    ASSERT_NE(up, nullptr);
    const int64_t ffn = up->shape[0] / 2, width = up->shape[1];
    for (const int64_t first : {int64_t{0}, ffn}) {
        const HeldAs half{.order = {.first = first}, .part = true};
        pair.matrix({"half", "ffn_up.weight", "mlp.gate_up_proj.weight"}, ffn, width,
                    {.gguf = half, .hugging_face = half});
    }
    EXPECT_EQ(pair.compared, 2 * ffn * width);
}

}  // namespace
}  // namespace invar
