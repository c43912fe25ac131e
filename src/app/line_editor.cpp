#include "app/line_editor.h"

#include <histedit.h>

#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstdio>

namespace invar::app {

struct LineEditor::State {
    EditLine* editor = nullptr;
    History* history = nullptr;
    HistEvent event{};
    const char* prompt = "";
};

namespace {

constexpr int kHistoryLines = 1000;

char* prompt_of(EditLine* editor) {
    void* client = nullptr;
    el_get(editor, EL_CLIENTDATA, &client);
    return static_cast<char*>(client);
}

}  // namespace

LineEditor::LineEditor(const char* prompt) : state_(new State) {
    std::setlocale(LC_CTYPE, "");
    state_->prompt = prompt;
    state_->editor = el_init("invar", stdin, stdout, stderr);
    state_->history = history_init();
    history(state_->history, &state_->event, H_SETSIZE, kHistoryLines);
    el_set(state_->editor, EL_CLIENTDATA, const_cast<char*>(prompt));
    el_set(state_->editor, EL_PROMPT, prompt_of);
    el_set(state_->editor, EL_EDITOR, "emacs");
    el_set(state_->editor, EL_HIST, history, state_->history);
    el_set(state_->editor, EL_BIND, "^R", "em-inc-search-prev", nullptr);
}

LineEditor::~LineEditor() {
    history_end(state_->history);
    el_end(state_->editor);
    delete state_;
}

LineEditor::Ended LineEditor::read(std::string& line) {
    int length = 0;
    errno = 0;
    const char* text = el_gets(state_->editor, &length);
    if (text == nullptr || length <= 0) return errno == EINTR ? Ended::interrupted : Ended::end_of_input;
    line.assign(text, static_cast<size_t>(length));
    while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
    if (!line.empty()) history(state_->history, &state_->event, H_ENTER, line.c_str());
    return Ended::line;
}

}  // namespace invar::app
