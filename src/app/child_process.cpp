#include "app/child_process.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>

extern char** environ;

namespace invar::app {
namespace {

struct Pipe {
    std::array<int, 2> ends = {-1, -1};  // read, write

    ~Pipe() {
        for (int end : ends) close_end(end);
    }
    static void close_end(int& end) {
        if (end >= 0) close(end);
        end = -1;
    }
};

std::string read_all(int end) {
    std::string text;
    std::array<char, 65536> piece;
    for (;;) {
        const ssize_t bytes = read(end, piece.data(), piece.size());
        if (bytes < 0 && errno == EINTR) continue;
        if (bytes <= 0) return text;
        text.append(piece.data(), static_cast<size_t>(bytes));
    }
}

}  // namespace

Result<std::string> own_program() {
    std::error_code error;
    const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
    if (error)
        return fail(ErrorKind::unsupported,
                    "/proc/self/exe cannot be read ({}), so this program does not know its path", error.message());
    return program.string();
}

Result<std::string> output_of(const std::string& program, const std::vector<std::string>& arguments) {
    Pipe out;
    if (pipe(out.ends.data()) != 0) return fail("no pipe to {} can be had: {}", program, std::strerror(errno));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out.ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, out.ends[0]);
    std::vector<std::string> words = {program};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_t child = 0;
    const int refused = posix_spawn(&child, program.c_str(), &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (refused != 0)
        return fail(ErrorKind::io, "{} cannot be run: {}; give the path of a program", program, std::strerror(refused));
    Pipe::close_end(out.ends[1]);
    const std::string text = read_all(out.ends[0]);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!WIFEXITED(status)) return fail("{} was ended by signal {}; see its messages above", program, WTERMSIG(status));
    if (WEXITSTATUS(status) != 0) return fail("{} ended with {}; see its message above", program, WEXITSTATUS(status));
    return text;
}

}  // namespace invar::app
