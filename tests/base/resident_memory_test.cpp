// The system's counts of mappings of which this test decides which pages are touched.
#include "base/resident_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "base/mapped_file.h"

namespace invar {
namespace {

const size_t kPage = static_cast<size_t>(::sysconf(_SC_PAGESIZE));

TEST(ResidentMemory, CountsTheTouchedPagesOfARange) {
    constexpr size_t kPages = 4096;
    void* start = ::mmap(nullptr, kPages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(start, MAP_FAILED);
    ::madvise(start, kPages * kPage, MADV_NOHUGEPAGE);
    auto* bytes = static_cast<std::byte*>(start);
    const std::span<const std::byte> all(bytes, kPages * kPage);
    const int64_t before = resident_memory().value().anonymous;
    EXPECT_EQ(resident_bytes(std::array{all}).value(), 0);
    for (const size_t page : {0u, 7u, 8u, 63u}) bytes[page * kPage + 5] = std::byte{1};
    EXPECT_EQ(resident_bytes(std::array{all}).value(), static_cast<int64_t>(4 * kPage));
    // Ranges inside of pages 7 and 8, which overlap in page 8: two pages.
    const std::array inside = {all.subspan(7 * kPage + 100, kPage), all.subspan(8 * kPage + 200, 10)};
    EXPECT_EQ(resident_bytes(inside).value(), static_cast<int64_t>(2 * kPage));
    for (size_t page = 0; page < kPages; ++page) bytes[page * kPage] = std::byte{1};
    const int64_t grown = resident_memory().value().anonymous - before;
    EXPECT_GE(grown, static_cast<int64_t>(kPages * kPage));
    EXPECT_LE(grown,
              static_cast<int64_t>((kPages + kPages / 8) * kPage));  // and the heap's, which a sanitizer makes larger
    ::munmap(start, kPages * kPage);
}

TEST(ResidentMemory, SeesWhatAMappedFileDrops) {
    const auto path = std::filesystem::temp_directory_path() / ("invar_resident_" + std::to_string(::getpid()));
    std::ofstream(path, std::ios::binary) << std::string(100 * kPage + 10, 'x');
    {
        const MappedFile file = MappedFile::open(path).value();
        const std::span<const std::byte> bytes = file.bytes();
        int sum = 0;
        for (size_t at = 0; at < bytes.size(); at += kPage) sum += std::to_integer<int>(bytes[at]);
        EXPECT_EQ(sum, 101 * 'x');
        const auto resident = [&] { return resident_bytes(std::array{bytes}).value() / static_cast<int64_t>(kPage); };
        EXPECT_EQ(resident(), 101);
        EXPECT_EQ(resident_memory().value().file_within(bytes), static_cast<int64_t>(101 * kPage));
        file.drop(10 * kPage + 1, 5 * kPage);  // pages 11 to 14 lie wholly inside
        EXPECT_EQ(resident(), 97);
        file.drop(50 * kPage, 1 << 30);  // to the end, the part of a page there included
        EXPECT_EQ(resident(), 46);
        EXPECT_EQ(bytes[99 * kPage], std::byte{'x'});  // comes back when read
        EXPECT_GT(resident(), 46);
    }
    std::filesystem::remove(path);
}

}  // namespace
}  // namespace invar
