// Checks that the entries of the header tile the file exactly: see safetensors.h.
#include "files/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <tuple>

#include "files/printable.h"
#include "files/safetensors_header.h"
#include "files/shape_text.h"

namespace invar {
namespace {

struct DtypeRow {
    std::string_view name;
    int bits;
};
// The rows are in the order of the enum.
constexpr std::array<DtypeRow, 20> kDtypes = {{
    {"F64", 64},    {"F32", 32},    {"F16", 16},    {"BF16", 16},   {"I64", 64},    {"I32", 32}, {"I16", 16},
    {"I8", 8},      {"U64", 64},    {"U32", 32},    {"U16", 16},    {"U8", 8},      {"BOOL", 8}, {"C64", 64},
    {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4},
}};
static_assert(kDtypes.size() == static_cast<size_t>(Dtype::unknown));

static_assert(std::endian::native == std::endian::little, "the length is read by copying its bytes");
constexpr std::string_view kDamaged = "the file is damaged or incomplete";

// The elements of the shape; nothing if they are 2^63 or more. A dimension of 0 makes it 0, whatever the others are.
std::optional<int64_t> elements_of(const std::vector<int64_t>& shape) {
    if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
    int64_t product = 1;
    for (const int64_t extent : shape) {
        if (__builtin_mul_overflow(product, extent, &product)) return std::nullopt;
    }
    return product;
}

Result<void> check_size(const SafeTensorsEntry& entry, Dtype dtype, const std::string& file) {
    const uint64_t stated = entry.offsets[1] - entry.offsets[0];
    const auto elements = elements_of(entry.shape);
    if (!elements) {
        return fail("{}: tensor '{}' has the shape {}, which is more than 2^63 elements, in {} bytes", file,
                    printable(entry.name), shape_text(entry.shape), stated);
    }
    if (dtype == Dtype::unknown) return {};
    int64_t bits = 0;
    if (__builtin_mul_overflow(*elements, int64_t{dtype_bits(dtype)}, &bits)) {
        return fail("{}: tensor '{}' of shape {} in {} has more than 2^63 bits, but {} bytes", file,
                    printable(entry.name), shape_text(entry.shape), dtype_name(dtype), stated);
    }
    if (bits % 8 != 0) {
        return fail("{}: tensor '{}' of shape {} in {} has {} bits, not a multiple of 8", file, printable(entry.name),
                    shape_text(entry.shape), dtype_name(dtype), bits);
    }
    if (static_cast<uint64_t>(bits / 8) != stated) {
        return fail("{}: tensor '{}' of shape {} in {} needs {} bytes, but its data_offsets span {}", file,
                    printable(entry.name), shape_text(entry.shape), dtype_name(dtype), bits / 8, stated);
    }
    return {};
}

// Checks that the tensors, sorted by their bytes, cover [0, data_bytes) without gap or overlap.
Result<void> check_tiling(const std::vector<SafeTensorsEntry>& entries, uint64_t data_bytes, const std::string& file) {
    uint64_t covered = 0;
    const SafeTensorsEntry* previous = nullptr;
    for (const SafeTensorsEntry& entry : entries) {
        const auto [first, last] = entry.offsets;
        if (first < covered) {
            return fail("{}: tensors '{}' and '{}' overlap: the first ends at offset {}, the second begins at {}", file,
                        printable(previous->name), printable(entry.name), covered, first);
        }
        if (last > data_bytes) {
            return fail("{}: tensor '{}' ends at offset {} of the data, but the file has {} bytes of data; {}", file,
                        printable(entry.name), last, data_bytes, kDamaged);
        }
        if (first > covered) {
            return fail("{}: tensor '{}' begins at offset {}, but the bytes before it end at {}: a gap is not allowed",
                        file, printable(entry.name), first, covered);
        }
        covered = last;
        previous = &entry;
    }
    if (covered != data_bytes) {
        return fail("{}: the tensors end at offset {} of the data, but the file has {} bytes of data; {}", file,
                    covered, data_bytes, kDamaged);
    }
    return {};
}

struct Parts {
    std::string_view header;
    uint64_t data_offset;
};

Result<Parts> split(std::span<const std::byte> bytes, const std::string& file) {
    if (bytes.size() < kHeaderLengthBytes) {
        return fail("{}: has {} bytes, but a SafeTensors file begins with a length of {}; {}", file, bytes.size(),
                    kHeaderLengthBytes, kDamaged);
    }
    uint64_t length = 0;
    std::memcpy(&length, bytes.data(), kHeaderLengthBytes);
    if (length > kSafeTensorsMostHeaderBytes) {
        return fail("{}: is not a SafeTensors file: its header would have {} bytes, the limit is {}", file, length,
                    kSafeTensorsMostHeaderBytes);
    }
    if (length > bytes.size() - kHeaderLengthBytes) {
        return fail("{}: the header has {} bytes, but {} are left in the file; {}", file, length,
                    bytes.size() - kHeaderLengthBytes, kDamaged);
    }
    const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + kHeaderLengthBytes, length);
    if (header.empty() || header.front() != '{') {
        return fail("{}: is not a SafeTensors file: its header begins with '{}' and not with '{{'", file,
                    printable(header.substr(0, 1)));
    }
    return Parts{header, kHeaderLengthBytes + length};
}

}  // namespace

std::string_view dtype_name(Dtype dtype) {
    return dtype == Dtype::unknown ? std::string_view() : kDtypes[static_cast<size_t>(dtype)].name;
}

int dtype_bits(Dtype dtype) { return dtype == Dtype::unknown ? 0 : kDtypes[static_cast<size_t>(dtype)].bits; }

Dtype find_dtype(std::string_view name) {
    const auto found =
        std::find_if(kDtypes.begin(), kDtypes.end(), [&](const DtypeRow& row) { return row.name == name; });
    return static_cast<Dtype>(found - kDtypes.begin());
}

int64_t SafeTensor::elements() const { return elements_of(shape).value_or(0); }

const SafeTensor* SafeTensorsFile::find(std::string_view tensor) const {
    const auto found = index_.find(tensor, [&](size_t i) -> std::string_view { return tensors_[i].name; });
    return found ? &tensors_[*found] : nullptr;
}

std::optional<std::string_view> SafeTensorsFile::find_metadata(std::string_view key) const {
    const auto found = metadata_index_.find(key, [&](size_t i) -> std::string_view { return metadata_[i].first; });
    if (!found) return std::nullopt;
    return metadata_[*found].second;
}

Result<SafeTensorsFile> SafeTensorsFile::from_bytes(std::span<const std::byte> bytes, std::string name) {
    TRY_ASSIGN(const Parts parts, split(bytes, name));
    TRY_ASSIGN(SafeTensorsHeader header, parse_safetensors_header(parts.header, name));
    std::vector<SafeTensorsEntry>& entries = header.tensors;
    for (const SafeTensorsEntry& entry : entries) {
        if (entry.offsets[0] > entry.offsets[1]) {
            return fail("{}: tensor '{}' begins at offset {} and ends before it, at {}", name, printable(entry.name),
                        entry.offsets[0], entry.offsets[1]);
        }
        TRY(check_size(entry, find_dtype(entry.dtype), name));
    }
    const auto in_order = [](const SafeTensorsEntry& a, const SafeTensorsEntry& b) {
        return std::tie(a.offsets, a.name) < std::tie(b.offsets, b.name);
    };
    if (!std::is_sorted(entries.begin(), entries.end(), in_order)) std::sort(entries.begin(), entries.end(), in_order);
    TRY(check_tiling(entries, bytes.size() - parts.data_offset, name));

    SafeTensorsFile file(std::move(name), bytes.size());
    file.metadata_ = std::move(header.metadata);
    for (size_t i = 0; i < file.metadata_.size(); ++i)
        file.metadata_index_.add(i, [&](size_t at) -> std::string_view { return file.metadata_[at].first; });
    file.tensors_.reserve(entries.size());
    file.index_.reserve(entries.size());
    for (SafeTensorsEntry& entry : entries) {
        const uint64_t offset = parts.data_offset + entry.offsets[0];
        file.tensors_.push_back({.name = std::move(entry.name),
                                 .dtype = find_dtype(entry.dtype),
                                 .dtype_name = std::move(entry.dtype),
                                 .shape = std::move(entry.shape),
                                 .data = bytes.data() + offset,
                                 .bytes = entry.offsets[1] - entry.offsets[0],
                                 .file_offset = offset});
        file.index_.add(file.tensors_.size() - 1, [&](size_t i) -> std::string_view { return file.tensors_[i].name; });
    }
    return file;
}

Result<SafeTensorsFile> SafeTensorsFile::open(const std::filesystem::path& path) {
    TRY_ASSIGN(MappedFile mapping, MappedFile::open(path));
    TRY_ASSIGN(SafeTensorsFile file, from_bytes(mapping.bytes(), printable(path.string(), 4096)));
    file.mapping_ = std::move(mapping);
    return file;
}

}  // namespace invar
