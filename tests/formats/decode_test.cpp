// Decoders against independent packages: gguf (fixtures and checksums by tools/fixtures/formats.py), and PyTorch and
// compressed-tensors for the formats of SafeTensors (tools/fixtures/safetensors_formats.py).
#include <algorithm>
#include <map>

#include "formats/fixtures.h"

namespace invar {
namespace {

TEST(FormatTable, AgreesWithTheGgufPackageInNumbersAndBlockSizes) {
    std::ifstream lines = test::fixture_lines("types.txt");
    std::string name;
    uint32_t gguf_type;
    int block_weights, block_bytes, count = 0;
    while (lines >> name >> gguf_type >> block_weights >> block_bytes) {
        const Format* row = find_format_by_name(name);
        ASSERT_NE(row, nullptr) << name;
        EXPECT_EQ(row->gguf_type, gguf_type) << name;
        EXPECT_EQ(row->block_weights, block_weights) << name;
        EXPECT_EQ(row->block_bytes, block_bytes) << name;
        EXPECT_EQ(find_format_by_gguf_type(gguf_type), row) << name;
        EXPECT_EQ(&format(row->id), row) << name;
        EXPECT_EQ(formats()[static_cast<size_t>(row->id)], row) << name;
        EXPECT_EQ(row->is_float, row->accumulate == nullptr) << name;
        EXPECT_EQ(row->row_bytes(512), 512 / block_weights * block_bytes) << name;
        ++count;
    }
    EXPECT_EQ(count, std::count_if(formats().begin(), formats().end(), [](auto* row) { return row->in_gguf(); }));
    EXPECT_EQ(count, 17);
    EXPECT_EQ(static_cast<int>(formats().size()), kFormatCount);
}

TEST(FormatTable, KnowsNoOtherNumberOrName) {
    // Removed, unused and foreign numbers: Q4_2, Q4_3, Q8_1, Q8_K, IQ2_XXS, I32, TQ1_0, beyond the end.
    for (const uint32_t number : {4u, 5u, 9u, 15u, 16u, 26u, 31u, 34u, 41u, 1000u, kNoGgufType}) {
        EXPECT_EQ(find_format_by_gguf_type(number), nullptr) << number;
    }
    for (const char* name : {"", "Q4_K", "q4", "q4_k_m", "f64"}) EXPECT_EQ(find_format_by_name(name), nullptr) << name;
}

TEST(FormatDecoders, EqualIndependentPackagesOnRandomAndAwkwardBlocks) {
    int64_t compared = 0, different = 0;
    for (const Format* row : formats()) {
        const std::string name(row->name);
        const std::vector<float> expected = test::fixture_floats(name + ".values");
        const std::vector<float> values = test::decode(*row, test::fixture_bytes(name + ".blocks"));
        ASSERT_EQ(values.size(), expected.size()) << name;
        for (size_t i = 0; i < values.size(); ++i) {
            const bool same =
                test::bits(values[i]) == test::bits(expected[i]) || (std::isnan(values[i]) && std::isnan(expected[i]));
            if (!same && ++different < 10) {
                ADD_FAILURE() << name << " weight " << i << ": " << values[i] << " but the package says "
                              << expected[i];
            }
            ++compared;
        }
    }
    EXPECT_GE(compared, 22 * 1536);
    std::printf("[equality] %lld decoded weights compared, %lld differ\n", static_cast<long long>(compared),
                static_cast<long long>(different));
}

TEST(FormatDecoders, GiveWhatWeightGivesElementByElementAtAnyAddress) {
    for (const Format* row : formats()) {
        const std::vector<std::byte> blocks = test::fixture_bytes(std::string(row->name) + ".blocks");
        const std::vector<float> values = test::decode(*row, blocks);
        // The copy starts at every alignment in turn; with the undefined-behaviour sanitizer a wide read would stop
        // here.
        for (int shift = 1; shift < 4; ++shift) {
            std::vector<std::byte> moved(blocks.size() + shift);
            std::memcpy(moved.data() + shift, blocks.data(), blocks.size());
            for (size_t i = 0; i < values.size(); ++i) {
                const std::byte* block = moved.data() + shift + i / row->block_weights * row->block_bytes;
                const float weight = row->weight(block, static_cast<int>(i % row->block_weights));
                ASSERT_TRUE(test::bits(weight) == test::bits(values[i]) || std::isnan(values[i]))
                    << row->name << " " << i;
            }
        }
    }
}

uint64_t splitmix64(uint64_t index) {
    uint64_t z = (index + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

// Sum of bits_i * splitmix64(i) over the weights of `count` copies of a block, in copy v of which `bytes` bytes at
// `position` hold v (little-endian); every NaN counts as 0x7FC00000.
uint64_t checksum(const Format& row, std::vector<std::byte> block, int position, int bytes, int count) {
    std::vector<float> values(row.block_weights);
    uint64_t sum = 0, index = 0;
    for (int v = 0; v < count; ++v) {
        for (int byte = 0; byte < bytes; ++byte)
            block[position + byte] = static_cast<std::byte>(v >> (8 * byte) & 0xFF);
        row.decode(block.data(), row.block_weights, values.data());
        for (const float value : values) {
            sum += (std::isnan(value) ? 0x7FC00000u : uint64_t{test::bits(value)}) * splitmix64(index++);
        }
    }
    return sum;
}

TEST(FormatDecodersExhaustive, EveryByteOfABlockTakesAllValuesAndEveryScaleAll65536) {
    std::ifstream lines = test::fixture_lines("exhaustive.txt");
    std::string name, kind, expected;
    int position;
    int64_t weights = 0, compared = 0;
    std::map<std::string, std::vector<std::byte>> blocks;
    while (lines >> name >> kind >> position >> expected) {
        const Format& row = *find_format_by_name(name);
        std::vector<std::byte>& block = blocks[name];
        if (block.empty()) {
            block = test::fixture_bytes(name + ".blocks");
            block.resize(row.block_bytes);
        }
        const bool field = kind == "f16";
        const uint64_t sum = checksum(row, block, position, field ? 2 : 1, field ? 65536 : 256);
        EXPECT_EQ(sum, std::stoull(expected, nullptr, 16)) << name << " " << kind << " at byte " << position;
        weights += int64_t{field ? 65536 : 256} * row.block_weights;
        ++compared;
    }
    EXPECT_EQ(compared, 1057 + 18);  // bytes of the 17 blocks, binary16 fields
    std::printf("[equality] %lld checksums over %lld decoded weights compared\n", static_cast<long long>(compared),
                static_cast<long long>(weights));
}

}  // namespace
}  // namespace invar
