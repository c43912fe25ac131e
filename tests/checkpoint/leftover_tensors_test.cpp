// Tensors that no weight uses: what an architecture leaves out, the patterns of rules, the roots of names, and tensors
// of which only a part is used.
#include <gtest/gtest.h>

#include "checkpoint/bound_directory.h"
#include "models/tensor_names.h"

namespace invar {
namespace {

using test::tiny_directory;
using test::TinyDirectory;

// A directory and what its architecture wants of it.
struct Opened {
    explicit Opened(TinyDirectory& tiny) : checkpoint(tiny.open().value()) {
        const Architecture& architecture = *find_architecture(checkpoint).value();
        config = architecture.read_config(checkpoint).value();
        wanted = architecture.declare(config, checkpoint);
    }
    Checkpoint checkpoint;
    ModelConfig config;
    std::vector<WantedWeight> wanted;
};

TEST(LeftoverTensors, AreLeftOutWhereTheArchitectureNamesThem) {
    TinyDirectory tiny = tiny_directory();
    for (const char* tensor : {"1.mlp.up_proj.weight", "1.mlp.up_proj.weight_scale", "2.input_layernorm.weight"})
        tiny.number(fmt::format("model.layers.{}", tensor), 1);
    tiny.number("model.layers.0.self_attn.k_proj.spare", 1);
    Opened opened(tiny);
    const auto unused = [&] { return unused_tensors(opened.config, opened.wanted, opened.checkpoint).size(); };
    EXPECT_EQ(unused(), 4u);
    leave_out_layers(opened.config, opened.checkpoint, 1, 2, "a layer that predicts further tokens");
    EXPECT_EQ(unused(), 1u);
    EXPECT_FALSE(bind_weights(opened.config, opened.wanted, opened.checkpoint));
    opened.config.tensors_unused.push_back({"model.layers.0.self_attn.k_proj.s*re", "it is spare"});
    const auto binding = bind_weights(opened.config, opened.wanted, opened.checkpoint);
    ASSERT_TRUE(binding) << binding.error().message;
    ASSERT_EQ(binding->ignored.size(), 2u);
    EXPECT_EQ(binding->ignored[0].rule, "model.layers.0.self_attn.k_proj.s*re");
    EXPECT_EQ(binding->ignored[0].because, "it is spare");
    EXPECT_EQ(binding->ignored[1].rule, "model.layers.1.*, ...");
    EXPECT_EQ(binding->ignored[1].tensors, 3);
    EXPECT_EQ(binding->ignored[1].bytes, 12);
    EXPECT_EQ(binding->ignored[1].kind, IgnoreKind::of_architecture);
}

TEST(LeftoverTensors, OfOtherSensesAreOfTheirOwnKind) {
    TinyDirectory tiny = tiny_directory();
    for (const char* tensor : {"model.vision_tower.a", "model.audio_tower.a", "model.embed_vision.a", "embed_audio.a"})
        tiny.number(tensor, 1);
    tiny.number("model.mtp.layers.0.a", 1);
    Opened opened(tiny);
    const auto binding = bind_weights(opened.config, opened.wanted, opened.checkpoint);
    ASSERT_TRUE(binding) << binding.error().message;
    EXPECT_EQ(binding->ignored.size(), 5u);
    for (const IgnoredTensors& one : binding->ignored)
        EXPECT_EQ(one.kind == IgnoreKind::other_senses, one.rule != "model.mtp.*") << one.rule;
}

TEST(LeftoverTensors, MatchPatternsOfNames) {
    for (const auto& [name, pattern, same] : {std::tuple{"a.b", "a.b", true},
                                              {"a.b", "*", true},
                                              {"", "*", true},
                                              {"", "", true},
                                              {"a", "", false},
                                              {"a.b.c", "a.*.c", true},
                                              {"a.c", "a.*.c", false},
                                              {"a..c", "a.*.c", true},
                                              {"x.a.a.b", "*.a.b", true},
                                              {"x.a.b.c", "*.a.b", false},
                                              {"blk.3.nextn.eh", "blk.*.nextn.*", true},
                                              {"blk.3.nextn", "blk.*.nextn.*", false},
                                              {"model.layers.46.x", "model.layers.4.*", false}}) {
        EXPECT_EQ(matches_pattern(name, pattern), same) << name << " " << pattern;
    }
}

TEST(LeftoverTensors, LieBelowTheRootOfTheTextModel) {
    constexpr std::string_view kNames[][4] = {
        // embedding, norm, a weight of a layer, head
        {"model.embed_tokens.weight", "model.norm.weight", "model.layers.3.x", "lm_head.weight"},
        {"language_model.model.embed_tokens.weight", "language_model.model.norm.weight",
         "language_model.model.layers.3.x", "language_model.lm_head.weight"},
        {"model.language_model.embed_tokens.weight", "model.language_model.norm.weight",
         "model.language_model.layers.3.x", "lm_head.weight"},
        {"backbone.embeddings.weight", "backbone.norm_f.weight", "backbone.layers.3.x", "lm_head.weight"}};
    for (const auto& [embedding, norm, layer, head] : kNames) {
        TinyDirectory tiny;
        tiny.config = tiny_directory().config;
        tiny.number(std::string(embedding), 1);
        const auto checkpoint = tiny.open();
        ASSERT_TRUE(checkpoint) << checkpoint.error().message;
        const TensorNames names(*checkpoint);
        EXPECT_EQ(names.name(-1, "token_embd.weight", "embed_tokens.weight"), embedding);
        EXPECT_EQ(names.name(-1, "output_norm.weight", "norm.weight"), norm);
        EXPECT_EQ(names.name(3, "x", "x"), layer);
        EXPECT_EQ(names.name(-1, "output.weight", "lm_head.weight", true), head);
    }
}

// Of a transposed tensor whole columns may be left; the sentence counts numbers then.
TEST(LeftoverTensors, MayNotBePartsOfATensor) {
    TinyDirectory tiny = tiny_directory();
    tiny.floats("model.layers.0.x.weight", {4, 6}, std::vector<float>(24));
    Opened opened(tiny);
    const auto with = [&](std::vector<int64_t> shape, const HeldAs& as) {
        WantedWeight weight;
        weight.id = {0, "x"};
        weight.shape = std::move(shape);
        weight.choices = {{"model.layers.0.x.weight", as}};
        opened.wanted.push_back(weight);
        const auto binding = bind_weights(opened.config, opened.wanted, opened.checkpoint);
        opened.wanted.pop_back();
        return binding ? std::string("bound") : binding.error().message;
    };
    EXPECT_EQ(with({4, 6}, {}), "bound");
    EXPECT_EQ(with({6, 4}, {.transposed = Transposed::yes}), "bound");
    EXPECT_EQ(
        with({3, 4}, {.order = {.step = 2}, .transposed = Transposed::yes}),
        "tiny: of tensor 'model.layers.0.x.weight' 12 of 24 numbers are used by weights of the model; each must be "
        "used once");
    EXPECT_EQ(
        with({2, 6}, {.order = {.step = 2}}),
        "tiny: of tensor 'model.layers.0.x.weight' 2 of 4 rows are used by weights of the model; each must be used "
        "once");
}

}  // namespace
}  // namespace invar
