// The reader against files that the `safetensors` package wrote (tools/fixtures/safetensors_files.py), and the writer
// against the reader. The writer against the package: tests/e2e/trace_test.py.
#include "files/safetensors.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "files/safetensors_bytes.h"
#include "files/safetensors_header.h"
#include "files/safetensors_writer.h"

namespace invar {
namespace {

const std::filesystem::path kData = std::filesystem::path(INVAR_TEST_DATA) / "safetensors";

std::string hex(const std::byte* data, uint64_t bytes) {
    std::string text;
    for (uint64_t i = 0; i < bytes; ++i) text += fmt::format("{:02x}", std::to_integer<unsigned>(data[i]));
    return text;
}

TEST(SafeTensors, ReadsEveryDtypeAsThePackageWroteIt) {
    const auto file = SafeTensorsFile::open(kData / "every_dtype.safetensors");
    ASSERT_TRUE(file) << file.error().message;
    const auto expected = parse_json(read_text(kData / "expected.json"));
    ASSERT_TRUE(expected);
    const Json& tensors = (*expected)["tensors"];
    EXPECT_EQ(file->tensors().size(), tensors.size());
    size_t compared = 0;
    for (const auto& [name, want] : tensors.items()) {
        const SafeTensor* tensor = file->find(name);
        ASSERT_NE(tensor, nullptr) << name;
        EXPECT_EQ(tensor->dtype_name, want["dtype"]);
        EXPECT_EQ(dtype_name(tensor->dtype), tensor->dtype_name) << "in our table";
        EXPECT_EQ(Json(tensor->shape), want["shape"]) << name;
        EXPECT_EQ(hex(tensor->data, tensor->bytes), want["bytes"]) << name;
        compared += tensor->bytes;
    }
    EXPECT_EQ(compared, 3517u);  // 60 elements of each dtype, 4 + 0 + 3 bytes
    EXPECT_EQ(file->metadata().size(), 3u);
    for (const auto& [key, value] : (*expected)["metadata"].items()) EXPECT_EQ(file->find_metadata(key), value) << key;
    EXPECT_FALSE(file->find_metadata("other").has_value());
    EXPECT_EQ(file->find("other"), nullptr);
    EXPECT_EQ(file->file_bytes(), std::filesystem::file_size(kData / "every_dtype.safetensors"));
}

TEST(SafeTensors, GivesTensorsInTheOrderOfTheirBytesWhateverTheHeaderSays) {
    const std::string bytes = safetensors_bytes(
        R"({"late":{"shape":[2],"data_offsets":[4,6],"dtype":"I8"},"early":{"dtype":"F32","shape":[],"data_offsets":[0,4]}} )",
        6);
    const auto file = SafeTensorsFile::from_bytes(std::as_bytes(std::span(bytes)), "x");
    ASSERT_TRUE(file) << file.error().message;
    ASSERT_EQ(file->tensors().size(), 2u);
    EXPECT_EQ(file->tensors()[0].name, "early");
    EXPECT_EQ(file->tensors()[0].elements(), 1);
    EXPECT_EQ(file->tensors()[1].name, "late");
    EXPECT_EQ(hex(file->tensors()[1].data, 2), "1d24");
}

// Headers in the spelling of the package are read by code of their own; one space makes them any other JSON.
TEST(SafeTensors, ReadsTheUsualSpellingAsItReadsAnyOther) {
    std::string usual = R"({"__metadata__":{"format":"pt","n":""})";
    for (int i = 0; i < 20; ++i)
        usual += fmt::format(R"(,"t.{}":{{"dtype":"F32","shape":[{}],"data_offsets":[{},{}]}})", i,
                             i % 3 == 0   ? ""
                             : i % 3 == 1 ? "1,1"
                                          : "1",
                             4 * i, 4 * i + 4);
    usual += R"(,"x":{"dtype":"NEW","shape":[0,7],"data_offsets":[80,80]}})";
    const std::string spaced = "{ " + usual.substr(1);
    const auto a = parse_safetensors_header(usual, "x"), b = parse_safetensors_header(spaced, "x");
    ASSERT_TRUE(a && b);
    EXPECT_EQ(a->metadata, b->metadata);
    ASSERT_EQ(a->tensors.size(), 21u);
    ASSERT_EQ(b->tensors.size(), 21u);
    for (size_t i = 0; i < a->tensors.size(); ++i) {
        EXPECT_EQ(a->tensors[i].name, b->tensors[i].name);
        EXPECT_EQ(a->tensors[i].dtype, b->tensors[i].dtype);
        EXPECT_EQ(a->tensors[i].shape, b->tensors[i].shape);
        EXPECT_EQ(a->tensors[i].offsets, b->tensors[i].offsets);
    }
    EXPECT_EQ(a->tensors[19].offsets, (std::array<uint64_t, 2>{76, 80}));
    EXPECT_EQ(a->tensors[20].dtype, "NEW");
}

// What is nearly spelled so is taken or refused as the parser of JSON says.
TEST(SafeTensors, RefusesNearlyUsualHeadersByTheirFault) {
    const std::pair<const char*, const char*> cases[] = {
        {R"({"a":{"dtype":"F32","shape":[01],"data_offsets":[0,4]}})", "not valid JSON at its byte 31"},
        {R"({"a":{"dtype":"F32","shape":[1,],"data_offsets":[0,4]}})", "not valid JSON at its byte 32"},
        {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", "has 1 data_offsets instead of 2"},
        {R"({"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4]}})",
         "has the number 99999999999999999999"},
        {R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[],"data_offsets":[4,8]}})",
         "'a' appears twice"},
        {R"({"__metadata__":{"k":"1","k":"2"}})", "'__metadata__' has 'k' twice"},
        {R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}x)", "not valid JSON at its byte 54"},
    };
    for (const auto& [json, message] : cases) {
        const auto header = parse_safetensors_header(json, "x");
        ASSERT_FALSE(header) << json;
        EXPECT_NE(header.error().message.find(message), std::string::npos) << json << "\n" << header.error().message;
    }
}

TEST(SafeTensors, KeepsAnUnknownDtypeByNameAndTakesItsSizeFromTheOffsets) {
    const std::string bytes = safetensors_bytes(R"({"x":{"dtype":"Q9","shape":[2],"data_offsets":[0,3]}})", 3);
    const auto file = SafeTensorsFile::from_bytes(std::as_bytes(std::span(bytes)), "x");
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ(file->tensors()[0].dtype, Dtype::unknown);
    EXPECT_EQ(file->tensors()[0].dtype_name, "Q9");
    EXPECT_EQ(file->tensors()[0].bytes, 3u);
}

TEST(SafeTensors, WritesWhatItReadsBackAlignedAndWideElementsFirst) {
    const std::vector<float> floats = {1.5f, -0.0f, 3e-40f};
    const std::vector<double> doubles = {0.1, 1e300};
    const std::vector<int8_t> bytes = {1, 2, 3, 4, 5};
    SafeTensorsWriter writer;
    const int64_t three[] = {3}, two[] = {1, 2}, five[] = {5};
    ASSERT_TRUE(writer.add_tensor("narrow", Dtype::i8, five, std::as_bytes(std::span(bytes))));
    ASSERT_TRUE(writer.add_tensor("float \"quoted\" ✓", Dtype::f32, three, std::as_bytes(std::span(floats))));
    ASSERT_TRUE(writer.add_tensor("wide", Dtype::f64, two, std::as_bytes(std::span(doubles))));
    writer.add_metadata("note", "old");
    writer.add_metadata("note", "two\nlines");
    const TemporaryFolder folder;
    ASSERT_TRUE(writer.write(folder / "out.safetensors"));
    const auto file = SafeTensorsFile::open(folder / "out.safetensors");
    ASSERT_TRUE(file) << file.error().message;
    ASSERT_EQ(file->tensors().size(), 3u);
    EXPECT_EQ(file->tensors()[0].name, "wide");
    EXPECT_EQ(file->tensors()[1].name, "float \"quoted\" ✓");
    EXPECT_EQ(file->tensors()[2].name, "narrow");
    EXPECT_EQ(file->tensors()[0].file_offset % 64, 0u);
    EXPECT_EQ(file->tensors()[1].file_offset % 4, 0u);
    EXPECT_EQ(std::memcmp(file->tensors()[0].data, doubles.data(), 16), 0);
    EXPECT_EQ(std::memcmp(file->tensors()[1].data, floats.data(), 12), 0);
    EXPECT_EQ(std::memcmp(file->tensors()[2].data, bytes.data(), 5), 0);
    EXPECT_EQ(file->tensors()[0].shape, (std::vector<int64_t>{1, 2}));
    EXPECT_EQ(file->find_metadata("note"), "two\nlines");
    const auto in_memory = writer.bytes();
    ASSERT_TRUE(in_memory);
    const std::string on_disk = read_text(folder / "out.safetensors");
    ASSERT_EQ(in_memory->size(), on_disk.size());
    EXPECT_EQ(std::memcmp(in_memory->data(), on_disk.data(), on_disk.size()), 0);
}

TEST(SafeTensors, TheWriterRefusesWhatTheReaderWould) {
    const std::vector<float> data(6);
    const auto bytes = std::as_bytes(std::span(data));
    const auto refusal = [&](std::string_view name, std::vector<int64_t> shape) {
        SafeTensorsWriter writer;
        const auto added = writer.add_tensor(name, Dtype::f32, shape, bytes);
        return added ? std::string() : added.error().message;
    };
    EXPECT_EQ(refusal("a", {2, 3}), "");
    EXPECT_EQ(refusal("a", {2, 4}), "tensor 'a' of shape [2, 4] in F32 has 256 bits, but 24 bytes were given");
    EXPECT_EQ(refusal("a", {-2, -3}), "tensor 'a' cannot have the shape [-2, -3]");
    EXPECT_EQ(refusal("a", {int64_t{1} << 62, 8}), "tensor 'a' cannot have the shape [4611686018427387904, 8]");
    EXPECT_EQ(refusal("__metadata__", {6}), "tensor '__metadata__' cannot have that name: it is reserved or not UTF-8");
    EXPECT_EQ(refusal("\xff", {6}), "tensor '\\xff' cannot have that name: it is reserved or not UTF-8");
    SafeTensorsWriter twice;
    const int64_t six[] = {6};
    ASSERT_TRUE(twice.add_tensor("a", Dtype::f32, six, bytes));
    ASSERT_TRUE(twice.add_tensor("a", Dtype::f32, six, bytes));
    EXPECT_EQ(twice.bytes().error().message, "tensor 'a' is declared twice");
}

TEST(SafeTensors, ReadsAHeaderOfManyTensorsInProportionalTime) {
    // 100,000 tensors took 0.2 s; looking each key up among the earlier ones would take 5 x 10^9 comparisons.
    std::string header = "{";
    constexpr int kTensors = 100000;
    for (int i = 0; i < kTensors; ++i) {
        header += fmt::format(R"({}"tensor.{}":{{"dtype":"U8","shape":[1],"data_offsets":[{},{}]}})", i == 0 ? "" : ",",
                              i, i, i + 1);
    }
    header += "}";
    const std::string bytes = safetensors_bytes(header, kTensors);
    const auto file = SafeTensorsFile::from_bytes(std::as_bytes(std::span(bytes)), "x");
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ(file->tensors().size(), 100000u);
    EXPECT_EQ(file->find("tensor.77777")->file_offset, 8 + header.size() + 77777);
}

}  // namespace
}  // namespace invar
