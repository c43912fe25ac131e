// How checkpoints of the families hold their weights: each test makes a tensor as a family's files have it, asks for
// the weights that a model wants of it, and says by nested loops over heads where every number must come from.
#include "checkpoint/held_weights.h"

#include "arithmetic/elementary.h"

namespace invar {
namespace {

using test::counted;
using test::directory_of;
using test::gguf_of;
using test::matrix_in;
using test::numbers_of;
using test::stack_in;
using test::TinyDirectory;
using test::vector_in;

// The geometry of a gated delta net, with awkward numbers.
constexpr int64_t kGroups = 3, kPerGroup = 2, kKey = 5, kValue = 4, kHeads = kGroups * kPerGroup, kColumns = 7;
constexpr GroupOrder kTiledRows{.count = kGroups, .rows = kPerGroup * kValue, .sections = {kValue}};

void append_row(std::vector<float>& numbers, int64_t row, int64_t columns) {
    for (int64_t c = 0; c < columns; ++c) numbers.push_back(static_cast<float>(row * columns + c));
}

// Value head j * groups + g of the model is head g * per_group + j of Hugging Face's file.
TEST(HeldWeights, TilesTheRowsOfValueHeads) {
    TinyDirectory tiny = directory_of("z.weight", {kHeads * kValue, kColumns});
    const auto checkpoint = tiny.open();
    std::vector<float> expected;
    for (int64_t j = 0; j < kPerGroup; ++j)
        for (int64_t g = 0; g < kGroups; ++g)
            for (int64_t i = 0; i < kValue; ++i) append_row(expected, (g * kPerGroup + j) * kValue + i, kColumns);
    const auto z = matrix_in(*checkpoint, {"z", "attn_gate.weight", "z.weight"}, kHeads * kValue, kColumns,
                             {.hugging_face = {.order = {.groups = kTiledRows}}});
    EXPECT_EQ(numbers_of(z), expected);
    EXPECT_EQ(z->in_place(), nullptr);
}

TEST(HeldWeights, LeavesTheRowsBeforeTiledHeadsWhereTheyAre) {
    constexpr int64_t kBefore = 2 * kGroups * kKey;
    TinyDirectory tiny = directory_of("qkv.weight", {kBefore + kHeads * kValue, kColumns});
    const auto checkpoint = tiny.open();
    std::vector<float> expected;
    for (int64_t row = 0; row < kBefore; ++row) append_row(expected, row, kColumns);
    for (int64_t j = 0; j < kPerGroup; ++j)
        for (int64_t g = 0; g < kGroups; ++g)
            for (int64_t i = 0; i < kValue; ++i)
                append_row(expected, kBefore + (g * kPerGroup + j) * kValue + i, kColumns);
    GroupOrder order = kTiledRows;
    order.unmoved = kBefore;
    EXPECT_EQ(numbers_of(matrix_in(*checkpoint, {"qkv", "attn_qkv.weight", "qkv.weight"}, kBefore + kHeads * kValue,
                                   kColumns, {.hugging_face = {.order = {.groups = order}}})),
              expected);
}

// With as many value heads as key heads nothing moves, and the tensor stays where it is.
TEST(HeldWeights, StaysInPlaceWhereAnOrderMovesNothing) {
    TinyDirectory tiny = directory_of("z.weight", {kGroups * kValue, kColumns});
    const auto checkpoint = tiny.open();
    const GroupOrder same{.count = kGroups, .rows = kValue, .sections = {kValue}};
    const auto z = matrix_in(*checkpoint, {"z", "", "z.weight"}, kGroups * kValue, kColumns,
                             {.hugging_face = {.order = {.groups = same}}});
    EXPECT_EQ(numbers_of(z), counted(kGroups * kValue * kColumns));
    EXPECT_NE(z->in_place(), nullptr);
}

// in_proj_qkvz of Qwen3-Next: for each key head its q, k, the v of its value heads, and their z.
TEST(HeldWeights, TakesSlicesThatAreInterleavedByHead) {
    constexpr int64_t kV = kPerGroup * kValue, kGroup = 2 * kKey + 2 * kV;
    TinyDirectory tiny = directory_of("qkvz.weight", {kGroups * kGroup, kColumns});
    const auto checkpoint = tiny.open();
    std::vector<float> qkv, z;
    for (int64_t g = 0; g < kGroups; ++g)
        for (int64_t i = 0; i < kKey; ++i) append_row(qkv, g * kGroup + i, kColumns);
    for (int64_t g = 0; g < kGroups; ++g)
        for (int64_t i = 0; i < kKey; ++i) append_row(qkv, g * kGroup + kKey + i, kColumns);
    for (int64_t g = 0; g < kGroups; ++g)
        for (int64_t i = 0; i < kV; ++i) append_row(qkv, g * kGroup + 2 * kKey + i, kColumns);
    for (int64_t g = 0; g < kGroups; ++g)
        for (int64_t i = 0; i < kV; ++i) append_row(z, g * kGroup + 2 * kKey + kV + i, kColumns);
    EXPECT_EQ(
        numbers_of(matrix_in(*checkpoint, {"qkv", "attn_qkv.weight", "qkvz.weight"}, kGroups * (2 * kKey + kV),
                             kColumns, {.hugging_face = {.order = {.groups = {kGroups, kGroup, {kKey, kKey, kV}}}}})),
        qkv);
    EXPECT_EQ(
        numbers_of(matrix_in(*checkpoint, {"z", "attn_gate.weight", "qkvz.weight"}, kGroups * kV, kColumns,
                             {.hugging_face = {.order = {.first = 2 * kKey + kV, .groups = {kGroups, kGroup, {kV}}}}})),
        z);
}

// ssm_ba: for each key head the b of its value heads, then their a, in both containers.
TEST(HeldWeights, TakesSlicesOfOneRowForEachHeadFromBothContainers) {
    TinyDirectory tiny = directory_of("ba.weight", {2 * kHeads, kColumns});
    const auto directory = tiny.open();
    const std::vector<std::byte> bytes = gguf_of("ssm_ba.weight", {2 * kHeads, kColumns});
    const auto file = Checkpoint::from_bytes(bytes, "tiny.gguf");
    ASSERT_TRUE(file) << file.error().message;
    std::vector<float> a;
    for (int64_t g = 0; g < kGroups; ++g)
        for (int64_t j = 0; j < kPerGroup; ++j) append_row(a, g * 2 * kPerGroup + kPerGroup + j, kColumns);
    const HeldAs second{.order = {.first = kPerGroup, .groups = {kGroups, 2 * kPerGroup, {kPerGroup}}}};
    for (const Checkpoint* checkpoint : {&*directory, &*file}) {
        EXPECT_EQ(numbers_of(matrix_in(*checkpoint, {"a", "ssm_ba.weight", "ba.weight"}, kHeads, kColumns,
                                       {.gguf = second, .hugging_face = second})),
                  a);
    }
}

TEST(HeldWeights, TilesTheColumnsOfPlainNumbers) {
    constexpr int64_t kRows = 5, kWide = kHeads * kValue;
    TinyDirectory tiny = directory_of("out_proj.weight", {kRows, kWide});
    const auto checkpoint = tiny.open();
    std::vector<float> expected;
    for (int64_t row = 0; row < kRows; ++row)
        for (int64_t j = 0; j < kPerGroup; ++j)
            for (int64_t g = 0; g < kGroups; ++g)
                for (int64_t i = 0; i < kValue; ++i)
                    expected.push_back(static_cast<float>(row * kWide + (g * kPerGroup + j) * kValue + i));
    EXPECT_EQ(numbers_of(matrix_in(*checkpoint, {"out", "ssm_out.weight", "out_proj.weight"}, kRows, kWide,
                                   {.hugging_face = {.columns = kTiledRows}})),
              expected);
}

// Each packing with the numbers of the same tensor read without an order, which other tests compare with numpy's.
TEST(HeldWeights, TilesTheColumnsOfEveryPacking) {
    constexpr int64_t kRows = 130;
    int packings = 0;
    for (const auto& [packing, width] :
         {std::pair{"nvfp4", 32}, {"mxfp4", 64}, {"f8 grid", 128}, {"f8 rows", 8}, {"int4", 128}}) {
        const int64_t wide = kHeads * width;
        TinyDirectory tiny = test::tiny_directory();
        const std::string name = "model.layers.0.out_proj.weight";
        const std::string_view kind = packing;
        if (kind == "nvfp4") {
            tiny.floats(name, {kRows, wide}, counted(kRows * wide));
            tiny.compress(name, 4.0f);
        } else if (kind == "mxfp4") {
            tiny.random_bytes(name + "_packed", "U8", {kRows, wide / 2}, 255);
            tiny.random_bytes(name + "_scale", "U8", {kRows, wide / 32}, 200);
        } else if (kind == "int4") {
            tiny.random_bytes(name + "_packed", "I32", {kRows, wide / 8 * 4}, 255);
            tiny.tensors[name + "_packed"].shape = {kRows, wide / 8};
            std::string scales, shape(16, '\0');
            for (int64_t i = 0; i < kRows * wide / 128; ++i) scales += {static_cast<char>(i), static_cast<char>(0x3F)};
            const int64_t numbers[] = {kRows, wide};
            std::memcpy(shape.data(), numbers, 16);
            tiny.tensors[name + "_scale"] = {"BF16", {kRows, wide / 128}, scales};
            tiny.tensors[name + "_shape"] = {"I64", {2}, shape};
        } else {
            tiny.random_bytes(name, "F8_E4M3", {kRows, wide}, 0x7E);
            const bool grid = kind == "f8 grid";
            std::vector<float> scales = counted(grid ? 2 * wide / 128 : kRows);
            for (float& scale : scales) scale = 1 + scale / 8;
            tiny.floats(name + (grid ? "_scale_inv" : "_scale"),
                        grid ? std::vector<int64_t>{2, wide / 128} : std::vector<int64_t>{kRows, 1}, scales);
        }
        const auto checkpoint = tiny.open();
        ASSERT_TRUE(checkpoint) << checkpoint.error().message;
        const WeightNames names{"out", "", "out_proj.weight"};
        const std::vector<float> stored = numbers_of(matrix_in(*checkpoint, names, kRows, wide, {}));
        std::vector<float> expected;
        for (int64_t row = 0; row < kRows; ++row)
            for (int64_t j = 0; j < kPerGroup; ++j)
                for (int64_t g = 0; g < kGroups; ++g)
                    for (int64_t i = 0; i < width; ++i)
                        expected.push_back(stored[static_cast<size_t>(row * wide + (g * kPerGroup + j) * width + i)]);
        const HeldAs tiled{.columns = {.count = kGroups, .rows = kPerGroup * width, .sections = {width}}};
        const std::vector<float> made = numbers_of(matrix_in(*checkpoint, names, kRows, wide, {.hugging_face = tiled}));
        ASSERT_EQ(made.size(), static_cast<size_t>(kRows * wide));
        EXPECT_EQ(made, expected) << packing;
        EXPECT_NE(made, stored) << packing;
        ++packings;
    }
    EXPECT_EQ(packings, 5);
}

TEST(HeldWeights, RefusesAnOrderOfColumnsThatCutsABlock) {
    TinyDirectory tiny = test::tiny_directory();
    const std::string name = "model.layers.0.out_proj.weight";
    tiny.floats(name, {2, 192}, counted(2 * 192));
    tiny.compress(name, 4.0f);
    const auto checkpoint = tiny.open();
    const HeldAs tiled{.columns = {.count = 3, .rows = 64, .sections = {8}}};
    const auto refused = matrix_in(*checkpoint, {"out", "", "out_proj.weight"}, 2, 192, {.hugging_face = tiled});
    ASSERT_FALSE(refused);
    EXPECT_EQ(
        refused.error().message,
        "tiny: tensor 'model.layers.0.out_proj.weight_packed' is stored as nvfp4, in which 16 columns share a scale, "
        "but the model needs its columns in another order of heads of 8; take a file in another format");
}

// gpt-oss: gate in the even, up in the odd rows where the experts are packed; columns where they are not.
TEST(HeldWeights, TakesEveryOtherRowOfPackedExpertsAndEveryOtherColumnOfTransposedOnes) {
    constexpr int64_t kExperts = 2, kWidth = 64, kFfn = 3;
    const WeightNames gate{"expert_gate", "ffn_gate_exps.weight", "experts.gate_up_proj"};
    const HeldAs even{.order = {.step = 2}, .transposed = Transposed::where_plain};
    const HeldAs odd{.order = {.first = 1, .step = 2}, .transposed = Transposed::where_plain};
    TinyDirectory plain = directory_of("experts.gate_up_proj", {kExperts, kWidth, 2 * kFfn});
    const auto transposed = plain.open();
    for (const auto& [held, offset] : {std::pair{even, 0}, {odd, 1}}) {
        std::vector<float> expected;
        for (int64_t e = 0; e < kExperts; ++e)
            for (int64_t f = 0; f < kFfn; ++f)
                for (int64_t d = 0; d < kWidth; ++d)
                    expected.push_back(static_cast<float>((e * kWidth + d) * 2 * kFfn + 2 * f + offset));
        EXPECT_EQ(numbers_of(stack_in(*transposed, gate, {kExperts, kFfn, kWidth}, {.hugging_face = held})), expected);
    }
    TinyDirectory tiny = test::tiny_directory();
    tiny.random_bytes("model.layers.0.experts.gate_up_proj_blocks", "U8", {kExperts, 2 * kFfn, kWidth / 32, 16}, 255);
    tiny.random_bytes("model.layers.0.experts.gate_up_proj_scales", "U8", {kExperts, 2 * kFfn, kWidth / 32}, 140);
    const auto packed = tiny.open();
    const std::vector<float> all = numbers_of(stack_in(*packed, gate, {kExperts, 2 * kFfn, kWidth}, {}));
    const std::vector<float> up = numbers_of(stack_in(*packed, gate, {kExperts, kFfn, kWidth}, {.hugging_face = odd}));
    ASSERT_EQ(up.size(), static_cast<size_t>(kExperts * kFfn * kWidth));
    for (int64_t e = 0; e < kExperts; ++e)
        for (int64_t f = 0; f < kFfn; ++f)
            for (int64_t d = 0; d < kWidth; ++d)
                ASSERT_EQ(up[static_cast<size_t>((e * kFfn + f) * kWidth + d)],
                          all[static_cast<size_t>((e * 2 * kFfn + 2 * f + 1) * kWidth + d)]);
}

// DeepSeek's kv_b_proj: for each head the rows of its k part, which is wanted transposed, and those of its v part.
struct KvB {
    static constexpr int64_t kHeads = 3, kNope = 4, kV = 2, kLatent = 128, kRows = kHeads * (kNope + kV);
    static constexpr WeightNames kNamesK{"key_up", "attn_k_b.weight", "self_attn.kv_b_proj.weight"};
    static constexpr WeightNames kNamesV{"value_up", "attn_v_b.weight", "self_attn.kv_b_proj.weight"};
    const HeldAs k{.matrix_rows = kNope + kV, .transposed = Transposed::yes};
    const HeldAs v{.order = {.first = kNope}, .matrix_rows = kNope + kV};
    Result<StoredWeight> key(const Checkpoint& checkpoint) const {
        return stack_in(checkpoint, kNamesK, {kHeads, kLatent, kNope},
                        {.hugging_face = k, .others = {{Dialect::gguf, "attn_kv_b.weight", k}}});
    }
    Result<StoredWeight> value(const Checkpoint& checkpoint) const {
        return stack_in(checkpoint, kNamesV, {kHeads, kV, kLatent},
                        {.hugging_face = v, .others = {{Dialect::gguf, "attn_kv_b.weight", v}}});
    }
    // `numbers` are those of kv_b, [rows, latent].
    static std::vector<float> expected_key(const std::vector<float>& numbers) {
        std::vector<float> expected;
        for (int64_t h = 0; h < kHeads; ++h)
            for (int64_t latent = 0; latent < kLatent; ++latent)
                for (int64_t i = 0; i < kNope; ++i)
                    expected.push_back(numbers[static_cast<size_t>((h * (kNope + kV) + i) * kLatent + latent)]);
        return expected;
    }
    static std::vector<float> expected_value(const std::vector<float>& numbers) {
        std::vector<float> expected;
        for (int64_t h = 0; h < kHeads; ++h)
            for (int64_t i = 0; i < kV; ++i)
                for (int64_t latent = 0; latent < kLatent; ++latent)
                    expected.push_back(numbers[static_cast<size_t>((h * (kNope + kV) + kNope + i) * kLatent + latent)]);
        return expected;
    }
};

TEST(HeldWeights, CutsStacksOutOfAMatrixInBothContainers) {
    const KvB kv;
    TinyDirectory tiny = directory_of("self_attn.kv_b_proj.weight", {KvB::kRows, KvB::kLatent});
    const auto directory = tiny.open();
    const std::vector<std::byte> bytes = gguf_of("attn_kv_b.weight", {KvB::kRows, KvB::kLatent});
    const auto file = Checkpoint::from_bytes(bytes, "tiny.gguf");
    ASSERT_TRUE(file) << file.error().message;
    for (const Checkpoint* checkpoint : {&*directory, &*file}) {
        EXPECT_EQ(numbers_of(kv.key(*checkpoint)), KvB::expected_key(counted(KvB::kRows * KvB::kLatent)));
        EXPECT_EQ(numbers_of(kv.value(*checkpoint)), KvB::expected_value(counted(KvB::kRows * KvB::kLatent)));
    }
    const std::vector<std::byte> split = gguf_of("attn_k_b.weight", {KvB::kHeads, KvB::kLatent, KvB::kNope});
    const auto newer = Checkpoint::from_bytes(split, "tiny.gguf");
    const auto key = kv.key(*newer);
    EXPECT_EQ(numbers_of(key), counted(KvB::kHeads * KvB::kLatent * KvB::kNope));
    EXPECT_NE(key->in_place(), nullptr);
}

TEST(HeldWeights, DecodesTheTransposedPartOfQuantisedNumbersAndKeepsTheRest) {
    const KvB kv;
    const std::string name = "model.layers.0.self_attn.kv_b_proj.weight";
    int stored_ways = 0;
    for (const std::string_view way : {"grid", "rows", "nvfp4"}) {
        TinyDirectory tiny = test::tiny_directory();
        tiny.random_bytes(name, "F8_E4M3", {KvB::kRows, KvB::kLatent}, 0x7E);
        if (way == "grid") tiny.floats(name + "_scale_inv", {1, 1}, {0.75f});
        if (way == "grid") tiny.tensors[name].shape = {KvB::kRows, KvB::kLatent};
        std::vector<float> scales = counted(KvB::kRows);
        for (float& scale : scales) scale += 0.5f;
        if (way == "rows") tiny.floats(name + "_scale", {KvB::kRows, 1}, scales);
        if (way == "nvfp4") tiny.compress(name, 3.0f);
        const auto checkpoint = tiny.open();
        const std::vector<float> all = numbers_of(
            matrix_in(*checkpoint, {"kv_b", "", "self_attn.kv_b_proj.weight"}, KvB::kRows, KvB::kLatent, {}));
        const auto key = kv.key(*checkpoint), value = kv.value(*checkpoint);
        EXPECT_EQ(numbers_of(key), KvB::expected_key(all)) << way;
        EXPECT_EQ(numbers_of(value), KvB::expected_value(all)) << way;
        EXPECT_EQ(key->format->id, FormatId::f32);
        EXPECT_NE(value->format->id, FormatId::f32);
        EXPECT_NE(key->recipe.find("numbers become F32"), std::string::npos) << key->recipe;
        ++stored_ways;
    }
    EXPECT_EQ(stored_ways, 3);
}

// phi3: gate in the first rows of one tensor, up in the others, under the name of up in a GGUF file.
TEST(HeldWeights, TakesHalvesOfATensorThatHasTheNameOfOne) {
    constexpr int64_t kFfn = 6;
    TinyDirectory tiny = directory_of("mlp.gate_up_proj.weight", {2 * kFfn, kColumns});
    const auto directory = tiny.open();
    const std::vector<std::byte> bytes = gguf_of("ffn_up.weight", {2 * kFfn, kColumns});
    const auto file = Checkpoint::from_bytes(bytes, "tiny.gguf");
    const HeldAs first{.part = true}, second{.order = {.first = kFfn}};
    std::vector<float> up;
    for (int64_t row = kFfn; row < 2 * kFfn; ++row) append_row(up, row, kColumns);
    for (const Checkpoint* checkpoint : {&*directory, &*file}) {
        const auto stored = matrix_in(*checkpoint, {"up", "ffn_up.weight", "mlp.gate_up_proj.weight"}, kFfn, kColumns,
                                      {.gguf = second, .hugging_face = second});
        EXPECT_EQ(numbers_of(stored), up);
        EXPECT_NE(stored->in_place(), nullptr);
        const WeightNames gate{"gate", "ffn_up.weight", "mlp.gate_up_proj.weight"};
        EXPECT_EQ(numbers_of(matrix_in(*checkpoint, gate, kFfn, kColumns, {.gguf = first, .hugging_face = first})),
                  counted(kFfn * kColumns));
        EXPECT_FALSE(matrix_in(*checkpoint, gate, kFfn, kColumns, {})) << "it was not said to be a part";
    }
}

TEST(HeldWeights, ReadsVectorsFromTensorsOfOtherShapes) {
    constexpr int64_t kTaps = 4, kBefore = 2 * kGroups * kKey, kChannels = kBefore + kHeads * kValue;
    TinyDirectory tiny = directory_of("conv1d.weight", {kChannels, 1, kTaps});
    tiny.floats("model.layers.0.bias", {2, 6}, counted(12));
    tiny.floats("model.layers.0.A_log", {kHeads}, {0.5f, -1, 2, 3, 0, 1});
    tiny.floats("model.layers.0.layer_scalar", {}, {0.25f});
    const auto checkpoint = tiny.open();
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    std::vector<float> taps = counted(kBefore * kTaps);
    for (int64_t j = 0; j < kPerGroup; ++j)
        for (int64_t g = 0; g < kGroups; ++g)
            for (int64_t i = 0; i < kValue; ++i) append_row(taps, kBefore + (g * kPerGroup + j) * kValue + i, kTaps);
    const GroupOrder numbers{
        .count = kGroups, .rows = kPerGroup * kValue * kTaps, .sections = {kValue * kTaps}, .unmoved = kBefore * kTaps};
    EXPECT_EQ(numbers_of(vector_in(*checkpoint, {"conv", "ssm_conv1d.weight", "conv1d.weight"}, kChannels * kTaps,
                                   {.hugging_face = {.order = {.groups = numbers}, .shape = {kChannels, 1, kTaps}}})),
              taps);
    GroupOrder rows = kTiledRows;
    rows.unmoved = kBefore;
    EXPECT_EQ(numbers_of(matrix_in(*checkpoint, {"conv", "ssm_conv1d.weight", "conv1d.weight"}, kChannels, kTaps,
                                   {.hugging_face = {.order = {.groups = rows}, .shape = {kChannels, 1, kTaps}}})),
              taps);
    EXPECT_EQ(numbers_of(vector_in(*checkpoint, {"bias", "", "bias"}, 6,
                                   {.hugging_face = {.order = {.first = 1, .step = 2}, .shape = {2, 6}}})),
              (std::vector<float>{1, 3, 5, 7, 9, 11}));
    const HeldAs decay{.order = {.groups = {kGroups, kPerGroup, {1}}}, .law = VectorLaw::minus_exp};
    EXPECT_EQ(numbers_of(vector_in(*checkpoint, {"decay", "ssm_a", "A_log"}, kHeads, {.hugging_face = decay})),
              (std::vector<float>{-law::exp(0.5f), -law::exp(2), -1, -law::exp(-1), -law::exp(3), -law::exp(1)}));
    EXPECT_EQ(numbers_of(vector_in(*checkpoint, {"scalar", "layer_output_scale.weight", "layer_scalar"}, 1, {})),
              std::vector<float>{0.25f});
}

// A GGUF file has the numbers themselves where Hugging Face's has those of which they are made.
TEST(HeldWeights, AppliesTheLawOfItsContainer) {
    TinyDirectory tiny = directory_of("norm.weight", {4});
    const auto directory = tiny.open();
    const std::vector<std::byte> bytes = gguf_of("attn_norm.weight", {4, 1});
    const auto file = Checkpoint::from_bytes(bytes, "tiny.gguf");
    const VectorOptions options{.gguf = {.shape = {4, 1}}, .hugging_face = {.law = VectorLaw::plus_one}};
    EXPECT_EQ(numbers_of(vector_in(*directory, {"n", "attn_norm.weight", "norm.weight"}, 4, options)),
              (std::vector<float>{1, 2, 3, 4}));
    EXPECT_EQ(numbers_of(vector_in(*file, {"n", "attn_norm.weight", "norm.weight"}, 4, options)),
              (std::vector<float>{0, 1, 2, 3}));
}

TEST(HeldWeights, MultipliesEachExpertWithItsFactorOnce) {
    TinyDirectory tiny = directory_of("experts.down_proj", {3, 2, 4});
    tiny.floats("model.layers.0.router.per_expert_scale", {3}, {1, 0.5f, 3});
    const auto checkpoint = tiny.open();
    const WeightNames names{"expert_down", "ffn_down_exps.weight", "experts.down_proj"};
    const MatrixOptions options{.gguf = {.factors = "ffn_down_exps.scale"},
                                .hugging_face = {.factors = "router.per_expert_scale"}};
    const auto down = stack_in(*checkpoint, names, {3, 2, 4}, options);
    ASSERT_TRUE(down) << down.error().message;
    EXPECT_EQ(down->scales, (std::vector<float>{1, 0.5f, 3}));
    std::vector<float> expected = counted(24);
    for (size_t i = 8; i < 24; ++i) expected[i] *= i < 16 ? 0.5f : 3.0f;
    EXPECT_EQ(numbers_of(down), expected);
    tiny.floats("model.layers.0.router.per_expert_scale", {2}, {1, 2});
    const auto short_of_one = stack_in(*tiny.open(), names, {3, 2, 4}, options);
    ASSERT_FALSE(short_of_one);
    EXPECT_NE(short_of_one.error().message.find("3 factors"), std::string::npos) << short_of_one.error().message;
    tiny.floats("model.layers.0.router.per_expert_scale", {3}, {1, INFINITY, 2});
    EXPECT_FALSE(stack_in(*tiny.open(), names, {3, 2, 4}, options));
    tiny.tensors.erase("model.layers.0.router.per_expert_scale");
    EXPECT_TRUE(stack_in(*tiny.open(), names, {3, 2, 4}, options)->scales.empty());
}

TEST(HeldWeights, RefusesShapesThatDoNotFitInOneSentence) {
    const auto refused = [](const Result<StoredWeight>& stored) {
        EXPECT_FALSE(stored);
        if (stored) return;
        const std::string& message = stored.error().message;
        EXPECT_NE(message.find("has shape"), std::string::npos) << message;
        EXPECT_NE(message.find("the file contradicts itself"), std::string::npos) << message;
    };
    const HeldAs sliced{.order = {.first = 3, .groups = {4, 6, {2}}}},
        cut{.matrix_rows = 6, .transposed = Transposed::yes};
    int shapes = 0;
    for (const std::vector<int64_t>& shape :
         {std::vector<int64_t>{23, 5}, {5, 24}, {1, 5}, {24, 4}, {24, 1, 5}, {24}, {120, 1}, {1, 1}}) {
        TinyDirectory tiny = directory_of("x.weight", shape);
        const auto checkpoint = tiny.open();
        const WeightNames names{"x", "", "x.weight"};
        refused(matrix_in(*checkpoint, names, 8, 5, {.hugging_face = sliced}));
        refused(stack_in(*checkpoint, names, {4, 5, 3}, {.hugging_face = cut}));
        refused(stack_in(*checkpoint, names, {4, 24, 5}, {.hugging_face = {.transposed = Transposed::yes}}));
        refused(vector_in(*checkpoint, names, 100, {.hugging_face = {.order = {.step = 2}, .shape = shape}}));
        ++shapes;
    }
    EXPECT_EQ(shapes, 8);
    TinyDirectory tiny = directory_of("x.weight", {24, 5});
    const auto checkpoint = tiny.open();
    const WeightNames names{"x", "", "x.weight"};
    EXPECT_TRUE(matrix_in(*checkpoint, names, 8, 5, {.hugging_face = sliced}));
    EXPECT_TRUE(stack_in(*checkpoint, names, {4, 5, 3}, {.hugging_face = cut}));
    for (const GroupOrder& groups : {GroupOrder{-1, 6, {2}},
                                     {4, 6, {0}},
                                     {4, 1, {2}},
                                     {int64_t{1} << 40, 6, {2}},
                                     {4, int64_t{1} << 61, {2}},
                                     {4, 6, {2, 2, 3}},
                                     {4, 6, {2}, int64_t{1} << 62}})
        refused(matrix_in(*checkpoint, names, 8, 5, {.hugging_face = {.order = {.groups = groups}}}));
}

}  // namespace
}  // namespace invar
