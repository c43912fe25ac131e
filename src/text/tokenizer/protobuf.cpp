// Read protobuf.h first.
#include "text/tokenizer/protobuf.h"

#include <bit>

namespace invar {

float ProtobufField::real() const { return std::bit_cast<float>(static_cast<uint32_t>(value)); }

Result<uint64_t> ProtobufReader::varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (rest_.empty()) return fail("the bytes end inside a number");
        const auto byte = static_cast<uint8_t>(rest_[0]);
        rest_.remove_prefix(1);
        value |= static_cast<uint64_t>(byte & 0x7F) << shift;
        if (byte < 0x80) return value;
    }
    return fail("a number has more than ten bytes");
}

Result<uint64_t> ProtobufReader::fixed(size_t bytes) {
    if (rest_.size() < bytes) return fail("the bytes end inside a number");
    uint64_t value = 0;
    for (size_t i = bytes; i-- > 0;) value = value << 8 | static_cast<uint8_t>(rest_[i]);
    rest_.remove_prefix(bytes);
    return value;
}

Result<ProtobufField> ProtobufReader::next() {
    TRY_ASSIGN(const uint64_t tag, varint());
    ProtobufField field;
    if (tag >> 3 == 0 || tag >> 3 > 0x1FFFFFFF) return fail("a field has the number {}", tag >> 3);
    field.number = static_cast<uint32_t>(tag >> 3);
    switch (tag & 7) {
        case 0: {
            TRY_ASSIGN(field.value, varint());
            break;
        }
        case 1: {
            field.type = ProtobufField::Type::fixed64;
            TRY_ASSIGN(field.value, fixed(8));
            break;
        }
        case 2: {
            field.type = ProtobufField::Type::bytes;
            TRY_ASSIGN(const uint64_t size, varint());
            if (size > rest_.size())
                return fail("field {} has {} bytes, but {} are left", field.number, size, rest_.size());
            field.bytes = rest_.substr(0, size);
            rest_.remove_prefix(size);
            break;
        }
        case 5: {
            field.type = ProtobufField::Type::fixed32;
            TRY_ASSIGN(field.value, fixed(4));
            break;
        }
        default:
            return fail("field {} has the wire type {}", field.number, tag & 7);
    }
    return field;
}

}  // namespace invar
