#include "files/model_directory.h"

#include <gtest/gtest.h>

#include <set>

#include "base/json.h"
#include "files/model_directory_files.h"

namespace invar {
namespace {

namespace fs = std::filesystem;

void write_all(const fs::path& folder, const TestFiles& files) {
    fs::create_directories(folder);
    for (const auto& [name, text] : files) write_text(folder / name, text);
}

TEST(ModelDirectory, OpensShardsThroughTheirIndex) {
    const TestFiles files = sharded_directory();
    const auto opened = open_files(files);
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    EXPECT_EQ(opened->layout(), ModelDirectory::Layout::hugging_face);
    EXPECT_EQ(opened->name(), "model");
    EXPECT_EQ(opened->config_name(), "model/config.json");
    EXPECT_EQ(opened->config().at("num_hidden_layers"), 2);
    ASSERT_EQ(opened->tensors().size(), 3u);
    EXPECT_EQ(opened->tensor_bytes(), 12u);
    EXPECT_EQ(opened->file_names()[1], "model/model-00002-of-00002.safetensors");
    const SafeTensor* tensor = opened->find("c.weight");
    ASSERT_NE(tensor, nullptr);
    EXPECT_EQ(tensor->file_index, 1);
    EXPECT_EQ(tensor->dtype, Dtype::u8);
    EXPECT_EQ(tensor->bytes, 4u);
    EXPECT_EQ(static_cast<uint8_t>(tensor->data[3]), 3 * 7 + 1);
    EXPECT_EQ(opened->find("d.weight"), nullptr);
    EXPECT_EQ(opened->quantization_config(), nullptr);
    EXPECT_EQ(opened->hf_quant_config(), nullptr);
    EXPECT_EQ(opened->generation_config(), nullptr);
}

TEST(ModelDirectory, OpensNumberedShardsWithoutAnIndex) {
    TestFiles files = sharded_directory();
    files.erase("model.safetensors.index.json");
    const auto opened = open_files(files);
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    EXPECT_EQ(opened->tensors().size(), 3u);
}

TEST(ModelDirectory, OpensTheSameFromTheDirectoryItsConfigItsIndexAndAShard) {
    const TemporaryFolder folder;
    write_all(folder / "m", sharded_directory());
    std::set<std::string> digests;
    for (const char* part : {"", "config.json", "model.safetensors.index.json", "model-00002-of-00002.safetensors"}) {
        const auto opened = ModelDirectory::open(folder / "m" / part);
        ASSERT_TRUE(opened.has_value()) << opened.error().message;
        EXPECT_EQ(opened->tensors().size(), 3u);
        ASSERT_EQ(opened->mappings().size(), 2u);
        const SafeTensor* tensor = opened->find("c.weight");
        EXPECT_EQ(opened->mappings()[1].bytes().data() + tensor->file_offset, tensor->data);
        digests.insert(opened->digest().value());
    }
    EXPECT_EQ(digests.size(), 1u);
    EXPECT_TRUE(ModelDirectory::is_meant_by(folder / "m"));
    EXPECT_TRUE(ModelDirectory::is_meant_by("x/model.safetensors"));
    EXPECT_TRUE(ModelDirectory::is_meant_by("x/config.json"));
    EXPECT_FALSE(ModelDirectory::is_meant_by("x/model.gguf"));
}

TEST(ModelDirectory, OpensOneFileAloneThatIsNoShard) {
    const TemporaryFolder folder;
    write_all(folder / "m", single_directory());
    write_text(folder / "m" / "other.safetensors", safetensors_with({"o.weight"}));
    const auto other = ModelDirectory::open(folder / "m" / "other.safetensors");
    ASSERT_TRUE(other.has_value()) << other.error().message;
    ASSERT_EQ(other->tensors().size(), 1u);
    EXPECT_EQ(other->tensors()[0].name, "o.weight");
    const auto model = ModelDirectory::open(folder / "m");
    ASSERT_TRUE(model.has_value());
    EXPECT_EQ(model->tensors()[0].name, "a.weight");
    EXPECT_NE(model->digest().value(), other->digest().value());
}

TEST(ModelDirectory, OpensTheLayoutOfTheFileThatIsGiven) {
    const TemporaryFolder folder;
    TestFiles files = single_directory();
    files["params.json"] = R"({"dim": 64})";
    files["consolidated.safetensors"] = safetensors_with({"c.weight"});
    write_all(folder / "m", files);
    const auto tensor_of = [&](const char* part) {
        const auto opened = ModelDirectory::open(folder / "m" / part);
        return opened ? opened->tensors()[0].name + " of " + opened->config_name().substr(folder.path().string().size())
                      : opened.error().message;
    };
    EXPECT_EQ(tensor_of("params.json"), "c.weight of /m/params.json");
    EXPECT_EQ(tensor_of("config.json"), "a.weight of /m/config.json");
    EXPECT_EQ(tensor_of(""), "a.weight of /m/config.json");
    write_text(folder / "m" / "consolidated.safetensors.index.json",
               R"({"weight_map": {"c.weight": "consolidated.safetensors"}})");
    EXPECT_EQ(tensor_of("consolidated.safetensors.index.json"), "c.weight of /m/params.json");
    fs::remove(folder / "m" / "model.safetensors");
    EXPECT_NE(
        tensor_of("config.json").find("m/config.json: describes model.safetensors, but the directory has neither"),
        std::string::npos)
        << tensor_of("config.json");
}

TEST(ModelDirectory, NamesADirectoryThatStandsInPlaceOfAFile) {
    for (const char* name : {"config.json", "tokenizer.json", "hf_quant_config.json", "model.safetensors.index.json"}) {
        const TemporaryFolder folder;
        write_all(folder / "m", single_directory());
        fs::remove(folder / "m" / name);
        fs::create_directories(folder / "m" / name);
        fs::create_directories(folder / "m" / "original");
        const auto opened = ModelDirectory::open(folder / "m");
        ASSERT_FALSE(opened.has_value()) << name;
        EXPECT_NE(opened.error().message.find(fmt::format("m/{}: is a directory, but a file", name)), std::string::npos)
            << opened.error().message;
    }
}

TEST(ModelDirectory, RefusesAnAdapterThatIsGivenByItsFile) {
    const TemporaryFolder folder;
    write_all(folder / "m", {{"adapter_config.json", "{}"}, {"adapter_model.safetensors", safetensors_with({"a"})}});
    for (const char* part : {"", "adapter_model.safetensors"}) {
        const auto opened = ModelDirectory::open(folder / "m" / part);
        ASSERT_FALSE(opened.has_value());
        EXPECT_NE(opened.error().message.find("is an adapter, which changes a base model"), std::string::npos)
            << opened.error().message;
    }
}

TEST(ModelDirectory, FollowsLinksAsACacheOfDownloadsHasThem) {
    const TemporaryFolder folder;
    write_all(folder / "blobs", sharded_directory());
    fs::create_directories(folder / "snapshots");
    for (const auto& [name, text] : sharded_directory()) {
        fs::create_symlink(fs::path("../blobs") / name, folder / "snapshots" / name);
    }
    const auto opened = ModelDirectory::open(folder / "snapshots");
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    EXPECT_EQ(opened->digest().value(), ModelDirectory::open(folder / "blobs")->digest().value());
    fs::remove(folder / "blobs" / "model-00002-of-00002.safetensors");
    const auto broken = ModelDirectory::open(folder / "snapshots");
    ASSERT_FALSE(broken.has_value());
    EXPECT_NE(broken.error().message.find("model-00002-of-00002.safetensors: there is no such file"), std::string::npos)
        << broken.error().message;
}

TEST(ModelDirectory, OpensMistralsLayout) {
    TestFiles files = {{"params.json", R"({"dim": 64})"},
                       {"consolidated.safetensors", safetensors_with({"layers.0.attention.wq.weight"})},
                       {"tekken.json", "{}"}};
    const auto opened = open_files(files);
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    EXPECT_EQ(opened->layout(), ModelDirectory::Layout::mistral);
    EXPECT_EQ(opened->config().at("dim"), 64);
    EXPECT_EQ(opened->config_name(), "model/params.json");
    files.erase("consolidated.safetensors");
    files["consolidated-00001-of-00002.safetensors"] = safetensors_with({"a"});
    files["consolidated-00002-of-00002.safetensors"] = safetensors_with({"b"});
    EXPECT_EQ(open_files(files)->tensors().size(), 2u);
    // Where a repository has both, the one that config.json describes is taken.
    files["config.json"] = R"({"model_type": "mistral"})";
    files["model.safetensors"] = safetensors_with({"c"});
    const auto both = open_files(files);
    ASSERT_TRUE(both.has_value());
    EXPECT_EQ(both->layout(), ModelDirectory::Layout::hugging_face);
    EXPECT_EQ(both->tensors().size(), 1u);
}

TEST(ModelDirectory, FindsTheQuantizationInEveryPlace) {
    TestFiles files = single_directory();
    const auto method = [&](std::string_view config) {
        files["config.json"] = config;
        const auto opened = open_files(files);
        EXPECT_TRUE(opened.has_value()) << opened.error().message;
        const Json* found = opened->quantization_config();
        return found == nullptr ? "none" : found->at("quant_method").get<std::string>();
    };
    EXPECT_EQ(method(R"({"quantization_config": null})"), "none");
    EXPECT_EQ(method(R"({"quantization_config": {"quant_method": "fp8"}})"), "fp8");
    EXPECT_EQ(method(R"({"compression_config": {"quant_method": "a"}})"), "a");
    EXPECT_EQ(method(R"({"text_config": {"quantization_config": {"quant_method": "b"}}})"), "b");
    EXPECT_EQ(method(R"({"quantization_config": {"quant_method": "c"}, "compression_config": {"quant_method": "c"}})"),
              "c");
    files["hf_quant_config.json"] =
        R"({"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4", "group_size": 16}})";
    EXPECT_EQ(method("{}"), "none");
    EXPECT_EQ(open_files(files)->hf_quant_config()->at("quant_algo"), "NVFP4");
    EXPECT_EQ(method(R"({"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}})"), "modelopt");
}

TEST(ModelDirectory, HandsOutTheFilesBesideTheWeights) {
    TestFiles files = single_directory();
    files["tokenizer.json"] = R"({"version": "1.0"})";
    files["chat_template.jinja"] = "{{ x }}";
    files["generation_config.json"] = R"({"eos_token_id": [1, 2]})";
    const auto opened = open_files(files);
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    EXPECT_TRUE(opened->has("tokenizer.json"));
    EXPECT_FALSE(opened->has("tekken.json"));
    EXPECT_EQ(opened->read("chat_template.jinja", 100).value(), "{{ x }}");
    EXPECT_EQ(opened->read("chat_template.jinja", 6).error().message,
              "model/chat_template.jinja: has 7 bytes; at most 6 are read of such a file");
    EXPECT_EQ(opened->read("tekken.json", 100).error().message, "model: has no tekken.json");
    EXPECT_EQ(opened->read_json("tokenizer.json", 100).value().at("version"), "1.0");
    EXPECT_EQ(opened->generation_config()->at("eos_token_id").size(), 2u);
    // The digest covers them.
    const std::string before = opened->digest().value();
    files["chat_template.jinja"] = "{{ y }}";
    EXPECT_NE(open_files(files)->digest().value(), before);
}

TEST(ModelDirectory, DigestCoversWhatItsLayoutTakes) {
    TestFiles files = {{"params.json", R"({"dim": 4})"}, {"consolidated.safetensors", safetensors_with({"wq"})}};
    const std::string before = open_files(files)->digest().value();
    // Mistral's layout does not read config.json: an empty one changes nothing.
    files["config.json"] = "";
    EXPECT_EQ(open_files(files)->digest().value(), before);
    files["params.json"] = R"({"dim": 5})";
    EXPECT_NE(open_files(files)->digest().value(), before);
    files["merges.txt"] = "";
    EXPECT_EQ(open_files(files)->digest().error().message, "model/merges.txt: is empty (0 bytes)");
}

TEST(ModelDirectory, KeepsTensorsOfDtypesThatNobodyHereCanUse) {
    TestFiles files = single_directory();
    files["model.safetensors"] = safetensors_bytes(
        R"({"a":{"dtype":"Q7","shape":[3],"data_offsets":[0,5]},"b":{"dtype":"F8_E8M0","shape":[2,2],)"
        R"("data_offsets":[5,9]},"c":{"dtype":"F4","shape":[4],"data_offsets":[9,11]}})",
        11);
    const auto opened = open_files(files);
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    EXPECT_EQ(opened->find("a")->dtype, Dtype::unknown);
    EXPECT_EQ(opened->find("a")->dtype_name, "Q7");
    EXPECT_EQ(opened->find("b")->dtype, Dtype::f8_e8m0);
    EXPECT_EQ(opened->find("c")->bytes, 2u);
}

}  // namespace
}  // namespace invar
