// Decides where the program prints: results go to stdout, everything else to stderr. Progress bars and colours appear
// on a terminal only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/json_fwd.h"

namespace invar::app {

void print_result(std::string_view text);     // stdout, as it is
void print_json(const Json& value);           // stdout, one line; bytes that are not UTF-8 become U+FFFD
bool flush_results();                         // false if stdout could not be written
void print_note(std::string_view text);       // stderr, one line
void print_error(std::string_view sentence);  // stderr, "invar: ..."

std::string counted(int64_t count, std::string_view one, std::string_view many);  // "1 layer", "2 layers"

bool stdout_is_terminal();
bool stderr_is_terminal();
bool stdin_is_terminal();

// Prints text that is apart from the answer (a model's reasoning); it is dim on a terminal.
void print_aside(std::string_view text);
void end_aside();

// A progress bar on stderr, redrawn at most 20 times per second and removed when it is destroyed. It prints nothing if
// stderr is not a terminal.
class ProgressBar {
  public:
    explicit ProgressBar(std::string label) : label_(std::move(label)) {}
    ~ProgressBar() { clear(); }
    ProgressBar(const ProgressBar&) = delete;
    ProgressBar& operator=(const ProgressBar&) = delete;

    void set_label(std::string label) { label_ = std::move(label); }
    void show(int64_t done, int64_t total);
    void clear();

  private:
    std::string label_;
    int64_t last_drawn_ms_ = -1000;
    bool drawn_ = false;
};

}  // namespace invar::app
