// An output may be anything but a file of the model that is read, whatever name it goes by.
#include "files/output_path.h"

#include <gtest/gtest.h>

#include <set>

#include "files/model_directory_files.h"

namespace invar {
namespace {

namespace fs = std::filesystem;

std::string refusal(const Checkpoint& model, const fs::path& out) {
    const Result<void> checked = check_output(model, out);
    return checked ? std::string() : checked.error().message;
}

std::string is_read(const fs::path& out) {
    return out.string() + ": is a file of the model that is read; give the output another name";
}

void write_model(const fs::path& folder) {
    TestFiles files = sharded_directory();
    files["tokenizer.json"] = "{}";
    files["hf_quant_config.json"] = R"({"quantization": {}})";
    files["README.md"] = "text";
    fs::create_directories(folder);
    for (const auto& [name, text] : files) write_text(folder / name, text);
}

TEST(OutputPath, RefusesEveryFileThatADirectoryIsReadFrom) {
    const TemporaryFolder folder;
    write_model(folder / "m");
    const auto model = Checkpoint::open(folder / "m");
    ASSERT_TRUE(model) << model.error().message;
    std::set<std::string> names;
    for (const fs::path& file : files_of(*model)) {
        names.insert(file.filename().string());
        EXPECT_EQ(refusal(*model, file), is_read(file));
    }
    EXPECT_EQ(names, (std::set<std::string>{"config.json", "hf_quant_config.json", "model-00001-of-00002.safetensors",
                                            "model-00002-of-00002.safetensors", "model.safetensors.index.json",
                                            "tokenizer.json"}));
    EXPECT_EQ(refusal(*model, folder / "m" / "README.md"), "");
    EXPECT_EQ(refusal(*model, folder / "m" / "new.gguf"), "");
}

TEST(OutputPath, SeesThroughLinksAndOtherSpellings) {
    const TemporaryFolder folder;
    write_model(folder / "m");
    fs::create_symlink("m/tokenizer.json", folder / "link");
    fs::create_hard_link(folder / "m" / "config.json", folder / "hard");
    fs::create_directory_symlink("m", folder / "again");
    const auto model = Checkpoint::open(folder / "again");
    ASSERT_TRUE(model) << model.error().message;
    for (const fs::path& out : {folder / "link", folder / "hard", folder / "m" / ".." / "m" / "config.json",
                                folder / "m" / "model-00002-of-00002.safetensors"}) {
        EXPECT_EQ(refusal(*model, out), is_read(out));
    }
}

TEST(OutputPath, RefusesWhatNoFileCanReplace) {
    const TemporaryFolder folder;
    write_model(folder / "m");
    const auto model = Checkpoint::open(folder / "m");
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ(refusal(*model, folder / "m"),
              (folder / "m").string() + ": is a directory, but the name of a file to write is needed");
    EXPECT_EQ(refusal(*model, "/dev/null"), "/dev/null: is not a regular file (a device); give another path");
}

}  // namespace
}  // namespace invar
