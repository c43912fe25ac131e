// Synthetic models: the shapes have the numbers of weights that are published for them, the file is what the program
// opens, and the same seed gives the same bytes.
#include "make/synth.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <map>

#include "base/hash.h"
#include "checkpoint/binding.h"
#include "make/synth_headers.h"

namespace invar {
namespace {

namespace fs = std::filesystem;

class SynthTest : public ::testing::Test {
  protected:
    ~SynthTest() override { fs::remove(path_); }
    fs::path path_ = fs::temp_directory_path() / fmt::format("invar_synth_{}.gguf", getpid());
};

TEST(SynthShapes, HaveThePublishedNumbersOfWeights) {
    const std::map<std::string_view, int64_t> published = {{"qwen3-0.6b", 596049920},
                                                           {"qwen3-1.7b", 1720574976},
                                                           {"qwen3-4b", 4022468096},
                                                           {"qwen3-8b", 8190735360},
                                                           {"qwen3-14b", 14768307200},
                                                           {"qwen2.5-7b", 7615616512},
                                                           {"llama-3.2-1b", 1235814400},
                                                           {"llama-3.1-8b", 8030261248},
                                                           {"mistral-7b", 7248023552},
                                                           {"llama-3.3-70b", 70553706496},
                                                           {"qwen3-30b-a3b", 30532122624},
                                                           {"qwen3-coder-30b-a3b", 30532122624},
                                                           {"mistral-small-3.2-24b", 23572403200},
                                                           {"mixtral-8x7b", 46702792704},
                                                           // 25,233,141,760 parameters of the text model, and 30
                                                           // scalars of layers.
                                                           {"gemma-4-26b-a4b", 25233141790},
                                                           {"gpt-oss-20b", 20914757184},
                                                           {"gpt-oss-120b", 116829156672},
                                                           {"deepseek-v3", 671026419200}};
    size_t compared = 0;
    for (const ShapeText& text : shape_texts()) {
        const Result<int64_t> weights = weights_of(*find_shape(text.name));
        ASSERT_TRUE(weights) << text.name << ": " << weights.error().message;
        if (!published.contains(text.name)) continue;
        ++compared;
        EXPECT_EQ(*weights, published.at(text.name)) << text.name;
    }
    EXPECT_EQ(compared, published.size());
}

TEST_F(SynthTest, FileBindsAndItsWeightsHaveTheSigmaAsked) {
    const Result<ShapeDocument> shape = find_shape("qwen3-0.6b");
    ASSERT_TRUE(shape);
    const Result<int64_t> bytes = synthesize(*shape, {.mix = "q4_k_m", .layers = 1}, path_, nullptr);
    ASSERT_TRUE(bytes) << bytes.error().message;
    EXPECT_EQ(static_cast<uint64_t>(*bytes), fs::file_size(path_));
    const Result<Checkpoint> file = Checkpoint::open(path_);
    ASSERT_TRUE(file) << file.error().message;
    const Result<const Architecture*> architecture = find_architecture(*file);
    ASSERT_TRUE(architecture);
    const Result<ModelConfig> config = (*architecture)->read_config(*file);
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_TRUE(bind_weights(*config, (*architecture)->declare(*config, *file), *file));
    for (const std::string_view name : {"blk.0.attn_q.weight", "blk.0.ffn_down.weight", "token_embd.weight"}) {
        const TensorInfo* tensor = file->find(name);
        ASSERT_NE(tensor, nullptr);
        std::vector<float> row(static_cast<size_t>(tensor->columns()));
        double squares = 0;
        constexpr int64_t kRows = 64;
        for (int64_t r = 0; r < kRows; ++r) {
            tensor->format->decode(tensor->data + r * static_cast<int64_t>(tensor->row_bytes()), tensor->columns(),
                                   row.data());
            for (const float weight : row) squares += double{weight} * weight;
        }
        EXPECT_NEAR(std::sqrt(squares / static_cast<double>(kRows * tensor->columns())), 0.02, 0.0005) << name;
    }
}

TEST_F(SynthTest, Gemma4BindsWithTwoGeometries) {
    ASSERT_TRUE(synthesize(*find_shape("tiny-gemma4"), {.mix = "q4_k_m"}, path_, nullptr));
    const Result<Checkpoint> file = Checkpoint::open(path_);
    ASSERT_TRUE(file) << file.error().message;
    const Result<const Architecture*> architecture = find_architecture(*file);
    ASSERT_TRUE(architecture) << architecture.error().message;
    const Result<ModelConfig> config = (*architecture)->read_config(*file);
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_TRUE(bind_weights(*config, (*architecture)->declare(*config, *file), *file));
    ASSERT_EQ(config->layers.size(), 3u);
    EXPECT_EQ(config->layers[1].attention()->key_width, 64);
    EXPECT_EQ(config->layers[1].attention()->window, 64);
    EXPECT_EQ(config->layers[2].attention()->key_width, 128);
    EXPECT_EQ(config->layers[2].attention()->kv_heads, 1);
    EXPECT_TRUE(config->layers[2].attention()->values_are_keys);
    EXPECT_EQ(config->ropes[0].turning_pairs, 16);
}

TEST_F(SynthTest, SameSeedSameBytes) {
    const ShapeDocument shape = *find_shape("qwen3-0.6b");
    const auto hash_with = [&](uint64_t seed) {
        EXPECT_TRUE(synthesize(shape, {.mix = "q4_0", .layers = 1, .seed = seed}, path_, nullptr));
        return hash_of_file(path_)->text;
    };
    const std::string first = hash_with(1);
    EXPECT_EQ(hash_with(1), first);
    EXPECT_NE(hash_with(2), first);
}

TEST_F(SynthTest, StopsWithoutAFile) {
    const ShapeDocument shape = *find_shape("qwen3-0.6b");
    const Result<int64_t> bytes =
        synthesize(shape, {.mix = "q4_0", .layers = 1}, path_, [](int64_t, int64_t) { return false; });
    ASSERT_FALSE(bytes);
    EXPECT_FALSE(fs::exists(path_));
    EXPECT_FALSE(synthesize(shape, {.mix = "q4_0", .layers = 29}, path_, nullptr));
    EXPECT_FALSE(find_shape("gpt-5"));
}

// Whether what synth lists binds to what the architecture wants, in either container, without a byte written.
void expect_binds(std::string_view name, const char* format, int layers) {
    SCOPED_TRACE(fmt::format("{} in {}", name, format));
    const Result<ModelInMemory> model = synthesize_headers(*find_shape(name), {.mix = format, .layers = layers});
    ASSERT_TRUE(model) << model.error().message;
    const Result<const Architecture*> architecture = find_architecture(model->checkpoint);
    ASSERT_TRUE(architecture) << architecture.error().message;
    const Result<ModelConfig> config = (*architecture)->read_config(model->checkpoint);
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->layers.size(), static_cast<size_t>(layers));
    const auto bound = bind_weights(*config, (*architecture)->declare(*config, model->checkpoint), model->checkpoint);
    EXPECT_TRUE(bound) << bound.error().message;
}

TEST(SynthShapes, EveryShapeBindsInBothContainers) {
    for (const ShapeText& text : shape_texts()) {
        const int layers = std::min(8, find_shape(text.name)->layers());
        expect_binds(text.name, "q8_0", layers);
        expect_binds(text.name, "hf-bf16", layers);
        expect_binds(text.name, "hf-mxfp4", layers);
        if (text.name.starts_with("gpt-oss")) continue;  // published in no other form
        expect_binds(text.name, "hf-fp8-block", layers);
        expect_binds(text.name, "hf-nvfp4", layers);
        expect_binds(text.name, "hf-mixed-modelopt", layers);
    }
}

TEST(SynthShapes, FirstLayersKeepTheirKinds) {
    const ShapeDocument nemotron = *with_layers(*find_shape("nemotron-3-nano"), 7);
    EXPECT_EQ(nemotron.text().at("hybrid_override_pattern"), "MEMEM*E");
    const ShapeDocument qwen = *with_layers(*find_shape("qwen3.5-35b-a3b"), 5);
    EXPECT_EQ(qwen.text().at("layer_types").size(), 5u);
    EXPECT_EQ(qwen.text().at("layer_types")[3], "full_attention");
    const ShapeDocument gemma = *with_layers(*find_shape("gemma-4-e4b"), 26);
    EXPECT_EQ(gemma.text().at("num_kv_shared_layers"), 2);  // layers 24 and 25 of 42
    EXPECT_EQ(gemma.text().at("layer_types")[25], "full_attention");
    EXPECT_EQ(gemma.text().at("layer_types")[24], "sliding_attention");
    EXPECT_EQ(with_layers(*find_shape("deepseek-v3"), 2)->text().at("first_k_dense_replace"), 1)
        << "one mixture is left";
    EXPECT_EQ(with_layers(*find_shape("deepseek-v3"), 4)->text().at("first_k_dense_replace"), 3);
}

TEST(SynthShapes, FormatsThatNoPublisherCouldWriteAreRefused) {
    const auto gemma = synthesize_headers(*find_shape("gemma-4-26b-a4b"), {.mix = "hf-int4-g128", .layers = 1});
    ASSERT_FALSE(gemma);
    EXPECT_EQ(gemma.error().message,
              "gemma-4-26b-a4b has rows of 704 weights in 'model.layers.0.experts.0.down_proj', which is no multiple "
              "of the 128 that share a scale in hf-int4-g128; choose another format");
    const auto gpt = synthesize_headers(*find_shape("gpt-oss-20b"), {.mix = "hf-nvfp4", .layers = 1});
    ASSERT_FALSE(gpt);
    EXPECT_EQ(gpt.error().message,
              "gpt-oss-20b is published with experts in MXFP4, or plain, but not as hf-nvfp4; choose hf-mxfp4 or "
              "hf-bf16");
}

}  // namespace
}  // namespace invar
