// Reads a folder on disk or in memory, and refuses files that are pointers in place of their content: see folder.h.
#include "files/folder.h"

#include <algorithm>
#include <system_error>

#include "files/printable.h"

namespace invar {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPointer = "version https://git-lfs";
constexpr size_t kPointerMostBytes = 1024;

Result<void> refuse_pointer(std::span<const std::byte> bytes, const std::string& file) {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (bytes.size() > kPointerMostBytes || !text.starts_with(kPointer)) return {};
    return fail(
        "{}: is a Git LFS pointer of {} bytes and not the file that it stands for; fetch that with 'git lfs pull'",
        file, bytes.size());
}

// A model directory has no use for a subfolder with the name of one of its files; it stands where the file should be.
Result<void> refuse_folder_for_file(const fs::path& path, const std::string& folder) {
    const std::string extension = path.extension().string(), name = path.filename().string();
    constexpr std::string_view kExtensions[] = {".json", ".safetensors", ".jinja"};
    const bool file = std::find(std::begin(kExtensions), std::end(kExtensions), extension) != std::end(kExtensions) ||
                      name == "tokenizer.model" || name == "merges.txt";
    if (!file) return {};
    return fail("{}/{}: is a directory, but a file of that name is needed; put the file in its place or remove it",
                folder, printable(name, 1024));
}

}  // namespace

Result<Folder> Folder::open(const fs::path& path) {
    Folder folder;
    folder.path_ = path;
    folder.name_ = printable(path.string(), 4096);
    while (folder.name_.size() > 1 && folder.name_.ends_with('/')) folder.name_.pop_back();
    std::error_code error;
    if (!fs::exists(path, error)) return fail("{}: there is no such file or directory", folder.name_);
    fs::directory_iterator entry(path, error);
    if (error) return fail("{}: cannot be listed as a directory ({})", folder.name_, error.message());
    for (; entry != fs::directory_iterator(); entry.increment(error)) {
        if (error) break;
        std::error_code ignored;  // a link that leads nowhere counts as a file, so that opening it says so
        if (entry->is_directory(ignored)) {
            TRY(refuse_folder_for_file(entry->path(), folder.name_));
            continue;
        }
        if (folder.names_.size() == kFolderMostEntries) {
            return fail("{}: has more than {} files and is no model directory", folder.name_, kFolderMostEntries);
        }
        folder.names_.push_back(entry->path().filename().string());
    }
    if (error) return fail("{}: cannot be listed to its end ({})", folder.name_, error.message());
    std::sort(folder.names_.begin(), folder.names_.end());
    return folder;
}

Folder Folder::in_memory(std::vector<MemoryFile> files, std::string name) {
    Folder folder;
    folder.name_ = std::move(name);
    folder.in_memory_ = true;
    std::stable_sort(files.begin(), files.end(),
                     [](const MemoryFile& a, const MemoryFile& b) { return a.name < b.name; });
    folder.files_ = std::move(files);
    for (const MemoryFile& file : folder.files_) folder.names_.push_back(file.name);
    return folder;
}

bool Folder::has(std::string_view name) const {
    if (!in_memory_ && name.find('/') != std::string_view::npos) {
        std::error_code ignored;
        return fs::exists(path_of(name), ignored);
    }
    return std::binary_search(names_.begin(), names_.end(), name, std::less<std::string_view>());
}

std::string Folder::name_of(std::string_view file) const { return name_ + "/" + printable(file, 1024); }

Result<Folder::File> Folder::map(std::string_view file) const {
    File result;
    if (in_memory_) {
        const auto found = std::lower_bound(files_.begin(), files_.end(), file,
                                            [](const MemoryFile& a, std::string_view b) { return a.name < b; });
        if (found == files_.end() || found->name != file) return fail("{}: there is no such file", name_of(file));
        if (found->bytes.empty()) return fail("{}: is empty (0 bytes)", name_of(file));
        result.bytes = found->bytes;
    } else {
        TRY_ASSIGN(MappedFile mapping, MappedFile::open(path_of(file)));
        result.bytes = mapping.bytes();
        result.mapping = std::move(mapping);
    }
    TRY(refuse_pointer(result.bytes, name_of(file)));
    return result;
}

Result<std::string> Folder::read(std::string_view file, uint64_t most_bytes) const {
    TRY_ASSIGN(const File found, map(file));
    if (found.bytes.size() > most_bytes) {
        return fail("{}: has {} bytes; at most {} are read of such a file", name_of(file), found.bytes.size(),
                    most_bytes);
    }
    std::string text(found.bytes.size(), '\0');
    if (found.mapping) {
        TRY(found.mapping->read(0, std::as_writable_bytes(std::span(text))));
    } else {
        std::copy(found.bytes.begin(), found.bytes.end(), reinterpret_cast<std::byte*>(text.data()));
    }
    return text;
}

}  // namespace invar
