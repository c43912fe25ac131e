// Regular files are mapped, and pipes and standard input are read to their end: see input_text.h.
#include "app/input_text.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>

#include "base/mapped_file.h"

namespace invar::app {
namespace {

Result<std::string> read_stream(std::FILE* stream, const std::string& name) {
    std::string text;
    std::array<char, 65536> piece;
    while (const size_t bytes = std::fread(piece.data(), 1, piece.size(), stream)) text.append(piece.data(), bytes);
    if (std::ferror(stream) != 0) {
        return fail(ErrorKind::io, "{}: cannot be read ({}); give a text file or a pipe", name, std::strerror(errno));
    }
    return text;
}

}  // namespace

Result<std::string> read_text_file(const std::string& path) {
    std::error_code ignored;
    if (std::filesystem::is_fifo(path, ignored)) {  // a shell's <(command) is one
        const std::unique_ptr<std::FILE, int (*)(std::FILE*)> stream(std::fopen(path.c_str(), "rbe"), std::fclose);
        if (!stream) return fail(ErrorKind::io, "{}: cannot be opened ({})", path, std::strerror(errno));
        return read_stream(stream.get(), path);
    }
    TRY_ASSIGN(const MappedFile file, MappedFile::open(path));
    std::string text(file.bytes().size(), '\0');
    TRY(file.read(0, std::as_writable_bytes(std::span(text))));
    return text;
}

Result<std::string> read_standard_input() { return read_stream(stdin, "standard input"); }

}  // namespace invar::app
