// Reads lines from a terminal with editing and history (arrow keys, Ctrl-R). Only the interactive chat uses it.
#pragma once

#include <optional>
#include <string>

namespace invar::app {

class LineEditor {
  public:
    explicit LineEditor(const char* prompt);
    ~LineEditor();
    LineEditor(const LineEditor&) = delete;
    LineEditor& operator=(const LineEditor&) = delete;

    enum class Ended { line, interrupted /* Ctrl-C */, end_of_input /* Ctrl-D */ };
    Ended read(std::string& line);

  private:
    struct State;
    State* state_;
};

}  // namespace invar::app
