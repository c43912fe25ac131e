// Reads /proc/self/smaps for mappings and their sizes, and /proc/self/pagemap for single pages: see resident_memory.h.
#include "base/resident_memory.h"

#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <fstream>
#include <string>

namespace invar {
namespace {

constexpr const char* kSmaps = "/proc/self/smaps";
constexpr const char* kPagemap = "/proc/self/pagemap";
constexpr uint64_t kPresent = uint64_t{1} << 63;  // the bit of a pagemap entry that says the page is in memory

// A line such as "7f12a000-7f13b000 r--p ..." starts a mapping; a line "Rss:    123 kB" belongs to it.
bool read_range(const std::string& line, ResidentMemory::Mapping& mapping) {
    const char* end = line.data() + line.size();
    const auto begin = std::from_chars(line.data(), end, mapping.begin, 16);
    if (begin.ec != std::errc() || begin.ptr == end || *begin.ptr != '-') return false;
    return std::from_chars(begin.ptr + 1, end, mapping.end, 16).ec == std::errc();
}

bool read_field(const std::string& line, std::string_view name, int64_t& bytes) {
    if (!line.starts_with(name)) return false;
    const size_t digits = line.find_first_of("0123456789", name.size());
    int64_t kib = 0;
    if (digits == std::string::npos) return false;
    if (std::from_chars(line.data() + digits, line.data() + line.size(), kib).ec != std::errc()) return false;
    bytes = kib * 1024;
    return true;
}

}  // namespace

int64_t ResidentMemory::file_within(std::span<const std::byte> range) const {
    const auto begin = reinterpret_cast<uintptr_t>(range.data());
    int64_t total = 0;
    for (const Mapping& mapping : mappings) {
        if (mapping.begin < begin + range.size() && begin < mapping.end) total += mapping.resident - mapping.anonymous;
    }
    return total;
}

Result<ResidentMemory> resident_memory() {
    std::ifstream file(kSmaps);
    if (!file)
        return fail(ErrorKind::unsupported,
                    "{} cannot be read: this system does not say what memory a process occupies", kSmaps);
    ResidentMemory memory;
    std::string line;
    while (std::getline(file, line)) {
        ResidentMemory::Mapping mapping;
        if (read_range(line, mapping)) {
            memory.mappings.push_back(mapping);
            continue;
        }
        if (memory.mappings.empty()) continue;
        ResidentMemory::Mapping& current = memory.mappings.back();
        int64_t swapped = 0;
        if (read_field(line, "Rss:", current.resident) || read_field(line, "Anonymous:", current.anonymous)) continue;
        if (read_field(line, "Swap:", swapped)) memory.swapped += swapped;
    }
    for (const ResidentMemory::Mapping& mapping : memory.mappings) {
        memory.anonymous += mapping.anonymous;
        memory.file += mapping.resident - mapping.anonymous;
    }
    return memory;
}

void release_free_memory() { ::malloc_trim(0); }

Result<int64_t> resident_bytes(std::span<const std::span<const std::byte>> ranges) {
    const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
    std::vector<std::pair<uint64_t, uint64_t>> pages;  // page numbers: the first, and the one behind the last
    for (const auto& range : ranges) {
        if (range.empty()) continue;
        const auto begin = reinterpret_cast<uintptr_t>(range.data());
        pages.emplace_back(begin / page, (begin + range.size() + page - 1) / page);
    }
    std::sort(pages.begin(), pages.end());
    const int file = ::open(kPagemap, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return fail(ErrorKind::unsupported, "{} cannot be read: this system does not say which pages are in memory",
                    kPagemap);
    int64_t present = 0;
    uint64_t done = 0;  // the page behind the last one counted
    bool failed = false;
    std::vector<uint64_t> entries(4096);
    for (const auto& [first, last] : pages) {
        for (uint64_t at = std::max(first, done); at < last && !failed;) {
            const uint64_t count = std::min<uint64_t>(last - at, entries.size());
            const ssize_t got = ::pread(file, entries.data(), count * 8, static_cast<off_t>(at * 8));
            failed = got != static_cast<ssize_t>(count * 8);
            for (uint64_t i = 0; i < count && !failed; ++i) present += (entries[i] & kPresent) != 0 ? 1 : 0;
            at += count;
        }
        done = std::max(done, last);
    }
    ::close(file);
    if (failed)
        return fail(ErrorKind::unsupported, "{} ended early: this system does not say which pages are in memory",
                    kPagemap);
    return present * static_cast<int64_t>(page);
}

}  // namespace invar
