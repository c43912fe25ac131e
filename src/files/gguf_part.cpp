// Parses the header: see gguf_part.h. It trusts nothing: counts are compared with the bytes left before memory is
// reserved, products and sums are formed with overflow checks, and nesting is bounded.
#include "files/gguf_part.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>
#include <unordered_map>
#include <utility>

#include "files/byte_reader.h"
#include "files/gguf.h"
#include "files/printable.h"

namespace invar {

namespace {

constexpr size_t kLeastEntryBytes = 8 + 1 + 4 + 1;           // key length, one byte of key, type, one byte of value
constexpr size_t kLeastTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;  // name, dimension count, one dimension, type, offset

// Names of ggml's tensor types that are not formats of ours, for messages.
struct ForeignType {
    uint32_t number;
    std::string_view name;
};
constexpr std::array kForeignTypes{
    ForeignType{9, "q8_1"},     ForeignType{15, "q8_k"},  ForeignType{16, "iq2_xxs"}, ForeignType{17, "iq2_xs"},
    ForeignType{18, "iq3_xxs"}, ForeignType{19, "iq1_s"}, ForeignType{21, "iq3_s"},   ForeignType{22, "iq2_s"},
    ForeignType{24, "i8"},      ForeignType{25, "i16"},   ForeignType{26, "i32"},     ForeignType{27, "i64"},
    ForeignType{28, "f64"},     ForeignType{29, "iq1_m"}, ForeignType{34, "tq1_0"},   ForeignType{35, "tq2_0"},
};

std::string supported_formats() {
    std::string names;
    for (const Format* each : formats())
        if (each->in_gguf()) names += (names.empty() ? "" : ", ") + std::string(each->name);
    return names;
}

uint64_t padded(uint64_t offset, uint64_t alignment) { return (offset + alignment - 1) / alignment * alignment; }

class Parser {
  public:
    Parser(std::span<const std::byte> bytes, const std::string& file)
        : bytes_(bytes), file_(file), reader_(bytes, file), part_{0, kGgufDefaultAlignment, Metadata(file), {}} {}

    Result<GgufPart> parse();

  private:
    // One row of the tensor table. The offset is relative to the data section, whose start is known only at the end.
    struct Entry {
        TensorInfo info;
        uint64_t offset;
    };

    Result<void> read_start();
    Result<void> read_metadata_entry(uint64_t index);
    Result<MetadataValue> read_value(MetadataType type, int depth);
    Result<void> skip_array(int depth);
    Result<MetadataType> read_type(const char* what);
    Result<void> read_alignment();
    Result<Entry> read_tensor_entry(uint64_t index);
    Result<void> measure(TensorInfo& info);
    Result<void> place_tensors(std::vector<Entry> entries);
    Result<void> refuse_overlaps() const;

    std::span<const std::byte> bytes_;
    const std::string& file_;
    ByteReader reader_;
    GgufPart part_;
    uint64_t tensor_count_ = 0;
    uint64_t entry_count_ = 0;
};

Result<GgufPart> Parser::parse() {
    TRY(read_start());
    for (uint64_t i = 0; i < entry_count_; ++i) TRY(read_metadata_entry(i));
    TRY(read_alignment());

    std::vector<Entry> entries;
    entries.reserve(tensor_count_);
    std::unordered_map<std::string_view, uint64_t> seen;
    for (uint64_t i = 0; i < tensor_count_; ++i) {
        TRY_ASSIGN(Entry entry, read_tensor_entry(i));
        entries.push_back(std::move(entry));  // reserved above: the names, and the views in `seen`, stay in place
        const auto [first, fresh] = seen.emplace(entries.back().info.name, i);
        if (!fresh) {
            return fail("{}: tensor '{}' appears twice, as number {} and number {} of {}", file_,
                        printable(first->first), first->second, i, tensor_count_);
        }
    }
    TRY(place_tensors(std::move(entries)));
    TRY(refuse_overlaps());
    return std::move(part_);
}

Result<void> Parser::read_start() {
    reader_.set_place("header");
    TRY_ASSIGN(const uint32_t magic, reader_.read<uint32_t>("the magic number"));
    if (magic != kGgufMagic) {
        const std::string_view start(reinterpret_cast<const char*>(bytes_.data()), sizeof(magic));
        return fail("{}: is not a GGUF file: it begins with '{}' and not with 'GGUF'", file_, printable(start));
    }
    TRY_ASSIGN(part_.version, reader_.read<uint32_t>("the version"));
    // The writer's byte order shows in the version: 3 written big-endian reads as 0x03000000.
    if (part_.version != 0 && (part_.version & 0xFFFF) == 0) {
        return fail(ErrorKind::unsupported,
                    "{}: is a big-endian GGUF file (version {:#010x}); only little-endian files are supported", file_,
                    part_.version);
    }
    if (part_.version == 1) {
        return fail(
            ErrorKind::unsupported,
            "{}: is GGUF version 1, which has 32-bit lengths and is long replaced; versions 2 and 3 are supported",
            file_);
    }
    if (part_.version != 2 && part_.version != 3) {
        return fail(ErrorKind::unsupported, "{}: is GGUF version {}; versions 2 and 3 are supported", file_,
                    part_.version);
    }
    TRY_ASSIGN(tensor_count_, reader_.read<uint64_t>("the tensor count"));
    TRY_ASSIGN(entry_count_, reader_.read<uint64_t>("the metadata count"));
    if (entry_count_ > reader_.remaining() / kLeastEntryBytes) {
        return reader_.too_many("metadata", entry_count_, kLeastEntryBytes);
    }
    if (tensor_count_ > reader_.remaining() / kLeastTensorBytes) {
        return reader_.too_many("a tensor table", tensor_count_, kLeastTensorBytes);
    }
    return {};
}

Result<MetadataType> Parser::read_type(const char* what) {
    TRY_ASSIGN(const uint32_t type, reader_.read<uint32_t>(what));
    if (type >= kMetadataTypeCount) {
        return fail("{}: {}: {} is number {}, but the types end at {} ({})", file_, reader_.place(), what, type,
                    kMetadataTypeCount - 1, name_of(MetadataType::f64));
    }
    return static_cast<MetadataType>(type);
}

Result<void> Parser::read_metadata_entry(uint64_t index) {
    reader_.set_place(fmt::format("metadata entry {} of {}", index, entry_count_));
    TRY_ASSIGN(const std::string_view key, reader_.read_string("the key"));
    const bool plain = std::all_of(key.begin(), key.end(), [](char c) { return c > ' ' && c < 0x7F; });
    if (key.empty() || key.size() > kGgufMostKeyBytes || !plain) {
        return fail("{}: metadata entry {} has the key '{}' of {} bytes; keys are 1 to {} printable ASCII characters",
                    file_, index, printable(key), key.size(), kGgufMostKeyBytes);
    }
    reader_.set_place(fmt::format("metadata key '{}'", printable(key)));
    TRY_ASSIGN(const MetadataType type, read_type("the value type"));
    TRY_ASSIGN(const MetadataValue value, read_value(type, 0));
    if (!part_.metadata.add(key, value)) {
        return fail("{}: metadata key '{}' appears twice, the second time as entry {} of {}", file_, printable(key),
                    index, entry_count_);
    }
    return {};
}

Result<MetadataValue> Parser::read_value(MetadataType type, int depth) {
    const size_t begin = reader_.offset();
    if (type == MetadataType::array) {
        TRY(skip_array(depth));
    } else if (type == MetadataType::string) {
        TRY(reader_.read_string("its text"));
    } else {
        TRY_ASSIGN(const auto payload, reader_.take(static_cast<uint64_t>(bytes_of(type)), "its value"));
        if (type == MetadataType::boolean && std::to_integer<int>(payload[0]) > 1) {
            return fail("{}: {}: a bool is 0 or 1, but the file has {}", file_, reader_.place(),
                        std::to_integer<int>(payload[0]));
        }
    }
    return MetadataValue(type, bytes_.subspan(begin, reader_.offset() - begin));
}

Result<void> Parser::skip_array(int depth) {
    if (depth >= kGgufMostNesting) {
        return fail("{}: {}: arrays are nested {} deep, the limit is {}", file_, reader_.place(), depth + 1,
                    kGgufMostNesting);
    }
    TRY_ASSIGN(const MetadataType element, read_type("the element type"));
    TRY_ASSIGN(const uint64_t count, reader_.read<uint64_t>("the element count"));
    if (element == MetadataType::string) {
        if (count > reader_.remaining() / sizeof(uint64_t))
            return reader_.too_many("an array", count, sizeof(uint64_t));
        for (uint64_t i = 0; i < count; ++i) TRY(reader_.read_string("a string of the array"));
        return {};
    }
    if (element == MetadataType::array) {
        constexpr size_t kLeast = 12;  // element type and count
        if (count > reader_.remaining() / kLeast) return reader_.too_many("an array", count, kLeast);
        for (uint64_t i = 0; i < count; ++i) TRY(skip_array(depth + 1));
        return {};
    }
    TRY_ASSIGN(const auto elements, reader_.take_array(count, static_cast<uint64_t>(bytes_of(element)), "an array"));
    if (element == MetadataType::boolean) {
        const auto wrong = std::find_if(elements.begin(), elements.end(), [](std::byte b) { return b > std::byte{1}; });
        if (wrong != elements.end()) {
            return fail("{}: {}: a bool is 0 or 1, but element {} of the array is {}", file_, reader_.place(),
                        wrong - elements.begin(), std::to_integer<int>(*wrong));
        }
    }
    return {};
}

Result<void> Parser::read_alignment() {
    constexpr std::string_view kKey = "general.alignment";
    if (!part_.metadata.has(kKey)) return {};
    TRY_ASSIGN(const uint64_t alignment, part_.metadata.integer(kKey));
    if (!std::has_single_bit(alignment) || alignment > kGgufMostAlignment) {
        return fail("{}: metadata key '{}' is {}; a power of two from 1 to {} is needed", file_, kKey, alignment,
                    kGgufMostAlignment);
    }
    part_.alignment = static_cast<uint32_t>(alignment);
    return {};
}

Result<Parser::Entry> Parser::read_tensor_entry(uint64_t index) {
    reader_.set_place(fmt::format("tensor {} of {}", index, tensor_count_));
    TRY_ASSIGN(const std::string_view name, reader_.read_string("the name"));
    const bool clean = std::none_of(name.begin(), name.end(), [](char c) { return (c >= 0 && c < ' ') || c == 0x7F; });
    if (name.empty() || name.size() > kGgufMostTensorNameBytes || !clean || !is_utf8(name)) {
        return fail(
            "{}: tensor {} has the name '{}' of {} bytes; names are 1 to {} bytes of UTF-8 without control characters",
            file_, index, printable(name), name.size(), kGgufMostTensorNameBytes);
    }
    reader_.set_place(fmt::format("tensor '{}'", printable(name)));
    TRY_ASSIGN(const uint32_t dimensions, reader_.read<uint32_t>("the dimension count"));
    if (dimensions < 1 || dimensions > kGgufMostDimensions) {
        return fail("{}: tensor '{}' has {} dimensions; 1 to {} are supported", file_, printable(name), dimensions,
                    kGgufMostDimensions);
    }
    Entry entry{};
    entry.info.name = name;
    entry.info.shape.resize(dimensions);
    for (uint32_t i = 0; i < dimensions; ++i) {
        TRY_ASSIGN(const uint64_t extent, reader_.read<uint64_t>("a dimension"));
        if (extent == 0 || extent > static_cast<uint64_t>(INT64_MAX)) {
            return fail("{}: tensor '{}' has {} as dimension {}; 1 to {} is possible", file_, printable(name), extent,
                        i, INT64_MAX);
        }
        entry.info.shape[dimensions - 1 - i] = static_cast<int64_t>(extent);  // GGUF lists the contiguous one first
    }
    TRY_ASSIGN(const uint32_t type, reader_.read<uint32_t>("the tensor type"));
    entry.info.format = find_format_by_gguf_type(type);
    if (entry.info.format == nullptr) {
        const auto foreign = std::find_if(kForeignTypes.begin(), kForeignTypes.end(),
                                          [&](const ForeignType& each) { return each.number == type; });
        return fail(
            ErrorKind::unsupported, "{}: tensor '{}' has type {} ({}), which is not supported; supported are {}", file_,
            printable(name), type, foreign == kForeignTypes.end() ? "unknown" : foreign->name, supported_formats());
    }
    TRY_ASSIGN(entry.offset, reader_.read<uint64_t>("the offset"));
    TRY(measure(entry.info));
    return entry;
}

// Computes the number of bytes, and refuses shapes that do not fit the block or 63 bits.
Result<void> Parser::measure(TensorInfo& info) {
    const Format& format = *info.format;
    if (info.columns() % format.block_weights != 0) {
        return fail("{}: tensor '{}' has rows of {} weights, not a multiple of the {} in a block of {}", file_,
                    printable(info.name), info.columns(), format.block_weights, format.name);
    }
    int64_t weights = 1;
    for (const int64_t extent : info.shape) {
        if (__builtin_mul_overflow(weights, extent, &weights)) {
            return fail("{}: tensor '{}' has dimensions [{}], whose product is beyond 2^63; the file has {} bytes",
                        file_, printable(info.name), fmt::join(info.shape, ", "), bytes_.size());
        }
    }
    int64_t bytes = 0;
    if (__builtin_mul_overflow(weights / format.block_weights, int64_t{format.block_bytes}, &bytes)) {
        return fail("{}: tensor '{}' has {} weights, in {} more than 2^63 bytes; the file has {} bytes", file_,
                    printable(info.name), weights, format.name, bytes_.size());
    }
    info.bytes = static_cast<uint64_t>(bytes);
    return {};
}

Result<void> Parser::place_tensors(std::vector<Entry> entries) {
    const uint64_t size = bytes_.size();
    const uint64_t data_start = padded(reader_.offset(), part_.alignment);
    part_.tensors.reserve(entries.size());
    for (Entry& entry : entries) {
        TensorInfo& info = entry.info;
        if (entry.offset % part_.alignment != 0) {
            return fail("{}: tensor '{}' starts at offset {}, not a multiple of the alignment {}", file_,
                        printable(info.name), entry.offset, part_.alignment);
        }
        if (data_start > size || entry.offset > size - data_start || info.bytes > size - data_start - entry.offset) {
            return fail(
                "{}: tensor '{}' has {} bytes at offset {} of the data, which starts at byte {}, but the file ends at "
                "byte {}; it is damaged or incomplete",
                file_, printable(info.name), info.bytes, entry.offset, data_start, size);
        }
        info.file_offset = data_start + entry.offset;
        info.data = bytes_.data() + info.file_offset;
        part_.tensors.push_back(std::move(info));
    }
    return {};
}

Result<void> Parser::refuse_overlaps() const {
    std::vector<const TensorInfo*> in_order;
    in_order.reserve(part_.tensors.size());
    for (const TensorInfo& tensor : part_.tensors) in_order.push_back(&tensor);
    std::sort(in_order.begin(), in_order.end(),
              [](const TensorInfo* a, const TensorInfo* b) { return a->file_offset < b->file_offset; });
    for (size_t i = 1; i < in_order.size(); ++i) {
        const TensorInfo& before = *in_order[i - 1];
        const TensorInfo& after = *in_order[i];
        const uint64_t end = before.file_offset + before.bytes;
        if (end > after.file_offset) {
            return fail("{}: tensors '{}' and '{}' overlap: the first ends at byte {}, the second begins at byte {}",
                        file_, printable(before.name), printable(after.name), end, after.file_offset);
        }
    }
    return {};
}

}  // namespace

Result<GgufPart> read_gguf_part(std::span<const std::byte> bytes, const std::string& name) {
    return Parser(bytes, name).parse();
}

}  // namespace invar
