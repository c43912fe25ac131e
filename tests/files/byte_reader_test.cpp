// ByteReader: values, bounds, and lengths chosen so that careless sums or products would wrap around.
#include "files/byte_reader.h"

#include <gtest/gtest.h>

#include <vector>

namespace invar {
namespace {

std::vector<std::byte> counting(size_t count) {
    std::vector<std::byte> bytes(count);
    for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(i + 1);
    return bytes;
}

TEST(ByteReader, ReadsLittleEndianValuesInTurn) {
    const auto bytes = counting(15);
    ByteReader reader(bytes, "f");
    EXPECT_EQ(reader.read<uint8_t>("a").value(), 1);
    EXPECT_EQ(reader.read<uint16_t>("b").value(), 0x0302);
    EXPECT_EQ(reader.read<uint32_t>("c").value(), 0x07060504u);
    EXPECT_EQ(reader.read<uint64_t>("d").value(), 0x0f0e0d0c0b0a0908u);
    EXPECT_EQ(reader.remaining(), 0u);
    EXPECT_EQ(reader.read<uint8_t>("e").error().message,
              "f: e needs 1 bytes at offset 15 but 0 are left of 15; the file is damaged or incomplete");
}

TEST(ByteReader, DoesNotMoveWhenAReadFails) {
    const auto bytes = counting(10);
    ByteReader reader(bytes, "f");
    reader.set_place("here");
    ASSERT_TRUE(reader.take(4, "start"));
    EXPECT_FALSE(reader.read<uint64_t>("eight"));
    EXPECT_FALSE(reader.take(7, "seven"));
    EXPECT_EQ(reader.take(UINT64_MAX, "all").error().message,
              "f: here: all needs 18446744073709551615 bytes at offset 4 but 6 are left of 10; the file is damaged or "
              "incomplete");
    EXPECT_FALSE(reader.take_array(UINT64_MAX / 4 + 2, 4, "wrapping product"));  // the product is 4 in 64 bits
    EXPECT_EQ(reader.offset(), 4u);
    EXPECT_EQ(reader.take_array(3, 2, "pairs")->size(), 6u);
}

TEST(ByteReader, ReadsStringsByTheirLength) {
    std::vector<std::byte> bytes(8 + 3);
    bytes[0] = std::byte{3};
    for (int i = 0; i < 3; ++i) bytes[static_cast<size_t>(8 + i)] = static_cast<std::byte>('a' + i);
    ByteReader reader(bytes, "f");
    EXPECT_EQ(reader.read_string("text").value(), "abc");
    bytes[0] = std::byte{4};
    ByteReader longer(bytes, "f");
    EXPECT_EQ(longer.read_string("text").error().message,
              "f: text needs 4 bytes at offset 8 but 3 are left of 11; the file is damaged or incomplete");
}

}  // namespace
}  // namespace invar
