// GgufWriter: byte-identical to the Python gguf package where both write the same content, read back by our reader and,
// where Python with that package is at hand, by the package; nothing appears before finish().
#include "files/gguf_writer.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <memory>

#include "base/json.h"
#include "files/gguf_bytes.h"
#include "files/gguf_compare.h"

namespace invar {
namespace {

const std::filesystem::path kData = std::filesystem::path(INVAR_TEST_DATA) / "gguf";

// Copies a file through the writer, pieces of `piece` bytes at a time.
Result<void> copy(const GgufFile& from, GgufWriter& writer, const std::filesystem::path& to, size_t piece) {
    for (const MetadataEntry& entry : from.metadata().entries()) writer.add(entry.key, entry.value);
    for (const TensorInfo& tensor : from.tensors()) TRY(writer.add_tensor(tensor.name, *tensor.format, tensor.shape));
    TRY(writer.begin(to));
    for (const TensorInfo& tensor : from.tensors()) {
        std::span<const std::byte> rest(tensor.data, tensor.bytes);
        while (!rest.empty()) {
            TRY(writer.append(rest.first(std::min(piece, rest.size()))));
            rest = rest.subspan(std::min(piece, rest.size()));
        }
    }
    return writer.finish();
}

TEST(GgufWriter, WritesTheSameBytesAsTheGgufPackage) {
    const TemporaryFolder folder;
    size_t compared = 0;
    const auto from = GgufFile::open(kData / "every_type.gguf");
    ASSERT_TRUE(from) << from.error().message;
    const std::string theirs = read_text(kData / "every_type.gguf");
    for (const size_t piece : {size_t{1}, size_t{7}, size_t{1} << 20}) {
        GgufWriter writer;
        const auto copied = copy(*from, writer, folder / "copy.gguf", piece);
        ASSERT_TRUE(copied) << copied.error().message;
        const std::string ours = read_text(folder / "copy.gguf");
        EXPECT_EQ(ours, theirs);
        EXPECT_EQ(writer.file_bytes(), ours.size());
        compared += ours.size();
    }
    fmt::print("[equality] {} bytes compared with the gguf package's file, 0 differ\n", compared);
}

// Every C++ type the writer takes, a replaced key, an empty array, an alignment of its own, three tensors.
Result<void> write_sample(GgufWriter& writer, const std::filesystem::path& path) {
    writer.add("general.architecture", "sample");
    writer.add("a.u8", uint8_t{200});
    writer.add("a.i16", int16_t{-300});
    writer.add("a.u64", uint64_t{1} << 63);
    writer.add("a.f64", 0.1);
    writer.add("a.flag", false);
    writer.add("a.flag", true);
    writer.add("a.text", std::string_view("naïve"));
    const std::array<float, 3> floats{1.5f, -0.0f, 3e38f};
    writer.add_array<float>("a.floats", floats);
    const std::array<int32_t, 2> integers{INT32_MIN, INT32_MAX};
    writer.add_array<int32_t>("a.integers", integers);
    const std::array<std::string_view, 3> texts{"", "x", "two words"};
    writer.add_array("a.texts", texts);
    const Format& f32 = format(FormatId::f32);
    const Format& q8_0 = format(FormatId::q8_0);
    TRY(writer.add_tensor("odd", f32, std::array<int64_t, 1>{3}));
    TRY(writer.add_tensor("experts", q8_0, std::array<int64_t, 3>{2, 3, 64}));
    TRY(writer.add_tensor("last", f32, std::array<int64_t, 2>{1, 5}));
    TRY(writer.begin(path));
    std::vector<std::byte> bytes;
    for (int i = 0; i < 12 + 2 * 3 * 68 + 20; ++i) bytes.push_back(static_cast<std::byte>(i * 7));
    TRY(writer.append(std::span(bytes).first(12)));
    TRY(writer.append(std::span(bytes).subspan(12, 408)));
    TRY(writer.append(std::span(bytes).subspan(420)));
    return writer.finish();
}

TEST(GgufWriter, IsReadBackByOurReader) {
    const TemporaryFolder folder;
    GgufWriter writer(64);
    const auto written = write_sample(writer, folder / "sample.gguf");
    ASSERT_TRUE(written) << written.error().message;
    const auto file = GgufFile::open(folder / "sample.gguf");
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ(file->version(), 3u);
    EXPECT_EQ(file->alignment(), 64u);
    EXPECT_TRUE(file->metadata().boolean("a.flag").value());
    EXPECT_EQ(file->metadata().integer("a.u64").value(), 1ull << 63);
    EXPECT_EQ(file->metadata().strings("a.texts")->at(2), "two words");
    EXPECT_EQ(file->metadata().entries()[0].key, "general.alignment");
    EXPECT_EQ(file->metadata().entries()[6].key, "a.flag");  // replaced in its place
    EXPECT_EQ(file->find("experts")->shape, (std::vector<int64_t>{2, 3, 64}));
    EXPECT_EQ(file->find("experts")->rows(), 6);
    EXPECT_EQ(file->find("last")->file_offset % 64, 0u);
    EXPECT_EQ(std::to_integer<int>(file->find("last")->data[19]), (439 * 7) % 256);
}

TEST(GgufWriter, IsReadByTheGgufPackage) {
    // The interpreter with the oracles of tools/requirements.txt; the system's has none of them.
    const std::string python = INVAR_TEST_DATA "/../../.venv/bin/python3";
    if (std::system(fmt::format("'{}' -c 'import gguf, numpy' 2>/dev/null", python).c_str()) != 0) {
        GTEST_SKIP() << python << " has no gguf package";
    }
    const TemporaryFolder folder;
    GgufWriter writer(64);
    ASSERT_TRUE(write_sample(writer, folder / "sample.gguf"));
    const auto file = GgufFile::open(folder / "sample.gguf");
    ASSERT_TRUE(file);
    const std::string command = fmt::format("'{}' '{}/../../tools/fixtures/gguf.py' --check '{}'", python,
                                            INVAR_TEST_DATA, (folder / "sample.gguf").string());
    const std::unique_ptr<FILE, int (*)(FILE*)> output(::popen(command.c_str(), "r"), ::pclose);
    ASSERT_NE(output, nullptr);
    std::string text;
    for (int c = std::fgetc(output.get()); c != EOF; c = std::fgetc(output.get())) text += static_cast<char>(c);

    Json theirs_metadata = Json::array();
    size_t tensors = 0;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        const Json row = parse_json(line).value();
        if (row.contains("key")) theirs_metadata.push_back(row);
        if (!row.contains("tensor")) continue;
        const TensorInfo* tensor = file->find(row["tensor"].get<std::string>());
        ASSERT_NE(tensor, nullptr) << line;
        EXPECT_EQ(Json(tensor->shape).dump(), row["shape"].dump());
        EXPECT_EQ(tensor->file_offset, row["offset"].get<uint64_t>());
        EXPECT_EQ(hex({tensor->data, tensor->bytes}), row["hex"].get<std::string>());
        EXPECT_EQ(tensor->format->name, row["format"].get<std::string>());
        ++tensors;
    }
    EXPECT_EQ(tensors, 3u);
    EXPECT_EQ(theirs_metadata.dump(), metadata_rows(*file).dump());
    fmt::print("[equality] {} keys and {} tensors read by the gguf package, 0 differ\n", theirs_metadata.size(),
               tensors);
}

TEST(GgufWriter, LeavesNothingWithoutFinish) {
    const TemporaryFolder folder;
    {
        GgufWriter writer;
        ASSERT_TRUE(writer.add_tensor("w", format(FormatId::f32), std::array<int64_t, 1>{4}));
        ASSERT_TRUE(writer.begin(folder / "model.gguf"));
        ASSERT_TRUE(writer.append(std::vector<std::byte>(8)));
    }
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(GgufWriter, RefusesTensorsThatNoFileCanHold) {
    GgufWriter writer;
    const Format& q4_k = format(FormatId::q4_k);
    const auto refusal = [&](std::string_view name, std::vector<int64_t> shape) {
        const auto added = writer.add_tensor(name, q4_k, shape);
        return added ? std::string("accepted") : added.error().message;
    };
    EXPECT_EQ(refusal("w", {2, 256}), "accepted");
    EXPECT_EQ(refusal("w", {2, 256}), "tensor 'w' is declared twice");
    EXPECT_EQ(refusal("k", {2, 128}),
              "tensor 'k' has rows of 128 weights, not a multiple of the 256 in a block of q4_k");
    EXPECT_EQ(refusal("z", {0, 256}), "tensor 'z' cannot have the shape [0, 256]");
    EXPECT_EQ(refusal("o", {INT64_MAX, 256}), "tensor 'o' cannot have the shape [9223372036854775807, 256]");
    EXPECT_EQ(refusal("n", {}), "tensor 'n' has 0 dimensions; 1 to 4 are possible");
    EXPECT_EQ(refusal("", {256}), "tensor '' has a name of 0 bytes; 1 to 1024 bytes of UTF-8 are possible");
}

}  // namespace
}  // namespace invar
