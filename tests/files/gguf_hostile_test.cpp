// Every way in which a GGUF header can lie, one hand-made file each: the refusal is one sentence that names the file,
// the tensor or key, and the two numbers that disagree.
#include <gtest/gtest.h>

#include "files/gguf.h"
#include "files/gguf_bytes.h"

namespace invar {
namespace {

using Type = MetadataType;
constexpr uint32_t kF32 = 0;
constexpr uint32_t kQ4K = 12;

TEST(GgufHostile, RefusesOtherFilesByTheirFirstBytes) {
    EXPECT_EQ(GgufBytes().raw("{\"a\": 1}").refusal(),
              "model.gguf: is not a GGUF file: it begins with '{\"a\"' and not with 'GGUF'");
    EXPECT_EQ(GgufBytes().raw("\x7f\x80\xc2\x01").refusal(),
              "model.gguf: is not a GGUF file: it begins with '\\x7f\\x80\\xc2\\x01' and not with 'GGUF'");
    EXPECT_EQ(
        GgufBytes().raw("GG").refusal(),
        "model.gguf: header: the magic number needs 4 bytes at offset 0 but 2 are left of 2; the file is damaged or "
        "incomplete");
}

TEST(GgufHostile, RefusesVersionOneBigEndianAndTheFutureByName) {
    EXPECT_EQ(
        GgufBytes().start(0, 0, 1).refusal(),
        "model.gguf: is GGUF version 1, which has 32-bit lengths and is long replaced; versions 2 and 3 are supported");
    EXPECT_EQ(GgufBytes().start(0, 0, 0x03000000).refusal(),
              "model.gguf: is a big-endian GGUF file (version 0x03000000); only little-endian files are supported");
    EXPECT_EQ(GgufBytes().start(0, 0, 4).refusal(), "model.gguf: is GGUF version 4; versions 2 and 3 are supported");
    EXPECT_EQ(GgufBytes().start(0, 0, 0).refusal(), "model.gguf: is GGUF version 0; versions 2 and 3 are supported");
}

TEST(GgufHostile, RefusesCountsBeyondTheFileBeforeReservingMemory) {
    expect_all(GgufBytes().start(0, 1ull << 60).data(100).refusal(),
               {"metadata", "1152921504606846976", "the 100 bytes"});
    expect_all(GgufBytes().start(~0ull, 0).data(100).refusal(),
               {"tensor table", "18446744073709551615", "the 100 bytes"});
}

TEST(GgufHostile, RefusesBadKeys) {
    expect_all(GgufBytes().start(0, 1).key("", Type::u64).put<uint64_t>(1).refusal(), {"entry 0", "0 bytes", "65535"});
    expect_all(GgufBytes().start(0, 1).key("a\nb", Type::u8).put<uint8_t>(1).refusal(), {"'a\\x0ab'", "3 bytes"});
    expect_all(GgufBytes().start(0, 1).key(std::string(70000, 'k'), Type::u8).put<uint8_t>(1).refusal(),
               {"70000 bytes", "65535", "..."});
    expect_all(GgufBytes().start(0, 1).put<uint64_t>(1ull << 40).data(50).refusal(),
               {"entry 0 of 1", "the key", "1099511627776", "50"});
}

TEST(GgufHostile, RefusesADuplicateKey) {
    const auto file = GgufBytes().start(0, 2).key("a.b", Type::u8).put<uint8_t>(1).key("a.b", Type::u8).put<uint8_t>(1);
    EXPECT_EQ(file.refusal(), "model.gguf: metadata key 'a.b' appears twice, the second time as entry 1 of 2");
}

TEST(GgufHostile, RefusesUnknownValueTypes) {
    EXPECT_EQ(GgufBytes().start(0, 1).key("a.b", static_cast<Type>(13)).data(20).refusal(),
              "model.gguf: metadata key 'a.b': the value type is number 13, but the types end at 12 (f64)");
    EXPECT_EQ(GgufBytes().start(0, 1).key("a.b", Type::array).array(static_cast<Type>(99), 1).data(20).refusal(),
              "model.gguf: metadata key 'a.b': the element type is number 99, but the types end at 12 (f64)");
}

TEST(GgufHostile, RefusesBoolsOtherThanZeroAndOne) {
    EXPECT_EQ(GgufBytes().start(0, 1).key("flag", Type::boolean).put<uint8_t>(2).data(9).refusal(),
              "model.gguf: metadata key 'flag': a bool is 0 or 1, but the file has 2");
    EXPECT_EQ(GgufBytes().start(0, 1).key("flags", Type::array).array(Type::boolean, 3).raw({"\1\0\xff", 3}).refusal(),
              "model.gguf: metadata key 'flags': a bool is 0 or 1, but element 2 of the array is 255");
}

TEST(GgufHostile, RefusesStringsAndArraysLongerThanTheFile) {
    expect_all(GgufBytes().start(0, 1).key("text", Type::string).put<uint64_t>(~0ull).data(7).refusal(),
               {"metadata key 'text'", "18446744073709551615", "7 are left"});
    // 2^61 elements of 8 bytes are 2^64 bytes: the product would be 0.
    expect_all(GgufBytes().start(0, 1).key("list", Type::array).array(Type::u64, 1ull << 61).data(64).refusal(),
               {"metadata key 'list'", "2305843009213693952", "8 bytes", "64 bytes"});
    expect_all(GgufBytes().start(0, 1).key("list", Type::array).array(Type::string, 1ull << 61).data(64).refusal(),
               {"metadata key 'list'", "2305843009213693952", "64 bytes"});
    expect_all(
        GgufBytes().start(0, 1).key("list", Type::array).array(Type::string, 2).text("ok").put<uint64_t>(9).refusal(),
        {"metadata key 'list'", "a string of the array needs 9 bytes", "0 are left"});
    expect_all(GgufBytes().start(0, 1).key("list", Type::array).array(Type::array, 1ull << 62).data(64).refusal(),
               {"metadata key 'list'", "4611686018427387904", "64 bytes"});
}

TEST(GgufHostile, BoundsTheNestingOfArrays) {
    const auto nested = [](int depth) {
        GgufBytes file;
        file.start(0, 1).key("deep", Type::array);
        for (int i = 1; i < depth; ++i) file.array(Type::array, 1);
        return file.array(Type::u8, 1).put<uint8_t>(5);
    };
    EXPECT_EQ(nested(kGgufMostNesting).refusal(), "");
    EXPECT_EQ(nested(kGgufMostNesting + 1).refusal(),
              "model.gguf: metadata key 'deep': arrays are nested 9 deep, the limit is 8");
    EXPECT_EQ(nested(100000).refusal(), "model.gguf: metadata key 'deep': arrays are nested 9 deep, the limit is 8");
}

TEST(GgufHostile, RefusesAlignmentsThatAreNoPowerOfTwo) {
    const auto aligned = [](uint32_t alignment) {
        return GgufBytes().start(0, 1).key("general.alignment", Type::u32).put<uint32_t>(alignment).refusal();
    };
    for (const uint32_t wrong : {0u, 3u, 48u, 1u << 21, ~0u}) {
        EXPECT_EQ(aligned(wrong),
                  fmt::format("model.gguf: metadata key 'general.alignment' is {}; a power of two from 1 "
                              "to 1048576 is needed",
                              wrong));
    }
    for (const uint32_t right : {1u, 8u, 4096u, 1u << 20}) EXPECT_EQ(aligned(right), "");
    EXPECT_EQ(GgufBytes().start(0, 1).key("general.alignment", Type::string).text("32").refusal(),
              "model.gguf: metadata key 'general.alignment' is of type string, but a non-negative integer is wanted");
    EXPECT_EQ(GgufBytes().start(0, 1).key("general.alignment", Type::i32).put<int32_t>(-32).refusal(),
              "model.gguf: metadata key 'general.alignment' is -32, but a non-negative integer is wanted");
}

// One tensor "w" and `data` bytes behind the padded header.
std::string refusal_of(const std::vector<uint64_t>& dimensions, uint32_t type, uint64_t offset, size_t data = 64) {
    return GgufBytes().start(1, 0).tensor("w", dimensions, type, offset).pad().data(data).refusal();
}

TEST(GgufHostile, AcceptsTheTensorThatTheOthersDistort) { EXPECT_EQ(refusal_of({8, 2}, kF32, 0), ""); }

TEST(GgufHostile, RefusesBadTensorNames) {
    const auto named = [](std::string_view name) {
        return GgufBytes().start(1, 0).tensor(name, {8}, kF32, 0).pad().data(64).refusal();
    };
    expect_all(named(""), {"tensor 0", "0 bytes", "1024"});
    expect_all(named("a\tb"), {"tensor 0", "'a\\x09b'", "3 bytes"});
    expect_all(named("\xff"), {"tensor 0", "'\\xff'", "1 bytes"});
    expect_all(named(std::string(1025, 'n')), {"tensor 0", "1025 bytes", "1024"});
    EXPECT_EQ(named("blk.0.é"), "");
}

TEST(GgufHostile, RefusesADuplicateTensor) {
    const auto file = GgufBytes()
                          .start(3, 0)
                          .tensor("a", {8}, kF32, 0)
                          .tensor("b", {8}, kF32, 32)
                          .tensor("a", {8}, kF32, 64)
                          .pad()
                          .data(96);
    EXPECT_EQ(file.refusal(), "model.gguf: tensor 'a' appears twice, as number 0 and number 2 of 3");
}

TEST(GgufHostile, RefusesDimensionCountsAndDimensionsOutOfRange) {
    EXPECT_EQ(refusal_of({}, kF32, 0), "model.gguf: tensor 'w' has 0 dimensions; 1 to 4 are supported");
    EXPECT_EQ(refusal_of({1, 1, 1, 1, 1}, kF32, 0), "model.gguf: tensor 'w' has 5 dimensions; 1 to 4 are supported");
    EXPECT_EQ(refusal_of({8, 0}, kF32, 0),
              "model.gguf: tensor 'w' has 0 as dimension 1; 1 to 9223372036854775807 is possible");
    EXPECT_EQ(refusal_of({1ull << 63}, kF32, 0),
              "model.gguf: tensor 'w' has 9223372036854775808 as dimension 0; 1 to 9223372036854775807 is possible");
}

TEST(GgufHostile, RefusesProductsThatOverflow) {
    // 2^32 * 2^32 is 0 in 64 bits, 2^31 * 2^31 * 4 weights is 0 as well; 2^61 + 1 weights of 4 bytes are 4 bytes.
    expect_all(refusal_of({1ull << 32, 1ull << 32}, kF32, 0),
               {"tensor 'w'", "[4294967296, 4294967296]", "2^63", "160 bytes"});
    expect_all(refusal_of({1ull << 31, 1ull << 31, 4}, kF32, 0), {"tensor 'w'", "2147483648", "2^63"});
    expect_all(refusal_of({(1ull << 61) + 1}, kF32, 0), {"tensor 'w'", "2305843009213693953 weights", "2^63 bytes"});
    expect_all(refusal_of({1ull << 60}, kF32, 0), {"tensor 'w'", "4611686018427387904 bytes", "byte 128"});
}

TEST(GgufHostile, RefusesRowsThatAreNoMultipleOfTheBlock) {
    EXPECT_EQ(refusal_of({128, 2}, kQ4K, 0),
              "model.gguf: tensor 'w' has rows of 128 weights, not a multiple of the 256 in a block of q4_k");
}

TEST(GgufHostile, RefusesUnknownTensorTypesByNumber) {
    expect_all(refusal_of({256}, 19, 0),
               {"tensor 'w'", "type 19 (iq1_s)", "supported are f32, f16, bf16, q4_0", "nvfp4"});
    expect_all(refusal_of({256}, 777, 0), {"tensor 'w'", "type 777 (unknown)"});
    expect_all(refusal_of({256}, 4, 0), {"type 4 (unknown)"});  // removed long ago from the list of types
}

TEST(GgufHostile, RefusesUnalignedOffsets) {
    EXPECT_EQ(refusal_of({8}, kF32, 16),
              "model.gguf: tensor 'w' starts at offset 16, not a multiple of the alignment 32");
}

TEST(GgufHostile, RejectsTensorPastEndOfFile) {
    EXPECT_EQ(refusal_of({16}, kF32, 0, 64), "");
    EXPECT_EQ(refusal_of({16}, kF32, 0, 63),
              "model.gguf: tensor 'w' has 64 bytes at offset 0 of the data, which starts at byte 64, but the file ends "
              "at byte "
              "127; it is damaged or incomplete");
    expect_all(refusal_of({16}, kF32, 32, 64), {"tensor 'w'", "64 bytes at offset 32", "ends at byte 128"});
    expect_all(refusal_of({16}, kF32, ~0ull - 31, 64), {"tensor 'w'", "18446744073709551584", "ends at byte 128"});
    // The padding before the data is missing as well.
    expect_all(GgufBytes().start(1, 0).tensor("w", {8}, kF32, 0).refusal(),
               {"tensor 'w'", "starts at byte 64", "byte 57"});
}

TEST(GgufHostile, RefusesOverlappingTensors) {
    const auto pair = [](uint64_t second) {
        return GgufBytes()
            .start(2, 0)
            .tensor("a", {16}, kF32, 0)
            .tensor("b", {8}, kF32, second)
            .pad()
            .data(128)
            .refusal();
    };
    EXPECT_EQ(pair(64), "");
    EXPECT_EQ(pair(96), "");  // a gap is harmless
    EXPECT_EQ(pair(32),
              "model.gguf: tensors 'a' and 'b' overlap: the first ends at byte 160, the second begins at byte 128");
    expect_all(pair(0), {"'a'", "'b'", "overlap"});
}

TEST(GgufHostile, RefusesAPartOfASetInMemoryAndAbsurdPartCounts) {
    EXPECT_EQ(GgufBytes().start(0, 1).key("split.count", Type::u16).put<uint16_t>(3).refusal(),
              "model.gguf: is one of 3 parts, which can only be opened as files");
    EXPECT_EQ(GgufBytes().start(0, 1).key("split.count", Type::u32).put<uint32_t>(100000).refusal(),
              "model.gguf: metadata key 'split.count' is 100000; at most 99999 parts are possible");
}

}  // namespace
}  // namespace invar
