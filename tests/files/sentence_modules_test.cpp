// modules.json of a model directory: which files of its modules are taken, and lists and paths that are refused.
#include <gtest/gtest.h>

#include <algorithm>

#include "files/model_directory_files.h"
#include "files/sentence_modules.h"

namespace invar {
namespace {

std::string entry(const std::string& type, const std::string& path) {
    return fmt::format(R"({{"idx": 0, "name": "0", "path": "{}", "type": "{}"}})", path, type);
}

TestFiles directory_with(const std::string& modules) {
    TestFiles files = single_directory();
    files["modules.json"] = modules;
    return files;
}

TEST(SentenceModules, ListsKindsFoldersAndConfigsInTheirOrder) {
    TestFiles files =
        directory_with("[" + entry("sentence_transformers.models.Transformer", "") + "," +
                       entry("sentence_transformers.sentence_transformer.modules.pooling.Pooling", "1_Pooling") + "," +
                       entry("other.Thing", "2_Thing") + "]");
    files["1_Pooling/config.json"] = R"({"pooling_mode": "mean"})";
    const auto directory = open_files(files).value();
    const auto modules = directory.sentence_modules();
    ASSERT_EQ(modules.size(), 3u);
    EXPECT_EQ(modules[0].kind, "Transformer");
    EXPECT_EQ(modules[1].kind, "Pooling");
    EXPECT_EQ(modules[1].folder, "1_Pooling");
    EXPECT_EQ(modules[1].config["pooling_mode"], "mean");
    EXPECT_EQ(modules[1].config_name, "model/1_Pooling/config.json");
    EXPECT_EQ(modules[2].kind, "other.Thing");
    EXPECT_TRUE(modules[2].config.is_null());
}

TEST(SentenceModules, TakesTheTensorsOfDenseModulesUnderTheirFolder) {
    TestFiles files = directory_with("[" + entry("sentence_transformers.models.Dense", "2_Dense") + "," +
                                     entry("sentence_transformers.models.LSTM", "3_LSTM") + "]");
    files["2_Dense/config.json"] = "{}";
    files["2_Dense/model.safetensors"] = safetensors_with({"linear.weight"});
    files["3_LSTM/model.safetensors"] = safetensors_with({"weight"});
    const auto directory = open_files(files).value();
    EXPECT_NE(directory.find("2_Dense/linear.weight"), nullptr);
    EXPECT_NE(directory.find("a.weight"), nullptr);
    EXPECT_EQ(directory.tensors().size(), 2u);
}

TEST(SentenceModules, ChangeTheDigestOfTheDirectory) {
    TestFiles files = directory_with("[" + entry("sentence_transformers.models.Pooling", "1_Pooling") + "]");
    files["1_Pooling/config.json"] = R"({"pooling_mode": "mean"})";
    const std::string before = open_files(files)->digest().value();
    files["1_Pooling/config.json"] = R"({"pooling_mode": "last"})";
    EXPECT_NE(open_files(files)->digest().value(), before);
}

TEST(SentenceModules, RefuseListsThatAreNone) {
    EXPECT_EQ(directory_refusal(directory_with("{}")),
              "model/modules.json: is an object, but a list of modules is needed");
    EXPECT_EQ(directory_refusal(directory_with("[7]")),
              "model/modules.json: entry 0 is a number, but an object is needed");
    EXPECT_EQ(directory_refusal(directory_with(R"([{"path": ""}])")),
              "model/modules.json: the 'type' of entry 0 is missing, but a text is needed");
    EXPECT_EQ(directory_refusal(directory_with(R"([{"type": "A", "path": null}])")),
              "model/modules.json: the 'path' of entry 0 is null, but a text is needed");
    std::string many = "[";
    for (int i = 0; i < 65; ++i) many += (i == 0 ? "" : ",") + entry("A", fmt::format("m{}", i));
    EXPECT_EQ(directory_refusal(directory_with(many + "]")),
              "model/modules.json: lists 65 modules; at most 64 are read");
}

TEST(SentenceModules, RefusePathsThatLeadOutOfTheDirectory) {
    for (const std::string path : {"..", "../x", "/etc", "a/b", "a\\\\b", ".hidden", "a b"}) {
        const std::string said = directory_refusal(directory_with("[" + entry("A", path) + "]"));
        EXPECT_TRUE(said.starts_with("model/modules.json: the 'path' of entry 0 is '") &&
                    said.ends_with("but it must be the name of a subfolder"))
            << said;
    }
    EXPECT_EQ(directory_refusal(directory_with("[" + entry("A", "x") + "," + entry("B", "x") + "]")),
              "model/modules.json: two modules have the path 'x'");
}

TEST(SentenceModules, RefuseDamagedConfigsAndWeightsOfModules) {
    TestFiles files = directory_with("[" + entry("sentence_transformers.models.Dense", "2_Dense") + "]");
    files["2_Dense/config.json"] = "[]";
    EXPECT_EQ(directory_refusal(files), "model/2_Dense/config.json: is a list, but an object is needed");
    files["2_Dense/config.json"] = "{}";
    files["2_Dense/model.safetensors"] = "short";
    EXPECT_TRUE(directory_refusal(files).starts_with("model/2_Dense/model.safetensors: ")) << directory_refusal(files);
}

}  // namespace
}  // namespace invar
