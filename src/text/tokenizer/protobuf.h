// Reads the wire format of protocol buffers as far as a sentencepiece model needs it: the fields of a message, one
// after another. Every length is checked against the bytes that exist.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace invar {

struct ProtobufField {
    enum class Type : uint8_t { varint, fixed64, bytes, fixed32 };
    uint32_t number = 0;
    Type type = Type::varint;
    uint64_t value = 0;      // of varint, fixed64 and fixed32
    std::string_view bytes;  // a text or a message

    bool flag() const { return value != 0; }
    int32_t integer() const { return static_cast<int32_t>(static_cast<uint32_t>(value)); }
    float real() const;
};

class ProtobufReader {
  public:
    explicit ProtobufReader(std::string_view message) : rest_(message) {}
    bool done() const { return rest_.empty(); }
    // Errors: the bytes end inside the field; its type does not exist or is obsolete.
    Result<ProtobufField> next();

  private:
    Result<uint64_t> varint();
    Result<uint64_t> fixed(size_t bytes);
    std::string_view rest_;
};

}  // namespace invar
