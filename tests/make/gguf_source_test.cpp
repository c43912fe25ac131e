// Rows of a model directory on their way to a GGUF file: scales that no model can have are refused, not written, and
// weights that share a tensor of the file are joined.
#include "make/gguf_source.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "checkpoint/tiny_directory.h"

namespace invar {
namespace {

const std::string kDown = "model.layers.0.mlp.down_proj.weight";

// Decodes every row of the tensor that GGUF calls ffn_down, and takes the blocks of each; "read" or what refuses them.
std::string reading_of_down(test::TinyDirectory& tiny) {
    const auto checkpoint = tiny.open();
    if (!checkpoint) return checkpoint.error().message;
    const auto source = GgufSource::of(*checkpoint);
    if (!source) return source.error().message;
    const auto down = std::find_if(source->tensors().begin(), source->tensors().end(), [](const SourceTensor& tensor) {
        return tensor.info.name == "blk.0.ffn_down.weight";
    });
    if (down == source->tensors().end()) return "no such tensor";
    SourceReader reader;
    std::vector<float> row(static_cast<size_t>(down->info.columns()));
    for (int64_t r = 0; r < down->info.rows(); ++r) {
        const auto decoded = reader.decode(*down, r, row.data());
        const auto blocks = reader.blocks(*down, r);
        EXPECT_EQ(decoded.has_value(), blocks.has_value()) << r;
        if (!decoded) return decoded.error().message;
    }
    return "read";
}

TEST(GgufSource, RefusesNvfp4ScalesThatAreNegativeOrNoNumbers) {
    test::TinyDirectory tiny = test::tiny_directory();
    tiny.compress(kDown, 8.0f);
    EXPECT_EQ(reading_of_down(tiny), "read");
    for (const int bad : {0x7F, 0xB0, 0xFF}) {
        tiny.tensors.at(kDown + "_scale").bytes[3 * 8 + 5] = static_cast<char>(bad);  // row 3
        const std::string sentence = reading_of_down(tiny);
        EXPECT_NE(sentence.find("'" + kDown + "_scale' holds a scale in row 3"), std::string::npos) << sentence;
    }
    tiny.tensors.at(kDown + "_scale").bytes[3 * 8 + 5] = static_cast<char>(0x80);  // minus zero
    EXPECT_EQ(reading_of_down(tiny), "read");
}

TEST(GgufSource, RefusesTheMxfp4ScaleThatIsNoNumber) {
    test::TinyDirectory tiny = test::tiny_directory();
    tiny.compress(kDown, 8.0f);
    tiny.tensors.erase(kDown + "_global_scale");
    tiny.random_bytes(kDown + "_scale", "U8", {64, 4}, 0x80);
    EXPECT_EQ(reading_of_down(tiny), "read");
    tiny.tensors.at(kDown + "_scale").bytes[9 * 4] = static_cast<char>(0xFF);
    const std::string sentence = reading_of_down(tiny);
    EXPECT_NE(sentence.find("'" + kDown + "_scale' holds a scale in row 9"), std::string::npos) << sentence;
}

// A weight whose number i is `first` + i, and how a GGUF file holds it.
struct Numbered {
    Numbered(std::string_view role, const std::vector<int64_t>& shape, float first, HeldAs gguf) {
        int64_t count = 1;
        for (const int64_t extent : shape) count *= extent;
        for (int64_t i = 0; i < count; ++i) values.push_back(first + static_cast<float>(i));
        tensor = {.name = "t",
                  .format = &format(FormatId::f32),
                  .shape = shape,
                  .data = reinterpret_cast<const std::byte*>(values.data()),
                  .bytes = values.size() * sizeof(float)};
        wanted.id = {0, role};
        wanted.shape = shape;
        wanted.gguf = {.tensor = "blk.0.t.weight", .as = std::move(gguf)};
        stored = {.format = tensor.format, .shape = shape, .matrices = {{.weights = &tensor}}};
    }
    Numbered(const Numbered&) = delete;
    std::vector<float> values;
    TensorInfo tensor;
    WantedWeight wanted;
    StoredWeight stored;
};

std::vector<float> numbers_of(const SourceTensor& tensor) {
    SourceReader reader;
    const int64_t columns = tensor.info.columns();
    std::vector<float> numbers(static_cast<size_t>(tensor.info.weights()));
    for (int64_t row = 0; row < tensor.info.rows(); ++row) {
        float* out = numbers.data() + row * columns;
        EXPECT_TRUE(reader.decode(tensor, row, out));
        if (!tensor.can_copy()) continue;
        EXPECT_EQ(0, std::memcmp(reader.blocks(tensor, row).value(), out, static_cast<size_t>(columns) * 4));
    }
    return numbers;
}

// The numbers of the one tensor that holds both weights.
std::vector<float> joined(HeldAs first, HeldAs second) {
    const Numbered a("a", {4, 2}, 0, std::move(first)), b("b", {4, 2}, 100, std::move(second));
    const std::vector<WantedWeight> wanted = {a.wanted, b.wanted};
    const std::vector<StoredWeight> stored = {a.stored, b.stored};
    const auto tensors = gguf_tensors(wanted, stored, "tiny");
    EXPECT_TRUE(tensors) << tensors.error().message;
    if (!tensors) return {};
    EXPECT_EQ(tensors->size(), 1u);
    EXPECT_EQ(tensors->front().info.shape, (std::vector<int64_t>{8, 2}));
    EXPECT_EQ(tensors->front().info.bytes, 64u);
    EXPECT_TRUE(tensors->front().can_copy());
    return numbers_of(tensors->front());
}

TEST(GgufSource, JoinsWeightsThatShareATensorOfTheFile) {
    // phi3: up behind gate.
    EXPECT_EQ(joined({}, {.order = {.first = 4}}),
              (std::vector<float>{0, 1, 2, 3, 4, 5, 6, 7, 100, 101, 102, 103, 104, 105, 106, 107}));
    // Qwen3-Next: for each of two key heads two rows of b, then two of a.
    EXPECT_EQ(joined({.order = {.first = 2, .groups = {2, 4, {2}}}}, {.order = {.groups = {2, 4, {2}}}}),
              (std::vector<float>{100, 101, 102, 103, 0, 1, 2, 3, 104, 105, 106, 107, 4, 5, 6, 7}));
}

TEST(GgufSource, RefusesTensorsThatWeightsDoNotFillOnce) {
    const Numbered a("a", {4, 2}, 0, {}), gap("b", {4, 2}, 0, {.order = {.first = 5}}),
        twice("b", {4, 2}, 0, {.order = {.first = 3}}), transposed("b", {4, 2}, 0, {.transposed = Transposed::yes});
    for (const Numbered* other : {&gap, &twice}) {
        const std::vector<WantedWeight> wanted = {a.wanted, other->wanted};
        const std::vector<StoredWeight> stored = {a.stored, other->stored};
        const auto tensors = gguf_tensors(wanted, stored, "tiny");
        ASSERT_FALSE(tensors);
        EXPECT_EQ(tensors.error().message,
                  "tiny: tensor 'blk.0.t.weight' of a GGUF file has other numbers than the model's weights");
    }
    EXPECT_FALSE(gguf_tensors(std::span(&transposed.wanted, 1), std::span(&transposed.stored, 1), "tiny"));
    EXPECT_FALSE(gguf_tensors(std::span(&gap.wanted, 1), std::span(&gap.stored, 1), "tiny"));
}

TEST(GgufSource, GivesVectorsTheShapeOfTheFileAndTheirLaw) {
    Numbered conv("conv", {6}, 1, {.order = {.groups = {3, 2, {1}}}, .shape = {3, 2}});
    conv.wanted.kind = WeightShape::vector;
    conv.stored.law = VectorLaw::plus_one;
    const auto tensors = gguf_tensors(std::span(&conv.wanted, 1), std::span(&conv.stored, 1), "tiny");
    ASSERT_TRUE(tensors) << tensors.error().message;
    EXPECT_EQ(tensors->front().info.shape, (std::vector<int64_t>{3, 2}));
    EXPECT_FALSE(tensors->front().can_copy());
    // Number j * 3 + g of the weight is number g * 2 + j of the file.
    EXPECT_EQ(numbers_of(tensors->front()), (std::vector<float>{2, 5, 3, 6, 4, 7}));
}

}  // namespace
}  // namespace invar
