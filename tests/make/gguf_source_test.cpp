// Rows of a model directory on their way to a GGUF file: scales that no model can have are refused, not written.
#include "make/gguf_source.h"

#include <gtest/gtest.h>

#include <algorithm>

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

}  // namespace
}  // namespace invar
