// Opens one file or a set of split files and joins their contents: see gguf.h. The rules for a single file are in
// gguf_part.cpp. In a set every part has split.no, split.count and split.tensors.count; the first part has the model's
// metadata.
#include "files/gguf.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "files/gguf_part.h"
#include "files/printable.h"

namespace invar {

namespace {

constexpr std::string_view kSplitNumber = "split.no";
constexpr std::string_view kSplitCount = "split.count";
constexpr std::string_view kSplitTensors = "split.tensors.count";

// 1 for a file that is not split.
Result<uint64_t> part_count(const Metadata& metadata) {
    if (!metadata.has(kSplitCount)) return 1;
    TRY_ASSIGN(const uint64_t count, metadata.integer(kSplitCount));
    if (count > kGgufMostParts) {
        return fail("{}: metadata key '{}' is {}; at most {} parts are possible", metadata.file(), kSplitCount, count,
                    kGgufMostParts);
    }
    return std::max<uint64_t>(count, 1);  // some writers give 0 for a file that is whole
}

Result<void> check_part(const Metadata& metadata, uint64_t number, uint64_t count) {
    TRY_ASSIGN(const uint64_t stated_count, part_count(metadata));
    if (stated_count != count) {
        return fail("{}: says that the model has {} parts, but its first part says {}", metadata.file(), stated_count,
                    count);
    }
    TRY_ASSIGN(const uint64_t stated_number, metadata.integer(kSplitNumber));
    if (stated_number != number) {
        return fail("{}: metadata key '{}' is {}, but its name makes it part {} of {}, which must have {}",
                    metadata.file(), kSplitNumber, stated_number, number + 1, count, number);
    }
    return {};
}

}  // namespace

std::optional<SplitName> split_name(const std::string& file_name) {
    constexpr std::string_view kPattern = "-00000-of-00000.gguf";
    if (file_name.size() <= kPattern.size()) return std::nullopt;
    const size_t prefix_size = file_name.size() - kPattern.size();
    const std::string_view suffix = std::string_view(file_name).substr(prefix_size);
    uint64_t numbers[2] = {0, 0};  // the digits before and after "-of-"
    for (size_t i = 0; i < kPattern.size(); ++i) {
        if (kPattern[i] != '0') {
            if (suffix[i] != kPattern[i]) return std::nullopt;
            continue;
        }
        if (suffix[i] < '0' || suffix[i] > '9') return std::nullopt;
        uint64_t& number = numbers[i < 9 ? 0 : 1];
        number = number * 10 + static_cast<uint64_t>(suffix[i] - '0');
    }
    if (numbers[0] < 1 || numbers[0] > numbers[1]) return std::nullopt;
    return SplitName{file_name.substr(0, prefix_size), numbers[0], numbers[1]};
}

std::string split_file_name(const SplitName& name) {
    return fmt::format("{}-{:05}-of-{:05}.gguf", name.prefix, name.number, name.count);
}

GgufFile::GgufFile(GgufPart&& first, uint64_t file_bytes)
    : metadata_(std::move(first.metadata)),
      version_(first.version),
      alignment_(first.alignment),
      file_bytes_(file_bytes) {}

const TensorInfo* GgufFile::find(std::string_view tensor) const {
    const auto found = index_.find(tensor, [&](size_t i) -> std::string_view { return tensors_[i].name; });
    return found ? &tensors_[*found] : nullptr;
}

Result<GgufFile> GgufFile::from_bytes(std::span<const std::byte> bytes, std::string name) {
    TRY_ASSIGN(GgufPart part, read_gguf_part(bytes, name));
    TRY_ASSIGN(const uint64_t count, part_count(part.metadata));
    if (count != 1) return fail("{}: is one of {} parts, which can only be opened as files", name, count);
    std::vector<TensorInfo> tensors = std::move(part.tensors);
    GgufFile file(std::move(part), bytes.size());
    TRY(file.add_tensors(std::move(tensors), name, 0));
    return file;
}

Result<GgufFile> GgufFile::open(const std::filesystem::path& path) {
    TRY_ASSIGN(MappedFile mapping, MappedFile::open(path));
    TRY_ASSIGN(GgufPart part, read_gguf_part(mapping.bytes(), printable(path.string(), 4096)));
    const Metadata& metadata = part.metadata;
    TRY_ASSIGN(const uint64_t count, part_count(metadata));
    if (count > 1) {
        const auto name = split_name(path.filename().string());
        if (!name || name->count != count) {
            return fail(
                "{}: is one of {} parts by its metadata, so its name must end in -00001-of-{:05}.gguf or another "
                "number for another part; give it back its name",
                metadata.file(), count, count);
        }
        if (name->number != 1) {
            TRY(check_part(metadata, name->number - 1, count));
            return open(path.parent_path() / split_file_name({name->prefix, 1, count}));
        }
        TRY(check_part(metadata, 0, count));
    }
    std::vector<TensorInfo> tensors = std::move(part.tensors);
    GgufFile file(std::move(part), mapping.bytes().size());
    file.paths_.push_back(path);
    file.mappings_.push_back(std::move(mapping));
    TRY(file.add_tensors(std::move(tensors), file.name(), 0));
    if (count > 1) TRY(file.open_siblings(path, count));
    return file;
}

Result<void> GgufFile::open_siblings(const std::filesystem::path& first, uint64_t count) {
    const auto name = split_name(first.filename().string());
    for (uint64_t number = 1; number < count; ++number) {
        const auto path = first.parent_path() / split_file_name({name->prefix, number + 1, count});
        auto opened = MappedFile::open(path);
        if (!opened) {
            return fail(ErrorKind::not_found, "{}: part {} of {} cannot be opened ({})", this->name(), number + 1,
                        count, opened.error().message);
        }
        MappedFile mapping = std::move(*opened);
        TRY_ASSIGN(GgufPart part, read_gguf_part(mapping.bytes(), printable(path.string(), 4096)));
        TRY(check_part(part.metadata, number, count));
        TRY(add_tensors(std::move(part.tensors), part.metadata.file(), static_cast<int>(number)));
        file_bytes_ += mapping.bytes().size();
        paths_.push_back(path);
        mappings_.push_back(std::move(mapping));
    }
    TRY_ASSIGN(const uint64_t stated, metadata_.integer(kSplitTensors));
    if (stated != tensors_.size()) {
        return fail("{}: metadata key '{}' is {}, but the {} parts have {} tensors", this->name(), kSplitTensors,
                    stated, count, tensors_.size());
    }
    return {};
}

Result<void> GgufFile::add_tensors(std::vector<TensorInfo> tensors, const std::string& part_name, int file_index) {
    tensors_.reserve(tensors_.size() + tensors.size());
    for (TensorInfo& tensor : tensors) {
        tensor.file_index = file_index;
        tensor_bytes_ += tensor.bytes;  // at most the bytes of the parts: no overlaps
        tensors_.push_back(std::move(tensor));
        const auto before =
            index_.add(tensors_.size() - 1, [&](size_t i) -> std::string_view { return tensors_[i].name; });
        if (!before) continue;
        return fail("{}: tensor '{}' appears in part {} and again in part {}", part_name,
                    printable(tensors_.back().name), tensors_[*before].file_index + 1, file_index + 1);
    }
    return {};
}

}  // namespace invar
