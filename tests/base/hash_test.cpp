// Hashes of bytes against digests that XXH3's specification publishes, and pieces against the whole.
#include "base/hash.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace invar {
namespace {

TEST(Hash, OfNothingIsThePublishedDigest) { EXPECT_EQ(hash_of({}), "xxh3:99aa06d3014798d86001c324468d497f"); }

// The value is the Python package xxhash's.
TEST(Hash, ShortHashIsXxh3InSixtyFourBits) {
    std::vector<std::byte> bytes(1000);
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 7 % 251);
    EXPECT_EQ(short_hash_of(bytes), 0xd1eb8367bf3294e7u);
}

TEST(Hash, OfPiecesIsThatOfTheWhole) {
    std::vector<std::byte> bytes(100003);
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 2654435761u >> 13);
    const std::string whole = hash_of(bytes);
    for (const size_t cut : {size_t{0}, size_t{1}, size_t{255}, size_t{100002}}) {
        Hasher hasher;
        hasher.add(std::span(bytes).first(cut));
        hasher.add(std::span(bytes).subspan(cut));
        EXPECT_EQ(hasher.text(), whole) << cut;
    }
    bytes[50000] ^= std::byte{1};
    EXPECT_NE(hash_of(bytes), whole);
}

TEST(Hash, OfAMissingFileIsAnErrorThatNamesIt) {
    const Result<FileHash> hash = hash_of_file("/nowhere/model.gguf");
    ASSERT_FALSE(hash);
    EXPECT_NE(hash.error().message.find("/nowhere/model.gguf"), std::string::npos);
}

}  // namespace
}  // namespace invar
