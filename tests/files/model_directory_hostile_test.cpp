// Every way in which the files of a model directory can contradict each other, one directory each: the refusal is one
// sentence with the file, the tensor or key, and the two things that disagree. Then a small directory cut and changed
// at every byte of every file.
#include <gtest/gtest.h>

#include "files/model_directory_files.h"

namespace invar {
namespace {

constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kFirst = "model-00001-of-00002.safetensors";
constexpr const char* kSecond = "model-00002-of-00002.safetensors";

std::string with(TestFiles files, const std::string& name, std::string_view text) {
    files[name] = text;
    return directory_refusal(files);
}

std::string without(TestFiles files, const std::string& name) {
    files.erase(name);
    return directory_refusal(files);
}

std::string with_map(std::string_view map) {
    return with(sharded_directory(), kIndex, fmt::format(R"({{"weight_map": {}}})", map));
}

TEST(ModelDirectoryHostile, AcceptsWhatTheOthersDistort) {
    EXPECT_EQ(directory_refusal(sharded_directory()), "");
    EXPECT_EQ(directory_refusal(single_directory()), "");
}

TEST(ModelDirectoryHostile, RefusesADirectoryWithoutWeights) {
    EXPECT_EQ(directory_refusal({}), "model: has no files; a model directory is needed");
    EXPECT_EQ(directory_refusal({{"config.json", "{}"}}),
              "model: has no weights: neither model.safetensors nor model.safetensors.index.json is there");
    EXPECT_EQ(directory_refusal({{"config.json", "{}"}, {"m-q4_k.gguf", "GGUF"}}),
              "model: has no SafeTensors weights but the GGUF file 'm-q4_k.gguf'; give that file");
    const std::string advice =
        "', a PyTorch checkpoint, which can run code when it is read; load it with transformers and save it again with "
        "save_pretrained, or take a SafeTensors version of the model";
    EXPECT_EQ(directory_refusal({{"config.json", "{}"}, {"pytorch_model.bin", "PK"}}),
              "model: has no SafeTensors weights but 'pytorch_model.bin" + advice);
    EXPECT_EQ(directory_refusal({{"consolidated.00.pth", "PK"}, {"params.json", "{}"}}),
              "model: has no SafeTensors weights but 'consolidated.00.pth" + advice);
    EXPECT_EQ(directory_refusal({{"config.json", "{}"}, {"adapter_model.safetensors", safetensors_with({"a"})}}),
              "model/adapter_model.safetensors: is an adapter, which changes a base model and is not a model itself; "
              "merge it into its base model (merge_and_unload of peft), save that and give its directory");
    EXPECT_TRUE(directory_refusal({{"adapter_config.json", "{}"}, {"adapter_model.bin", "PK"}})
                    .starts_with("model/adapter_config.json: is an adapter"));
    EXPECT_EQ(directory_refusal({{"config.json", "{}"}, {"other.safetensors", safetensors_with({"a"})}}),
              "model: has no model.safetensors and no index, but 'other.safetensors'; give that file if it holds the "
              "model");
}

TEST(ModelDirectoryHostile, RefusesADirectoryWithoutADescription) {
    EXPECT_EQ(without(single_directory(), "config.json"),
              "model: has no config.json, which describes the model; copy it from where the weights come from");
    EXPECT_EQ(directory_refusal({{"consolidated.safetensors", safetensors_with({"a"})}}),
              "model: has 'consolidated.safetensors' in Mistral's layout but no params.json, which describes it");
    EXPECT_EQ(directory_refusal({{"consolidated.safetensors", safetensors_with({"a"})}, {"config.json", "{}"}}),
              "model: has 'consolidated.safetensors' in Mistral's layout but no params.json, which describes it; "
              "config.json describes model.safetensors");
}

TEST(ModelDirectoryHostile, RefusesShardsThatAreMissingOrOfTwoSets) {
    EXPECT_EQ(without(sharded_directory(), kSecond),
              "model/model.safetensors.index.json: names the shard 'model-00002-of-00002.safetensors', which is not in "
              "the directory; download it or give the right index");
    TestFiles files = sharded_directory();
    files.erase(kIndex);
    EXPECT_EQ(without(files, kFirst),
              "model: has 1 of 2 shards, but not 'model-00001-of-00002.safetensors'; download it");
    EXPECT_EQ(with(files, "model-00003-of-00003.safetensors", "x"),
              "model: has shards of two sets, one of 2 files and one of 3 ('model-00003-of-00003.safetensors'); remove "
              "one of the sets");
    EXPECT_EQ(with(files, "model-00003-of-00002.safetensors", "x"),
              "model/model-00003-of-00002.safetensors: is number 3 of 2, which cannot be");
    EXPECT_EQ(with(sharded_directory(), "model.safetensors", safetensors_with({"a.weight"})),
              "model: has 'model.safetensors' and an index of other files, 'model.safetensors.index.json'; remove the "
              "one that is not meant");
}

TEST(ModelDirectoryHostile, RefusesATensorInTwoFiles) {
    EXPECT_EQ(with(sharded_directory(), kSecond, safetensors_with({"c.weight", "a.weight"})),
              "model/model-00002-of-00002.safetensors: tensor 'a.weight' is also in "
              "model/model-00001-of-00002.safetensors; it may be in one file only");
}

TEST(ModelDirectoryHostile, RefusesAnIndexThatDisagreesWithTheHeaders) {
    const std::string index = "model/model.safetensors.index.json: ";
    EXPECT_EQ(with(sharded_directory(), kSecond, safetensors_with({"d.weight"})),
              index +
                  "says that tensor 'c.weight' is in 'model-00002-of-00002.safetensors', but no shard has such a "
                  "tensor");
    EXPECT_EQ(with(sharded_directory(), kSecond, safetensors_with({"c.weight", "d.weight"})),
              index + "does not list tensor 'd.weight', which is in 'model-00002-of-00002.safetensors'");
    TestFiles files = sharded_directory();
    files[kFirst] = safetensors_with({"a.weight", "c.weight"});
    files[kSecond] = safetensors_with({"b.weight"});
    EXPECT_EQ(directory_refusal(files),
              index +
                  "says that tensor 'b.weight' is in 'model-00001-of-00002.safetensors', but it is in "
                  "'model-00002-of-00002.safetensors'");
}

TEST(ModelDirectoryHostile, RefusesAnIndexThatLeavesTheDirectory) {
    const std::string index = "model/model.safetensors.index.json: ";
    for (const std::string shard :
         {"../x.safetensors", "/etc/x.safetensors", "a/../../x.safetensors", "./x.safetensors", "a//x.safetensors", "",
          "a\\\\..\\\\x.safetensors", "x\\u0000.safetensors"}) {
        const std::string message = with_map(fmt::format(R"({{"a.weight": "{}"}})", shard));
        EXPECT_TRUE(message.starts_with(index + "tensor 'a.weight' is said to be in '") &&
                    message.ends_with("', which is not a name inside the directory"))
            << message;
    }
    EXPECT_EQ(with_map(R"({"a.weight": "pytorch_model.bin"})"),
              index + "tensor 'a.weight' is said to be in 'pytorch_model.bin', which is not a .safetensors file");
    // A folder below is allowed; here it does not exist.
    EXPECT_EQ(with_map(R"({"a.weight": "sub/x.safetensors"})"), "model/sub/x.safetensors: there is no such file");
}

TEST(ModelDirectoryHostile, RefusesAnIndexThatIsNoIndex) {
    const std::string index = "model/model.safetensors.index.json: ";
    EXPECT_EQ(with(sharded_directory(), kIndex, "[]"), index + "is a list, but an object with 'weight_map' is needed");
    EXPECT_EQ(with(sharded_directory(), kIndex, "{}"), index + "has no 'weight_map', which says where each tensor is");
    EXPECT_EQ(with_map("[]"), index + "'weight_map' is a list, but an object is needed");
    EXPECT_EQ(with_map("{}"), index + "'weight_map' names no tensor");
    EXPECT_EQ(with_map(R"({"a.weight": 3})"),
              index + "weight_map has a number for tensor 'a.weight', but the name of a file is needed");
    EXPECT_EQ(with_map(R"({"a.weight": "x.safetensors", "a.weight": "y.safetensors"})"),
              index + "the key 'weight_map.a.weight' stands twice in one object; only one of the two can be meant");
    EXPECT_EQ(with(sharded_directory(), kIndex, ""), "model/model.safetensors.index.json: is empty (0 bytes)");
    std::string many = "{";
    for (int i = 0; i <= 10'000; ++i) many += fmt::format("{}\"t{}\":\"s{}.safetensors\"", i ? "," : "", i, i);
    EXPECT_EQ(with_map(many + "}"), index + "names 10001 shards; at most 10000 are possible");
}

TEST(ModelDirectoryHostile, RefusesPointersInPlaceOfFiles) {
    const std::string pointer =
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2\n"
        "size 4976698672\n";
    const std::string advice = fmt::format(
        ": is a Git LFS pointer of {} bytes and not the file that it stands for; fetch that with 'git lfs pull'",
        pointer.size());
    EXPECT_EQ(with(sharded_directory(), kFirst, pointer), "model/" + std::string(kFirst) + advice);
    EXPECT_EQ(with(sharded_directory(), kIndex, pointer), "model/" + std::string(kIndex) + advice);
    EXPECT_EQ(with(single_directory(), "config.json", pointer), "model/config.json" + advice);
    TestFiles files = single_directory();
    files["tokenizer.json"] = pointer;
    EXPECT_EQ(open_files(files)->read("tokenizer.json", 1000).error().message, "model/tokenizer.json" + advice);
}

TEST(ModelDirectoryHostile, RefusesConfigsThatAreNone) {
    EXPECT_EQ(with(single_directory(), "config.json", "[]"), "model/config.json: is a list, but an object is needed");
    EXPECT_EQ(with(single_directory(), "config.json", R"({"a": 1, "a": 2})"),
              "model/config.json: the key 'a' stands twice in one object; only one of the two can be meant");
    EXPECT_EQ(with(single_directory(), "config.json", R"({"text_config": {"rope_theta": 1e400}})"),
              "model/config.json: the number before byte 36 is too large for binary64");
    EXPECT_EQ(with(single_directory(), "generation_config.json", "7"),
              "model/generation_config.json: is a number, but an object is needed");
    EXPECT_EQ(with(single_directory(), "config.json", R"({"quantization_config": "fp8"})"),
              "model/config.json: 'quantization_config' is a text, but an object is needed");
    EXPECT_EQ(with(single_directory(), "config.json",
                   R"({"compression_config": {"a": 1}, "text_config": {"quantization_config": {"a": 2}}})"),
              "model/config.json: 'compression_config' and 'text_config.quantization_config' differ; only one of the "
              "two can be meant");
    EXPECT_EQ(with(single_directory(), "hf_quant_config.json", "{}"),
              "model/hf_quant_config.json: has no object 'quantization', which says how the weights are quantised");
}

TEST(ModelDirectoryHostile, RefusesTwoQuantizationsThatDisagree) {
    const auto both = [](std::string_view config, std::string_view hf_quant) {
        TestFiles files = single_directory();
        files["config.json"] = fmt::format(R"({{"quantization_config": {}}})", config);
        files["hf_quant_config.json"] = fmt::format(R"({{"quantization": {}}})", hf_quant);
        return directory_refusal(files);
    };
    const std::string end = "; the two files must come from one export";
    EXPECT_EQ(both(R"({"quant_method": "modelopt", "quant_algo": "FP8"})", R"({"quant_algo": "FP8"})"), "");
    EXPECT_EQ(both(R"({"quant_algo": "NVFP4"})", R"({"quant_algo": "FP8"})"),
              "model/config.json: 'quant_algo' is NVFP4, but model/hf_quant_config.json says FP8" + end);
    EXPECT_EQ(both(R"({"quant_algo": "NVFP4", "group_size": 32})", R"({"quant_algo": "NVFP4", "group_size": 16})"),
              "model/config.json: 'group_size' is 32, but model/hf_quant_config.json says 16" + end);
    EXPECT_EQ(both(R"({"quant_method": "compressed-tensors"})", R"({"quant_algo": "NVFP4"})"),
              "model/config.json: 'quant_method' is compressed-tensors, but model/hf_quant_config.json is a file of "
              "ModelOpt's" +
                  end);
    EXPECT_EQ(both(R"({"quantized_layers": {"m": {"quant_algo": "FP8"}}})",
                   R"({"quantized_layers": {"m": {"quant_algo": "NVFP4"}}})"),
              "model/config.json: 'quant_algo' of module 'm' is FP8, but model/hf_quant_config.json says NVFP4" + end);
    EXPECT_EQ(both(R"({"quantized_layers": {"m": {}}})", R"({"quantized_layers": {"n": {}}})"),
              "model/config.json: 'quantized_layers' names module 'm', but model/hf_quant_config.json does not" + end);
}

TEST(ModelDirectoryHostile, SaysWhichPathCannotBeOpened) {
    const TemporaryFolder folder;
    const auto refusal = [&](const std::filesystem::path& path) { return ModelDirectory::open(path).error().message; };
    EXPECT_EQ(refusal(folder / "none"), (folder / "none").string() + ": there is no such file or directory");
    EXPECT_EQ(refusal(folder.path()), folder.path().string() + ": has no files; a model directory is needed");
    EXPECT_EQ(refusal(folder.path() / ""), folder.path().string() + ": has no files; a model directory is needed");
    write_text(folder / "readme.md", "x");
    EXPECT_EQ(refusal(folder / "readme.md"),
              (folder / "readme.md").string() +
                  ": is neither a model directory nor its config.json nor a .safetensors file in it");
}

// Every byte of every file of a small directory, cut off and changed. The data may hold anything; everything else is
// either refused with one sentence or read as something that still tiles its files.
TEST(ModelDirectoryHostile, RefusesADirectoryWithAFileCutAtAnyByte) {
    const TestFiles valid = sharded_directory();
    size_t cuts = 0;
    for (const auto& [name, text] : valid) {
        for (size_t size = 0; size < text.size(); ++size) {
            TestFiles files = valid;
            files[name] = text.substr(0, size);
            expect_one_sentence(directory_refusal(files), "model");
            ++cuts;
        }
    }
    EXPECT_GT(cuts, 400u);
}

TEST(ModelDirectoryHostile, ReadsOrRefusesADirectoryWithAnyByteChanged) {
    TestFiles files = sharded_directory();
    files["hf_quant_config.json"] = R"({"quantization": {"quant_algo": "FP8"}})";
    files["config.json"] = R"({"quantization_config": {"quant_algo": "FP8"}, "text_config": {}})";
    ASSERT_EQ(directory_refusal(files), "");
    int accepted = 0, refused = 0;
    for (auto& [name, text] : files) {
        for (size_t place = 0; place < text.size(); ++place) {
            const char original = text[place];
            for (const int change : {1, 2, 4, 8, 16, 32, 64, 128, 255}) {
                text[place] = static_cast<char>(original ^ change);
                const auto opened = open_files(files);
                if (opened) {
                    ++accepted;
                    EXPECT_EQ(opened->tensor_bytes(), 12u);
                    EXPECT_EQ(opened->tensors().size(), 3u);
                } else {
                    ++refused;
                    expect_one_sentence(opened.error().message, "model");
                }
            }
            text[place] = original;
        }
    }
    EXPECT_GT(accepted, 500);
    EXPECT_GT(refused, 3000);
}

}  // namespace
}  // namespace invar
