// Every way in which a SafeTensors header can lie, one hand-made file each: the refusal is one sentence that names the
// file, the tensor, and the two numbers that disagree. Then a small file cut at every byte, and changed at every byte.
#include <gtest/gtest.h>

#include "files/safetensors_bytes.h"

namespace invar {
namespace {

constexpr std::string_view kDamaged = "; the file is damaged or incomplete";

std::string one(std::string_view shape, std::string_view offsets, size_t data, std::string_view dtype = "\"F32\"") {
    return safetensors_refusal(
        fmt::format(R"({{"w":{{"dtype":{},"shape":{},"data_offsets":{}}}}})", dtype, shape, offsets), data);
}

TEST(SafeTensorsHostile, AcceptsTheTensorThatTheOthersDistort) {
    EXPECT_EQ(one("[2,3]", "[0,24]", 24), "");
    EXPECT_EQ(safetensors_refusal("{}", 0), "");
    EXPECT_EQ(safetensors_refusal("{\"__metadata__\":{}}   ", 0), "");
}

TEST(SafeTensorsHostile, RefusesLengthsBeyondTheFileAndTheLimit) {
    EXPECT_EQ(safetensors_refusal("abc"),
              "x.safetensors: has 3 bytes, but a SafeTensors file begins with a length of 8; the file is damaged or "
              "incomplete");
    EXPECT_EQ(safetensors_refusal(std::string("\x09\0\0\0\0\0\0\0{}", 10)),
              "x.safetensors: the header has 9 bytes, but 2 are left in the file; the file is damaged or incomplete");
    EXPECT_EQ(
        safetensors_refusal(std::string("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10)),
        "x.safetensors: is not a SafeTensors file: its header would have 18446744073709551615 bytes, the limit is "
        "100000000");
    EXPECT_EQ(safetensors_refusal(std::string("\0\0\0\0\0\0\0\0", 8)),
              "x.safetensors: is not a SafeTensors file: its header begins with '' and not with '{'");
    EXPECT_EQ(safetensors_refusal("[]", 0),
              "x.safetensors: is not a SafeTensors file: its header begins with '[' and not with '{'");
    EXPECT_EQ(safetensors_refusal(" {}", 0),
              "x.safetensors: is not a SafeTensors file: its header begins with ' ' and not with '{'");
}

TEST(SafeTensorsHostile, RefusesWhatIsNotJson) {
    EXPECT_EQ(safetensors_refusal("{", 0),
              "x.safetensors: the header is not valid JSON at its byte 2; the file is damaged");
    EXPECT_EQ(safetensors_refusal("{}x", 0),
              "x.safetensors: the header is not valid JSON at its byte 3; the file is damaged");
    EXPECT_EQ(safetensors_refusal(std::string("{}\0}", 4), 0),
              "x.safetensors: the header is not valid JSON at its byte 2; the file is damaged");
    EXPECT_EQ(safetensors_refusal("{\"\xff\":1}", 0),
              "x.safetensors: the header is not valid JSON at its byte 3; the file is damaged");
    // A parser that recursed would need 50 million frames.
    EXPECT_EQ(safetensors_refusal("{\"a\":" + std::string(50'000'000, '['), 0),
              "x.safetensors: 'a' is an array instead of an object");
}

TEST(SafeTensorsHostile, RefusesValuesOfTheWrongKind) {
    EXPECT_EQ(safetensors_refusal(R"({"w":5})", 0), "x.safetensors: 'w' is a number instead of an object");
    EXPECT_EQ(safetensors_refusal(R"({"__metadata__":"x"})", 0),
              "x.safetensors: '__metadata__' is a string instead of an object");
    EXPECT_EQ(safetensors_refusal(R"({"__metadata__":{"k":1}})", 0),
              "x.safetensors: metadata 'k' is a number, but the format allows strings only");
    EXPECT_EQ(safetensors_refusal(R"({"__metadata__":{"k":{}}})", 0),
              "x.safetensors: metadata 'k' is an object, but the format allows strings only");
    EXPECT_EQ(safetensors_refusal(R"({"w":{}})", 0), "x.safetensors: tensor 'w' has no 'dtype'; the file is damaged");
    EXPECT_EQ(safetensors_refusal(R"({"w":{"dtype":"F32","shape":[]}})", 4),
              "x.safetensors: tensor 'w' has no 'data_offsets'; the file is damaged");
    EXPECT_EQ(safetensors_refusal(R"({"w":{"dtype":"F32","dtype":"F32"}})", 4), "x.safetensors: 'w' has 'dtype' twice");
    EXPECT_EQ(safetensors_refusal(R"({"w":{"strides":[1]}})", 4),
              "x.safetensors: tensor 'w' has a field 'strides'; only dtype, shape and data_offsets are known");
    EXPECT_EQ(one("[2,3]", "[0,24]", 24, "7"),
              "x.safetensors: tensor 'w' has a number in 'dtype', but a string is needed");
    const std::string list = ", but a list of whole numbers from 0 is needed";
    EXPECT_EQ(one("6", "[0,24]", 24), "x.safetensors: tensor 'w' has a number in 'shape'" + list);
    EXPECT_EQ(one("[-6]", "[0,24]", 24), "x.safetensors: tensor 'w' has the number -6 in 'shape'" + list);
    EXPECT_EQ(one("[6.0]", "[0,24]", 24), "x.safetensors: tensor 'w' has the number 6.0 in 'shape'" + list);
    EXPECT_EQ(one("[[6]]", "[0,24]", 24), "x.safetensors: tensor 'w' has an array in 'shape'" + list);
    EXPECT_EQ(one("[null]", "[0,24]", 24), "x.safetensors: tensor 'w' has null in 'shape'" + list);
    EXPECT_EQ(one("[6]", "[0,18446744073709551616]", 24),
              "x.safetensors: tensor 'w' has the number 18446744073709551616 in 'data_offsets'" + list);
    EXPECT_EQ(one("[6]", "[24]", 24), "x.safetensors: tensor 'w' has 1 data_offsets instead of 2");
    EXPECT_EQ(one("[6]", "[0,12,24]", 24), "x.safetensors: tensor 'w' has 3 data_offsets instead of 2");
}

TEST(SafeTensorsHostile, RefusesDuplicates) {
    const std::string entry = R"("w":{"dtype":"I8","shape":[1],"data_offsets":[0,1]})";
    EXPECT_EQ(safetensors_refusal("{" + entry + "," + entry + "}", 1),
              "x.safetensors: 'w' appears twice in the header, the second time as entry 1");
    EXPECT_EQ(safetensors_refusal(R"({"__metadata__":{},"__metadata__":{}})", 0),
              "x.safetensors: '__metadata__' appears twice in the header, the second time as entry 0");
    EXPECT_EQ(safetensors_refusal(R"({"__metadata__":{"k":"1","k":"2"}})", 0),
              "x.safetensors: '__metadata__' has 'k' twice");
}

TEST(SafeTensorsHostile, RefusesSizesThatDisagree) {
    EXPECT_EQ(one("[2,3]", "[0,20]", 20),
              "x.safetensors: tensor 'w' of shape [2, 3] in F32 needs 24 bytes, but its data_offsets span 20");
    EXPECT_EQ(one("[2,3]", "[24,0]", 24), "x.safetensors: tensor 'w' begins at offset 24 and ends before it, at 0");
    EXPECT_EQ(one("[3]", "[0,2]", 2, "\"F4\""),
              "x.safetensors: tensor 'w' of shape [3] in F4 has 12 bits, not a multiple of 8");
    // 2^32 x 2^32 elements are 0 in 64 bits; 2^62 elements of 4 bytes are 0 bytes.
    EXPECT_EQ(
        one("[4294967296,4294967296]", "[0,0]", 0),
        "x.safetensors: tensor 'w' has the shape [4294967296, 4294967296], which is more than 2^63 elements, in 0 "
        "bytes");
    EXPECT_EQ(one("[4611686018427387904]", "[0,0]", 0),
              "x.safetensors: tensor 'w' of shape [4611686018427387904] in F32 has more than 2^63 bits, but 0 bytes");
    EXPECT_EQ(one("[9223372036854775808]", "[0,0]", 0),
              "x.safetensors: tensor 'w' has 9223372036854775808 as dimension 0; at most 9223372036854775807 is "
              "possible");
    EXPECT_EQ(one("[9223372036854775807,0,9223372036854775807]", "[0,0]", 0), "");
    std::string many = "[1";
    for (int i = 0; i < 64; ++i) many += ",1";
    EXPECT_EQ(one(many + "]", "[0,4]", 4), "x.safetensors: tensor 'w' has more than 64 dimensions");
}

TEST(SafeTensorsHostile, RefusesGapsOverlapsAndBytesBeyondTheFile) {
    const auto pair = [](std::string_view a, std::string_view b, size_t data) {
        return safetensors_refusal(fmt::format(R"({{"a":{{"dtype":"I8","shape":[4],"data_offsets":{}}},)"
                                               R"("b":{{"dtype":"I8","shape":[4],"data_offsets":{}}}}})",
                                               a, b),
                                   data);
    };
    EXPECT_EQ(pair("[0,4]", "[4,8]", 8), "");
    EXPECT_EQ(pair("[4,8]", "[0,4]", 8), "");
    EXPECT_EQ(pair("[0,4]", "[3,7]", 7),
              "x.safetensors: tensors 'a' and 'b' overlap: the first ends at offset 4, the second begins at 3");
    EXPECT_EQ(pair("[0,4]", "[0,4]", 4),
              "x.safetensors: tensors 'a' and 'b' overlap: the first ends at offset 4, the second begins at 0");
    EXPECT_EQ(pair("[0,4]", "[5,9]", 9),
              "x.safetensors: tensor 'b' begins at offset 5, but the bytes before it end at 4: a gap is not allowed");
    EXPECT_EQ(pair("[1,5]", "[5,9]", 9),
              "x.safetensors: tensor 'a' begins at offset 1, but the bytes before it end at 0: a gap is not allowed");
    EXPECT_EQ(pair("[0,4]", "[4,8]", 7),
              "x.safetensors: tensor 'b' ends at offset 8 of the data, but the file has 7 bytes of data" +
                  std::string(kDamaged));
    EXPECT_EQ(pair("[0,4]", "[18446744073709551611,18446744073709551615]", 8),
              "x.safetensors: tensor 'b' ends at offset 18446744073709551615 of the data, but the file has 8 bytes of "
              "data" +
                  std::string(kDamaged));
    EXPECT_EQ(pair("[0,4]", "[4,8]", 9),
              "x.safetensors: the tensors end at offset 8 of the data, but the file has 9 bytes of data" +
                  std::string(kDamaged));
    EXPECT_EQ(safetensors_refusal("{}", 1),
              "x.safetensors: the tensors end at offset 0 of the data, but the file has 1 bytes of data" +
                  std::string(kDamaged));
}

const std::string kSmall = safetensors_bytes(R"({"__metadata__":{"tokens":"[1, 2]"},)"
                                             R"("a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
                                             R"("b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},)"
                                             R"("ids":{"dtype":"Q7","shape":[1,2],"data_offsets":[32,40]}}   )",
                                             40);

TEST(SafeTensorsHostile, RefusesAFileCutAtAnyByte) {
    ASSERT_EQ(safetensors_refusal(kSmall), "");
    for (size_t size = 0; size < kSmall.size(); ++size) {
        // A copy of exactly this size: reading past it is seen by the address sanitizer.
        const std::string cut(kSmall.data(), size);
        expect_one_sentence(safetensors_refusal(cut), "x.safetensors: ");
    }
}

TEST(SafeTensorsHostile, ReadsOrRefusesAFileChangedAtAnyByte) {
    ASSERT_EQ(safetensors_refusal(kSmall), "");
    int accepted = 0, refused = 0;
    const size_t header_end = kSmall.size() - 40;
    for (size_t place = 0; place < kSmall.size(); ++place) {
        for (int change = 1; change < 256; ++change) {
            std::string changed = kSmall;
            changed[place] = static_cast<char>(changed[place] ^ change);
            const auto file = SafeTensorsFile::from_bytes(std::as_bytes(std::span(changed)), "x.safetensors");
            if (!file) {
                ++refused;
                expect_one_sentence(file.error().message, "x.safetensors: ");
                EXPECT_LT(place, header_end) << "the data may hold anything";
                continue;
            }
            ++accepted;
            uint64_t bytes = 0;
            for (const SafeTensor& tensor : file->tensors()) {
                ASSERT_LE(tensor.file_offset + tensor.bytes, changed.size());
                bytes += tensor.bytes;
            }
            EXPECT_EQ(bytes, 40u);
        }
    }
    EXPECT_EQ(accepted + refused, static_cast<int>(kSmall.size()) * 255);
    EXPECT_GT(accepted, 40 * 255);  // the data, and letters of names
    EXPECT_GT(refused, 20000);
}

}  // namespace
}  // namespace invar
