// What a checkpoint says of its vectors: modules and keys that are read, and all that is refused by key and value.
#include "embed/embedding_config.h"

#include <gtest/gtest.h>

#include "embed/embedding_files.h"

namespace invar {
namespace {

using Modes = std::vector<Pooling>;

Modes modes_with(const std::string& pooling) {
    TestFiles files = embedding_directory();
    files["modules.json"] = module_list({{"Transformer", ""}, {"Pooling", "1_Pooling"}});
    files["1_Pooling/config.json"] = pooling;
    const auto config = config_of(files);
    return config ? config->pooling : Modes{};
}

std::string gguf_with(std::string_view key, uint32_t value) {
    GgufBytes file;
    file.start(1, key.empty() ? 1 : 2).key("general.architecture", MetadataType::string).text("bert");
    if (!key.empty()) file.key(key, MetadataType::u32).put<uint32_t>(value);
    return file.tensor("a", {32}, 0, 0).pad().data(128).string();
}

Result<EmbeddingConfig> of_gguf(const std::string& bytes) {
    TRY_ASSIGN(const Checkpoint checkpoint, Checkpoint::from_bytes(std::as_bytes(std::span(bytes)), "model.gguf"));
    return read_embedding_config(checkpoint, kWidth);
}

TEST(EmbeddingConfig, ReadsTheStepsOfADirectoryInTheirOrder) {
    const EmbeddingConfig config = config_of(embedding_directory()).value();
    EXPECT_EQ(config.pooling, Modes{Pooling::mean});
    EXPECT_EQ(config.source, "1_Pooling/config.json");
    ASSERT_EQ(config.steps.size(), 2u);
    const auto& dense = std::get<DenseStep>(config.steps[0]);
    EXPECT_EQ(dense.activation, DenseActivation::tanh);
    EXPECT_EQ(dense.tensors.outputs, 4);
    EXPECT_EQ(dense.tensors.bias, "2_Dense/linear.bias");
    EXPECT_TRUE(std::holds_alternative<UnitLengthStep>(config.steps[1]));
    EXPECT_EQ(vector_size(config, kWidth), 4);
    EXPECT_EQ(config.description(), "mean of the tokens, a dense layer to 4 with tanh, length 1");
}

TEST(EmbeddingConfig, ReadsEveryModeInBothSpellings) {
    const std::pair<const char*, Pooling> kFlags[] = {{"pooling_mode_cls_token", Pooling::cls},
                                                      {"pooling_mode_max_tokens", Pooling::max},
                                                      {"pooling_mode_mean_tokens", Pooling::mean},
                                                      {"pooling_mode_mean_sqrt_len_tokens", Pooling::mean_sqrt_length},
                                                      {"pooling_mode_weightedmean_tokens", Pooling::weighted_mean},
                                                      {"pooling_mode_lasttoken", Pooling::last}};
    for (const auto& [key, mode] : kFlags)
        EXPECT_EQ(modes_with(fmt::format(R"({{"{}": true}})", key)), Modes{mode}) << key;
    const std::pair<const char*, Pooling> kNames[] = {{"cls", Pooling::cls},
                                                      {"max", Pooling::max},
                                                      {"mean", Pooling::mean},
                                                      {"mean_sqrt_len_tokens", Pooling::mean_sqrt_length},
                                                      {"weightedmean", Pooling::weighted_mean},
                                                      {"lasttoken", Pooling::last}};
    for (const auto& [name, mode] : kNames)
        EXPECT_EQ(modes_with(fmt::format(R"({{"pooling_mode": "{}"}})", name)), Modes{mode}) << name;
    EXPECT_EQ(modes_with(R"({"pooling_mode_max_tokens": true, "pooling_mode_cls_token": true})"),
              (Modes{Pooling::cls, Pooling::max}));
    EXPECT_EQ(modes_with(R"({"pooling_mode": ["mean", "cls"]})"), (Modes{Pooling::mean, Pooling::cls}));
}

TEST(EmbeddingConfig, RefusesModesAndKeysOfPoolingThatItDoesNotKnow) {
    const std::string file = "1_Pooling/config.json";
    EXPECT_EQ(refusal_with(file, R"({"pooling_mode": "attention"})"),
              "model/1_Pooling/config.json: the key 'pooling_mode' is 'attention', which is none of the modes that are "
              "computed");
    EXPECT_EQ(refusal_with(file, R"({"pooling_mode_mean_tokens": true, "pooling_mode_magic": true})"),
              "model/1_Pooling/config.json: the key 'pooling_mode_magic' is true; what it changes is not known here");
    EXPECT_EQ(refusal_with(file, R"({"pooling_mode_mean_tokens": true, "pooling_mode_magic": false})"), "");
    EXPECT_EQ(refusal_with(file, R"({"pooling_mode_mean_tokens": 1})"),
              "model/1_Pooling/config.json: the key 'pooling_mode_mean_tokens' is 1, but true or false is needed");
    EXPECT_EQ(refusal_with(file, "{}"), "model/1_Pooling/config.json: turns no mode of pooling on");
    EXPECT_EQ(refusal_with(file, R"({"word_embedding_dimension": 9, "pooling_mode_mean_tokens": true})"),
              "model/1_Pooling/config.json: the key 'word_embedding_dimension' is 9, but the model gives 8 elements a "
              "token");
}

TEST(EmbeddingConfig, RefusesDenseLayersThatDoNotFitTheirConfigOrTheirInput) {
    const std::string file = "2_Dense/config.json";
    EXPECT_EQ(refusal_with(file, R"({"in_features": 8, "out_features": 5})"),
              "model/2_Dense/config.json: 'in_features' and 'out_features' are 8 and 5, but tensor "
              "'2_Dense/linear.weight' takes 8 elements and makes 4");
    EXPECT_EQ(refusal_with(file, R"({"in_features": 8, "out_features": 4, "bias": false})"),
              "model/2_Dense/config.json: the key 'bias' is false, but tensor '2_Dense/linear.bias' is there");
    EXPECT_EQ(
        refusal_with(file, R"({"in_features": 8, "out_features": 4, "activation_function": "torch.nn.GELU"})"),
        "model/2_Dense/config.json: the key 'activation_function' is 'torch.nn.GELU', but only torch's Identity and "
        "Tanh are computed");
    EXPECT_EQ(refusal_with(file, R"({"in_features": 8, "out_features": 4, "use_residual": true})"),
              "model/2_Dense/config.json: the key 'use_residual' is true; what it changes is not known here");
    EXPECT_EQ(
        refusal_with(file, R"({"in_features": 8, "out_features": 4, "module_output_name": "x"})"),
        "model/2_Dense/config.json: the key 'module_output_name' is 'x', but only sentence_embedding is computed");
    TestFiles files = embedding_directory();
    files[file] = R"({"in_features": 6, "out_features": 4, "bias": false})";
    files["2_Dense/model.safetensors"] = dense_file(4, 6, false);
    EXPECT_EQ(refusal_of(files),
              "model: tensor '2_Dense/linear.weight' takes 6 elements, but the step before it makes 8");
    files = embedding_directory();
    files.erase("2_Dense/model.safetensors");
    EXPECT_TRUE(
        refusal_of(files).starts_with("model: the module '2_Dense' is a dense layer, but has no model.safetensors"))
        << refusal_of(files);
}

TEST(EmbeddingConfig, RefusesModulesThatAreNotComputed) {
    EXPECT_EQ(
        refusal_with("modules.json", module_list({{"Transformer", ""}, {"LSTM", "1_LSTM"}})),
        "model/modules.json: module 1 is 'LSTM' and stands before the pooling; only steps behind it are computed");
    EXPECT_EQ(
        refusal_with("modules.json", module_list({{"Pooling", "1_Pooling"}, {"LayerNorm", "4_Norm"}})),
        "model/modules.json: module 1 is 'LayerNorm', which is not computed; the kinds Transformer, Pooling, Dense "
        "and Normalize are");
    EXPECT_EQ(
        refusal_with("modules.json", module_list({{"Transformer", "0_Transformer"}})),
        "model/modules.json: module 0 is a Transformer with the path '0_Transformer', but only the first can be one, "
        "in the directory itself");
    EXPECT_EQ(refusal_with("modules.json", module_list({{"Transformer", ""}})),
              "model/modules.json: no module pools the rows of a text");
    TestFiles files = embedding_directory();
    files.erase("1_Pooling/config.json");
    EXPECT_EQ(
        refusal_of(files),
        "model/1_Pooling/config.json: is missing, but it says what the module does; copy it from where the weights "
        "come from");
}

TEST(EmbeddingConfig, ReadsTheLimitOfTokensAndThePrompts) {
    TestFiles files = embedding_directory();
    files["sentence_bert_config.json"] = R"({"max_seq_length": 256, "do_lower_case": false})";
    files["config_sentence_transformers.json"] =
        R"({"prompts": {"query": "query: ", "document": ""}, "default_prompt_name": "query", "similarity_fn_name": "cosine"})";
    const EmbeddingConfig config = config_of(files).value();
    EXPECT_EQ(config.most_tokens, 256);
    ASSERT_EQ(config.prompts.size(), 2u);
    EXPECT_EQ(config.prompts[0].text, "query: ");
    EXPECT_EQ(config.default_prompt, "query");
}

TEST(EmbeddingConfig, RefusesSettingsOfTheModelThatChangeItsResult) {
    const std::string file = "sentence_bert_config.json";
    EXPECT_EQ(refusal_with(file, R"({"do_lower_case": true})"),
              "model/sentence_bert_config.json: the key 'do_lower_case' is true; what it changes is not known here");
    EXPECT_EQ(
        refusal_with(file, R"({"max_seq_length": 0})"),
        "model/sentence_bert_config.json: the key 'max_seq_length' is 0, but a whole number from 1 to 16777216 is "
        "needed");
    EXPECT_EQ(
        refusal_with(file, R"({"transformer_task": "fill-mask"})"),
        "model/sentence_bert_config.json: the key 'transformer_task' is 'fill-mask', but only feature-extraction is "
        "computed");
    EXPECT_EQ(refusal_with(file, R"({"modality_config": {"image": {}}})"),
              "model/sentence_bert_config.json: the key 'modality_config' has no entry 'text'");
    EXPECT_EQ(refusal_with("config_sentence_transformers.json", R"({"prompts": {"q": 1}})"),
              "model/config_sentence_transformers.json: the prompt 'q' is 1, but a text is needed");
    EXPECT_EQ(
        refusal_with("config_sentence_transformers.json", R"({"default_prompt_name": "q"})"),
        "model/config_sentence_transformers.json: the key 'default_prompt_name' is 'q', but there is no such prompt");
    EXPECT_EQ(refusal_with("config_sentence_transformers.json", R"({"model_type": "SparseEncoder"})"),
              "model/config_sentence_transformers.json: the key 'model_type' is 'SparseEncoder', but only "
              "SentenceTransformer is computed");
}

// Each key with every value of another kind or size: one sentence that names file and key.
TEST(EmbeddingConfig, RefusesEveryValueOfAnotherKindOrSize) {
    const struct {
        const char *file, *rest, *key, *also;  // `also`: a kind that the key takes
    } keys[] = {
        {"1_Pooling/config.json", R"("pooling_mode_mean_tokens": true)", "word_embedding_dimension", ""},
        {"1_Pooling/config.json", R"("pooling_mode_mean_tokens": true)", "embedding_dimension", ""},
        {"1_Pooling/config.json", R"("pooling_mode_mean_tokens": true)", "pooling_mode_cls_token", "true"},
        {"1_Pooling/config.json", R"("pooling_mode_mean_tokens": true)", "include_prompt", "true"},
        {"1_Pooling/config.json", R"("pooling_mode_mean_tokens": true)", "pooling_mode", ""},
        {"2_Dense/config.json", R"("in_features": 8, "out_features": 4)", "bias", "true"},
        {"2_Dense/config.json", R"("in_features": 8, "out_features": 4)", "activation_function", ""},
        {"2_Dense/config.json", R"("out_features": 4)", "in_features", ""},
        {"2_Dense/config.json", R"("in_features": 8)", "out_features", ""},
        {"sentence_bert_config.json", R"("do_lower_case": false)", "max_seq_length", ""},
        {"sentence_bert_config.json", R"("do_lower_case": false)", "transformer_task", ""},
        {"config_sentence_transformers.json", R"("prompts": {})", "default_prompt_name", ""},
        {"config_sentence_transformers.json", R"("model_type": "SentenceTransformer")", "prompts", "{}"},
    };
    const char* const values[] = {R"("x")", "-1", "0",  "1.5", "1e300", "18446744073709551615", "99999999999999999999",
                                  "[7]",    "[]", "{}", "true"};
    int refused = 0;
    for (const auto& one : keys) {
        for (const std::string_view value : values) {
            if (value == one.also) continue;
            const std::string said =
                refusal_with(one.file, fmt::format(R"({{{}, "{}": {}}})", one.rest, one.key, value));
            const std::string what = fmt::format("{} of {}: {} gives '{}'", one.key, one.file, value, said);
            EXPECT_TRUE(said.starts_with(fmt::format("model/{}: the key '{}' ", one.file, one.key))) << what;
            EXPECT_EQ(said.find('\n'), std::string::npos) << what;
            ++refused;
        }
    }
    EXPECT_EQ(refused, 13 * 11 - 4);
}

// The list of modules names folders; what is not there is missing, and a file that is no JSON is named.
TEST(EmbeddingConfig, RefusesModulesWhoseFilesAreMissingOrDamaged) {
    const auto without = [](const std::string& file) {
        TestFiles files = embedding_directory();
        files.erase(file);
        return refusal_of(files);
    };
    EXPECT_EQ(without("2_Dense/config.json"),
              "model/2_Dense/config.json: is missing, but it says what the module does; copy it from where the weights "
              "come from");
    EXPECT_EQ(without("3_Normalize/config.json"), "") << "it need not have one";
    for (const std::string file : {"modules.json", "1_Pooling/config.json", "2_Dense/config.json",
                                   "sentence_bert_config.json", "config_sentence_transformers.json"}) {
        for (const std::string text : {"", "{", "nul", "{\"a\": 1,}", "\xff\xfe", "[[[[[[[[", "7", "\"\""}) {
            const std::string said = refusal_with(file, text);
            EXPECT_TRUE(said.starts_with("model/" + file + ": ")) << file << ", '" << text << "': " << said;
            EXPECT_EQ(said.find('\n'), std::string::npos) << said;
        }
        const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
        EXPECT_TRUE(refusal_with(file, deep).starts_with("model/" + file + ": ")) << file;
    }
}

TEST(EmbeddingConfig, OfADirectoryWithoutModulesHasNoModes) {
    const EmbeddingConfig config = config_of(single_directory()).value();
    EXPECT_TRUE(config.pooling.empty());
    EXPECT_TRUE(config.source.empty());
}

TEST(EmbeddingConfig, ReadsThePoolingTypeOfGguf) {
    const std::pair<uint32_t, Modes> kTypes[] = {
        {0, {}}, {1, {Pooling::mean}}, {2, {Pooling::cls}}, {3, {Pooling::last}}};
    for (const auto& [type, modes] : kTypes) {
        const EmbeddingConfig config = of_gguf(gguf_with("bert.pooling_type", type)).value();
        EXPECT_EQ(config.pooling, modes) << type;
        EXPECT_EQ(config.source, "bert.pooling_type");
        EXPECT_TRUE(config.has_unit_length());
    }
    EXPECT_TRUE(of_gguf(gguf_with("", 0))->pooling.empty());
    EXPECT_EQ(of_gguf(gguf_with("bert.pooling_type", 4)).error().message,
              "model.gguf: the key 'bert.pooling_type' is 4, so the model ranks pairs of texts by a score and makes no "
              "vectors");
    EXPECT_EQ(of_gguf(gguf_with("bert.pooling_type", 5)).error().message,
              "model.gguf: the key 'bert.pooling_type' is 5, but it must be 0 (none), 1 (mean), 2 (cls) or 3 (last)");
}

}  // namespace
}  // namespace invar
