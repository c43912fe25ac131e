// Weights of model directories: how each tool of the field stores a module, and what is refused by name.
#include <gtest/gtest.h>

#include <cmath>

#include "checkpoint/bound_directory.h"

namespace invar {
namespace {

using test::bind;
using test::expect_refused;
using test::refusal;
using test::tiny_directory;
using test::TinyDirectory;

const std::string kDown = "model.layers.0.mlp.down_proj.weight";
const std::string kCompressed =
    R"(,"quantization_config":{"quant_method":"compressed-tensors","format":"nvfp4-pack-quantized",)"
    R"("config_groups":{"group_0":{"targets":["Linear"]}},"ignore":["lm_head","re:.*self_attn.*","re:.*gate_proj",)"
    R"("model.layers.0.mlp.up_proj"]})";

TEST(DirectoryBinding, TakesFloatTensorsInPlace) {
    TinyDirectory tiny = tiny_directory();
    const auto checkpoint = tiny.open();
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    const auto bound = bind(*checkpoint);
    ASSERT_TRUE(bound) << bound.error().message;
    EXPECT_EQ(bound->wanted.size(), 12u);
    for (const StoredWeight& weight : bound->binding.weights) EXPECT_NE(weight.in_place(), nullptr) << weight.name;
}

TEST(DirectoryBinding, TurnsADivisorIntoAMultiplierAndTakesAMultiplierAsItIs) {
    TinyDirectory tiny = tiny_directory(kCompressed);
    tiny.compress(kDown, 8.0f);
    const auto checkpoint = tiny.open();
    const auto bound = bind(*checkpoint);
    ASSERT_TRUE(bound) << bound.error().message;
    const StoredWeight& down = bound->of("down");
    EXPECT_EQ(down.format->id, FormatId::nvfp4);
    EXPECT_EQ(down.shape, (std::vector<int64_t>{64, 128}));
    EXPECT_EQ(down.scales, std::vector<float>{0.125f});

    TinyDirectory other = tiny_directory();
    other.compress(kDown, 8.0f);
    other.tensors[kDown] = other.tensors[kDown + "_packed"];
    other.tensors[kDown + "_scale_2"] = other.tensors[kDown + "_global_scale"];
    other.tensors.erase(kDown + "_packed");
    other.tensors.erase(kDown + "_global_scale");
    const auto modelopt = other.open();
    const auto bound_too = bind(*modelopt);
    ASSERT_TRUE(bound_too) << bound_too.error().message;
    EXPECT_EQ(bound_too->of("down").scales, std::vector<float>{8.0f});
}

TEST(DirectoryBinding, TakesADivisorOfZeroForADeadTensor) {
    TinyDirectory tiny = tiny_directory(kCompressed);
    tiny.compress(kDown, 0.0f);
    const auto checkpoint = tiny.open();
    EXPECT_EQ(bind(*checkpoint).value().of("down").scales, std::vector<float>{0.0f});
}

TEST(DirectoryBinding, RefusesCodesWithoutAllTheirScales) {
    for (const char* lost : {"_scale", "_global_scale"}) {
        TinyDirectory tiny = tiny_directory(kCompressed);
        tiny.compress(kDown, 8.0f);
        tiny.tensors.erase(kDown + lost);
        expect_refused(tiny, {kDown, lost, "missing"});
    }
    TinyDirectory bent = tiny_directory(kCompressed);
    bent.compress(kDown, 8.0f);
    bent.tensors[kDown + "_scale"].shape = {128, 4};
    expect_refused(bent, {"[128, 4]", "[64, 8]"});
}

TEST(DirectoryBinding, RefusesScalesOfTensorsAndRowsThatAreNegativeOrNoFiniteNumbers) {
    for (const float bad : {-3.0f, NAN, INFINITY, -INFINITY}) {
        TinyDirectory tiny = tiny_directory(kCompressed);
        tiny.compress(kDown, bad);
        expect_refused(tiny, {kDown + "_global_scale", "not negative"});
        TinyDirectory rows = tiny_directory();
        rows.random_bytes(kDown, "F8_E4M3", {64, 128}, 0x7E);
        std::vector<float> scales(64, 1.0f);
        rows.floats(kDown + "_scale", {64, 1}, scales);
        EXPECT_EQ(refusal(rows), "bound");
        scales[63] = bad;
        rows.floats(kDown + "_scale", {64, 1}, scales);
        expect_refused(rows, {kDown + "_scale", "not negative"});
    }
    TinyDirectory subnormal = tiny_directory(kCompressed);
    subnormal.compress(kDown, 0x1p-129f);
    expect_refused(subnormal, {kDown + "_global_scale", "inverse is infinite"});
    TinyDirectory zero = tiny_directory(kCompressed);
    zero.compress(kDown, -0.0f);
    EXPECT_EQ(refusal(zero), "bound");
}

TEST(DirectoryBinding, SaysWhetherTheDtypeOfAScaleOrItsShapeIsWrong) {
    TinyDirectory tiny = tiny_directory(kCompressed);
    tiny.compress(kDown, 8.0f);
    tiny.tensors[kDown + "_global_scale"] = {"F64", {1}, std::string(8, '\0')};
    expect_refused(tiny, {kDown + "_global_scale", "stored as F64", "F32, F16 or BF16"});
    tiny.floats(kDown + "_global_scale", {2}, {1, 1});
    expect_refused(tiny, {kDown + "_global_scale", "shape [2]", "1 scale is needed"});
}

// INT4 in groups of 32 with BF16 scales, as llm-compressor writes it.
TinyDirectory tiny_int4(std::vector<int64_t> stated, std::string_view more_config = "") {
    TinyDirectory tiny = tiny_directory(more_config);
    tiny.tensors.erase(kDown);
    tiny.random_bytes(kDown + "_packed", "I32", {64, 16}, 255);
    tiny.tensors.at(kDown + "_packed").bytes.resize(64 * 16 * 4, '\x35');
    tiny.tensors[kDown + "_scale"] = {"BF16", {64, 4}, std::string(64 * 4 * 2, '\x3c')};
    std::string bytes(16, '\0');
    std::memcpy(bytes.data(), stated.data(), bytes.size());
    tiny.tensors[kDown + "_shape"] = {"I64", {2}, std::move(bytes)};
    return tiny;
}

TEST(DirectoryBinding, ComparesTheShapeThatInt4StatesWithItsCodes) {
    EXPECT_EQ(refusal(tiny_int4({64, 128})), "bound");
    expect_refused(tiny_int4({128, 64}), {kDown + "_shape", "[128, 64]", "make [64, 128]"});
    expect_refused(tiny_int4({64, 127}), {kDown + "_shape", "[64, 127]"});
    TinyDirectory narrow = tiny_int4({64, 128});
    const int32_t shape[] = {64, 128};
    narrow.tensors[kDown + "_shape"] = {"I32", {2}, std::string(reinterpret_cast<const char*>(shape), 8)};
    EXPECT_EQ(refusal(narrow), "bound");
    narrow.tensors[kDown + "_shape"].shape = {1, 1, 2};
    EXPECT_EQ(refusal(narrow), "bound");
    narrow.tensors[kDown + "_shape"] = {"I32", {1}, std::string(4, '\1')};
    expect_refused(narrow, {kDown + "_shape", "two numbers"});
    narrow.tensors.erase(kDown + "_shape");
    expect_refused(narrow, {kDown + "_shape", "missing"});
}

// A config of compressed-tensors with one group; `ignore` and `more` are JSON.
std::string config_of(std::string_view format, std::string_view weights, std::string_view ignore = "null",
                      std::string_view more = "") {
    return fmt::format(
        R"(,"quantization_config":{{"quant_method":"compressed-tensors","format":"{}","config_groups":{{"group_0":)"
        R"({{"targets":["re:.*down_proj$"],"weights":{{{}}}}}}},"ignore":{}{}}})",
        format, weights, ignore, more);
}

TEST(DirectoryBinding, RefusesAConfigThatContradictsTheTensors) {
    const auto nvfp4 = [](std::string_view format, std::string_view weights) {
        TinyDirectory tiny = tiny_directory(config_of(format, weights));
        tiny.compress(kDown, 8.0f);
        return tiny;
    };
    const char* kRight = R"("num_bits":4,"type":"float","group_size":16,"symmetric":true)";
    EXPECT_EQ(refusal(nvfp4("nvfp4-pack-quantized", kRight)), "bound");
    EXPECT_EQ(refusal(nvfp4("mixed-precision", kRight)), "bound");
    EXPECT_EQ(refusal(nvfp4("nvfp4-pack-quantized", R"("group_size":null)")), "bound");
    for (const auto& [weights, word] : {std::pair{R"("num_bits":8)", "num_bits 8"},
                                        {R"("type":"int")", "type 'int'"},
                                        {R"("group_size":32)", "group_size 32"},
                                        {R"("symmetric":false)", "symmetric false"}})
        expect_refused(nvfp4("nvfp4-pack-quantized", weights), {word, "mlp.down_proj'", "stored as nvfp4"});
    expect_refused(nvfp4("pack-quantized", kRight), {"format 'pack-quantized'", "stored as nvfp4"});
    expect_refused(nvfp4("dense", kRight), {"format 'dense'"});

    TinyDirectory two = tiny_directory(config_of("pack-quantized", R"(},"format":"nvfp4-pack-quantized","w":{)"));
    two.compress(kDown, 8.0f);
    expect_refused(two, {"'pack-quantized'", "'group_0' states 'nvfp4-pack-quantized'"});
    for (const int size : {16, 32}) {
        TinyDirectory modelopt = tiny_directory(fmt::format(
            R"(,"quantization_config":{{"quant_method":"modelopt","quant_algo":"NVFP4","group_size":{}}})", size));
        modelopt.compress(kDown, 8.0f);
        if (size == 16) EXPECT_EQ(refusal(modelopt), "bound");
        if (size == 32) expect_refused(modelopt, {"group_size 32", "mlp.down_proj'"});
    }

    const auto int4 = [](std::string_view weights) {
        return tiny_int4({64, 128}, config_of("pack-quantized", weights));
    };
    EXPECT_EQ(refusal(int4(R"("num_bits":4,"type":"int","group_size":32,"symmetric":true)")), "bound");
    for (const auto& [weights, word] : {std::pair{R"("num_bits":8)", "num_bits 8"},
                                        {R"("type":"float")", "type 'float'"},
                                        {R"("group_size":128)", "group_size 128"},
                                        {R"("symmetric":false)", "symmetric false"}})
        expect_refused(int4(weights), {word, "mlp.down_proj'", "stored as int4_g32"});
}

TEST(DirectoryBinding, RefusesAnIgnoreListThatNamesQuantizedModulesOrIsNoList) {
    const auto with = [](std::string_view ignore) {
        TinyDirectory tiny = tiny_directory(config_of("nvfp4-pack-quantized", "", ignore));
        tiny.compress(kDown, 8.0f);
        return tiny;
    };
    EXPECT_EQ(refusal(with(R"(["lm_head"])")), "bound");
    for (const char* names : {R"(["model.layers.0.mlp.down_proj"])", R"(["lm_head","re:.*mlp.*"])"})
        expect_refused(with(names), {"not quantised", "model.layers.0.mlp.down_proj'", "nvfp4"});
    for (const char* wrong : {R"("lm_head")", "[3]", "{}"})
        expect_refused(with(wrong), {"config.json", "'ignore' must be a list of texts"});
    expect_refused(with(R"(["re:((("])"), {"'ignore'", "broken regular expression 're:((('", "at byte 3"});
}

TEST(DirectoryBinding, RefusesGroupsThatAreNoObjects) {
    for (const char* groups : {"[1]", R"({"group_0":1})", R"("Linear")"}) {
        const std::string config =
            fmt::format(R"(,"quantization_config":{{"quant_method":"compressed-tensors","config_groups":{}}})", groups);
        expect_refused(tiny_directory(config), {"config_groups", "must be an object"});
    }
}

TEST(DirectoryBinding, RefusesTransformedAndSparseWeightsByName) {
    const auto with = [](std::string_view more) {
        TinyDirectory tiny = tiny_directory(config_of("nvfp4-pack-quantized", "", "null", more));
        tiny.compress(kDown, 8.0f);
        return tiny;
    };
    EXPECT_EQ(refusal(with(R"(,"transform_config":{},"sparsity_config":{})")), "bound");
    EXPECT_EQ(refusal(with(R"(,"transform_config":{"config_groups":{}},"sparsity_config":null)")), "bound");
    EXPECT_EQ(refusal(with(R"(,"sparsity_config":{"format":"dense","global_sparsity":0.1})")), "bound");
    expect_refused(with(R"(,"transform_config":{"config_groups":{"R1":{"type":"hadamard"}}})"), {"'transform_config'"});
    expect_refused(with(R"(,"sparsity_config":{"format":"sparse-24-bitmask"})"), {"'sparsity_config'"});
    expect_refused(with(R"(,"sparsity_config":[1])"), {"'sparsity_config'"});
}

TEST(DirectoryBinding, RefusesBlocksAndTypesOfFp8ThatAreNotComputed) {
    const auto with = [](std::string_view more) {
        return refusal(tiny_directory(fmt::format(R"(,"quantization_config":{{"quant_method":"fp8"{}}})", more)));
    };
    EXPECT_EQ(with(R"(,"fmt":"e4m3","weight_block_size":[128,128],"modules_to_not_convert":null)"), "bound");
    EXPECT_EQ(with(R"(,"weight_block_size":null)"), "bound");
    EXPECT_NE(with(R"(,"weight_block_size":[64,64])").find("weight_block_size is [64,64]"), std::string::npos);
    EXPECT_NE(with(R"(,"fmt":"e5m2")").find("'e5m2' is not supported"), std::string::npos);
    EXPECT_NE(with(R"(,"modules_to_not_convert":"lm_head")").find("'modules_to_not_convert' must be"),
              std::string::npos);
}

TEST(DirectoryBinding, NamesAMatrixThatTheConfigMeansToBeQuantized) {
    TinyDirectory tiny = tiny_directory(kCompressed);
    expect_refused(tiny, {kDown, "ignore list"});
    tiny.compress(kDown, 8.0f);
    EXPECT_EQ(refusal(tiny), "bound");
}

TEST(DirectoryBinding, RefusesByNameWhatIsNotComputed) {
    for (const auto& [suffix, word] : {std::pair{".qweight", "AWQ"},
                                       {".pre_quant_scale", "pre_quant_scale"},
                                       {".svdquant_lora_a", "SVD"},
                                       {".weight_zero_point", "zero points"},
                                       {".weight_g_idx", "permuted"}}) {
        TinyDirectory tiny = tiny_directory();
        tiny.number("model.layers.0.mlp.up_proj" + std::string(suffix), 1);
        expect_refused(tiny, {"model.layers.0.mlp.up_proj", word});
    }
    for (const char* method : {"awq", "gptq", "bitsandbytes"}) {
        const std::string sentence =
            refusal(tiny_directory(fmt::format(R"(,"quantization_config":{{"quant_method":"{}"}})", method)));
        EXPECT_NE(sentence.find(method), std::string::npos) << sentence;
    }
}

TEST(DirectoryBinding, IgnoresByRuleAndRefusesTheRest) {
    TinyDirectory tiny = tiny_directory();
    tiny.number("model.layers.0.mlp.up_proj.input_scale", 1);
    tiny.number("vision_tower.patch.weight", 1);
    const auto checkpoint = tiny.open();
    const auto bound = bind(*checkpoint);
    ASSERT_TRUE(bound) << bound.error().message;
    ASSERT_EQ(bound->binding.ignored.size(), 2u);
    EXPECT_EQ(bound->binding.ignored[0].rule, "*.input_scale");
    EXPECT_EQ(bound->binding.ignored[1].rule, "vision_tower.*");
    EXPECT_EQ(bound->binding.ignored[1].bytes, 4);
    tiny.number("model.layers.0.mlp.other.weight", 1);
    expect_refused(tiny, {"model.layers.0.mlp.other.weight", "used by no weight"});
}

TEST(DirectoryBinding, TakesSlicesOfAFusedProjectionOfCodesAndScalesAlike) {
    TinyDirectory tiny = tiny_directory();
    for (const char* part : {"q", "k", "v"})
        tiny.tensors.erase(fmt::format("model.layers.0.self_attn.{}_proj.weight", part));
    const std::string fused = "model.layers.0.self_attn.qkv_proj.weight";
    tiny.floats(fused, {128, 64}, std::vector<float>(128 * 64));
    tiny.compress(fused, 4.0f);
    const auto checkpoint = tiny.open();
    const auto bound = bind(*checkpoint);
    ASSERT_TRUE(bound) << bound.error().message;
    EXPECT_EQ(bound->of("key").matrices[0].order.first, 64);
    EXPECT_EQ(bound->of("value").matrices[0].order.first, 96);
    EXPECT_EQ(bound->of("value").scales, std::vector<float>{0.25f});
    EXPECT_NE(bound->of("value").recipe.find("rows 96 to 127"), std::string::npos) << bound->of("value").recipe;
}

TEST(DirectoryBinding, SaysWhichKeyOfTheConfigIsMissingOrWrong) {
    const auto with = [](std::string_view from, std::string_view to) {
        TinyDirectory tiny = tiny_directory();
        tiny.config.replace(tiny.config.find(from), from.size(), to);
        return refusal(tiny);
    };
    EXPECT_NE(with(R"("hidden_size":64,)", "").find("'hidden_size' is missing"), std::string::npos);
    EXPECT_NE(with(R"("hidden_size":64)", R"("hidden_size":"64")").find("must be an integer"), std::string::npos);
    EXPECT_NE(with(R"("hidden_act":"silu")", R"("hidden_act":"gelu")").find("only silu"), std::string::npos);
    EXPECT_NE(with(R"("model_type":"llama")", R"("model_type":"opt")").find("model_type 'opt'"), std::string::npos);
    EXPECT_NE(
        with(R"("rope_theta":10000.0)", R"("rope_theta":10000.0,"rope_scaling":{"type":"dynamic"})").find("dynamic"),
        std::string::npos);
    EXPECT_EQ(with(R"("rope_theta":10000.0)", R"("rope_parameters":{"rope_theta":10000.0,"rope_type":"default"})"),
              "bound");
    EXPECT_EQ(with(R"("rms_norm_eps":1e-5,)", ""), "bound");  // the class has one
}

// As transformers has it: models that also see state it beside their text_config, where a head of its own counts.
TEST(DirectoryBinding, TakesATiedHeadFromBesideTheTextConfig) {
    const auto nested = [](std::string_view at_top, std::string_view in_text, bool head) {
        TinyDirectory tiny = tiny_directory(in_text);
        tiny.config = fmt::format(R"({{"model_type":"mistral3"{},"text_config":{}}})", at_top, tiny.config);
        if (!head) tiny.tensors.erase("lm_head.weight");
        return tiny;
    };
    constexpr std::string_view kTied = R"(,"tie_word_embeddings":true)", kOwn = R"(,"tie_word_embeddings":false)";
    const auto alias = [](TinyDirectory tiny) {
        const auto checkpoint = tiny.open();
        const auto bound = bind(*checkpoint);
        EXPECT_TRUE(bound) << bound.error().message;
        if (!bound) return false;
        return std::any_of(bound->wanted.begin(), bound->wanted.end(), [](const WantedWeight& weight) {
            return weight.id.role == "output_head" && weight.alias_of == WeightId{-1, "token_embedding"};
        });
    };
    EXPECT_TRUE(alias(nested(kTied, "", false)));
    EXPECT_TRUE(alias(nested("", kTied, false)));
    EXPECT_FALSE(alias(nested(kTied, "", true)));
    EXPECT_FALSE(alias(nested("", "", true)));
    expect_refused(nested("", "", false), {"lm_head.weight", "is missing"});
    expect_refused(nested(kOwn, "", false), {"lm_head.weight", "is missing"});
    expect_refused(nested(R"(,"tie_word_embeddings":1)", "", false), {"tie_word_embeddings", "true or false"});
    expect_refused(nested("", R"(,"tie_word_embeddings":"yes")", true), {"tie_word_embeddings", "true or false"});
}

}  // namespace
}  // namespace invar
