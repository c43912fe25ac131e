#include "app/output.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "base/json.h"

namespace invar::app {

void print_result(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

void print_json(const Json& value) {
    print_result(value.dump(-1, ' ', false, Json::error_handler_t::replace));
    print_result("\n");
}

bool flush_results() { return std::fflush(stdout) == 0 && std::ferror(stdout) == 0; }

void print_note(std::string_view text) { std::fprintf(stderr, "%.*s\n", static_cast<int>(text.size()), text.data()); }

void print_error(std::string_view sentence) {
    std::fflush(stdout);
    std::fprintf(stderr, "invar: %.*s\n", static_cast<int>(sentence.size()), sentence.data());
}

std::string counted(int64_t count, std::string_view one, std::string_view many) {
    return fmt::format("{} {}", count, count == 1 ? one : many);
}

bool stdout_is_terminal() { return isatty(STDOUT_FILENO) == 1; }
bool stderr_is_terminal() { return isatty(STDERR_FILENO) == 1; }
bool stdin_is_terminal() { return isatty(STDIN_FILENO) == 1; }

void print_aside(std::string_view text) {
    std::fflush(stdout);
    const bool colour = stderr_is_terminal();
    std::fprintf(stderr, "%s%.*s%s", colour ? "\033[2m" : "", static_cast<int>(text.size()), text.data(),
                 colour ? "\033[0m" : "");
    std::fflush(stderr);
}

void end_aside() { std::fprintf(stderr, "\n\n"); }

void ProgressBar::show(int64_t done, int64_t total) {
    if (!stderr_is_terminal() || total <= 0) return;
    using namespace std::chrono;
    const int64_t now = duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
    constexpr int64_t kRedrawMs = 50;
    if (done < total && now - last_drawn_ms_ < kRedrawMs) return;
    last_drawn_ms_ = now;
    constexpr int kWidth = 30;
    const int filled =
        static_cast<int>(static_cast<double>(kWidth) * static_cast<double>(done) / static_cast<double>(total));
    std::string bar(static_cast<size_t>(std::clamp(filled, 0, kWidth)), '#');
    bar.resize(kWidth, '.');
    std::fprintf(stderr, "\r%s [%s] %3d %%", label_.c_str(), bar.c_str(), static_cast<int>(100 * done / total));
    std::fflush(stderr);
    drawn_ = true;
}

void ProgressBar::clear() {
    if (drawn_) std::fprintf(stderr, "\r\033[K");
    drawn_ = false;
}

}  // namespace invar::app
