// What the program prints and where: results on stdout, everything else on stderr, progress bars and colours on a
// terminal only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/json_fwd.h"

namespace invar::app {

void print_result(std::string_view text);     // stdout, as it is
void print_json(const Json& value);           // stdout, one line; bytes that are not UTF-8 become U+FFFD
bool flush_results();                         // false when stdout could not be written
void print_note(std::string_view text);       // stderr, a line
void print_error(std::string_view sentence);  // stderr, "invar: ..."

bool stdout_is_terminal();
bool stderr_is_terminal();
bool stdin_is_terminal();

// Text set back from the answer (a model's reasoning): dim on a terminal.
void print_aside(std::string_view text);
void end_aside();

// A bar on stderr, redrawn at most 20 times a second; nothing when stderr is no terminal. Gone when it is destroyed.
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
