// Read channels.h first. take() works on held_ and keeps what is not yet certain; marks that are tokens come through
// feed_mark(), after which nothing of the text before them is uncertain.
#include "text/chat/channels.h"

#include <algorithm>
#include <utility>

namespace invar {
namespace {

constexpr std::string_view kSpace = " \t\r\n";
constexpr size_t kMostName = 64;     // of a channel
constexpr size_t kMostHeader = 256;  // of a message: role, channel and recipient
constexpr std::string_view kRecipient = "to=", kFunctions = "functions.";

// The length of the longest end of `text` that is a proper start of `mark`.
size_t partial_mark(std::string_view text, std::string_view mark) {
    for (size_t length = std::min(text.size(), mark.size() - 1); length > 0; --length) {
        if (text.ends_with(mark.substr(0, length))) return length;
    }
    return 0;
}

bool is_text(const AnswerMark& mark) { return !mark.text.empty() && mark.token < 0; }

std::string_view trimmed(std::string_view text) {
    const size_t first = text.find_first_not_of(kSpace);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kSpace) + 1 - first);
}

// The word that follows "to=" in a header; empty if there is none, or if the message is for everybody.
std::string_view recipient_in(std::string_view header) {
    for (size_t begin = 0; begin < header.size();) {
        begin = header.find_first_not_of(kSpace, begin);
        if (begin == std::string_view::npos) break;
        const size_t end = std::min(header.find_first_of(kSpace, begin), header.size());
        std::string_view word = header.substr(begin, end - begin);
        begin = end;
        if (!word.starts_with(kRecipient)) continue;
        word.remove_prefix(kRecipient.size());
        if (word.starts_with(kFunctions)) word.remove_prefix(kFunctions.size());
        return word == "all" || word == "user" ? std::string_view() : word;
    }
    return {};
}

}  // namespace

std::vector<int32_t> AnswerFormat::tokens() const {
    std::vector<int32_t> all;
    for (const AnswerMark* mark :
         {&open, &close, &answer_open, &answer_close, &start, &channel, &message, &end, &constrain}) {
        if (mark->token >= 0) all.push_back(mark->token);
    }
    return all;
}

AnswerParser::AnswerParser(const AnswerFormat& format, std::string_view prompt) : format_(&format) {
    if (format.kind == AnswerFormat::Kind::plain) {
        state_ = State::content;
    } else if (format.kind == AnswerFormat::Kind::messages) {
        state_ = State::content;
        begin_behind(prompt);
    } else {
        const std::string_view end = prompt.substr(0, prompt.find_last_not_of(kSpace) + 1);
        has_reasoned_ =
            end.ends_with(format.open.text) || (!format.name.empty() && end.ends_with(format.open.text + format.name));
        if (has_reasoned_) state_ = State::reasoning;
    }
}

// Reads the last message that the prompt began, whose marks are known by their texts.
void AnswerParser::begin_behind(std::string_view prompt) {
    const size_t last = prompt.rfind(format_->start.text);
    if (last == std::string_view::npos) return;
    feed_rendered(prompt.substr(last), [](Channel, std::string_view) { return true; });
    prompt_opened_ = state_ == State::role && recipient_in(role_).empty();
    if (prompt_opened_) role_.clear();
    std::fill(std::begin(has_text_), std::end(has_text_), false);
    at_start_ = true;
    space_.clear();
}

bool AnswerParser::feed_rendered(std::string_view text, const ChannelSink& sink) {
    const AnswerFormat& format = *format_;
    while (!text.empty()) {
        size_t first = text.size();
        const AnswerMark* found = nullptr;
        for (const AnswerMark* mark :
             {&format.open, &format.close, &format.answer_open, &format.answer_close, &format.start, &format.channel,
              &format.message, &format.end, &format.constrain}) {
            const size_t at = mark->token < 0 ? std::string_view::npos : text.find(mark->text);
            if (at < first) first = at, found = mark;
        }
        if (first > 0 && !feed(text.substr(0, first), sink)) return false;
        text.remove_prefix(first);
        if (found == nullptr) break;
        if (!feed_mark(found->token, found->text, sink)) return false;
        text.remove_prefix(found->text.size());
    }
    return true;
}

Channel AnswerParser::channel() const {
    if (state_ == State::arguments) return Channel::arguments;
    return state_ == State::reasoning ? Channel::reasoning : Channel::content;
}

void AnswerParser::go_to(State state) {
    state_ = state;
    at_start_ = true;
    space_.clear();
}

bool AnswerParser::feed(std::string_view text, const ChannelSink& sink) {
    held_ += text;
    return take(sink);
}

bool AnswerParser::take(const ChannelSink& sink) {
    for (;;) {
        const State before = state_;
        bool goes_on = true;
        switch (state_) {
            case State::start:
                take_at_start();
                break;
            case State::name:
                take_name();
                break;
            case State::reasoning:
                goes_on = take_until(format_->close, sink);
                break;
            case State::content:
                goes_on = take_until(is_wrapped_ ? format_->answer_close : AnswerMark(), sink);
                break;
            case State::role:
            case State::header:
                take_header();
                break;
            case State::arguments:
                goes_on = flush(sink);
                break;
            case State::between:  // white space, or text that belongs to no message
                if (trimmed(held_).empty()) {
                    held_.clear();
                } else {
                    go_to(State::content);
                }
                break;
        }
        if (!goes_on) return false;
        if (state_ == before || held_.empty()) return true;
    }
}

// Before the content, one of three marks may stand: reasoning opens, or ends without having been opened, or the content
// opens.
void AnswerParser::take_at_start() {
    held_.erase(0, std::min(held_.find_first_not_of(kSpace), held_.size()));
    bool may_become = held_.empty();
    for (const AnswerMark* mark : {&format_->open, &format_->close, &format_->answer_open}) {
        if (!is_text(*mark) || !has_place(*mark)) continue;
        if (held_.starts_with(mark->text)) {
            held_.erase(0, mark->text.size());
            pass(*mark);
            if (state_ == State::start) take_at_start();  // an end of reasoning; it has a place only once
            return;
        }
        may_become = may_become || std::string_view(mark->text).starts_with(held_);
    }
    if (!may_become) go_to(State::content);
}

void AnswerParser::take_name() {
    const size_t line = held_.find('\n');
    if (line != std::string::npos && line <= kMostName) {
        held_.erase(0, line + 1);
        go_to(State::reasoning);
    } else if (held_.size() > kMostName) {  // it is no name
        go_to(State::reasoning);
    }
}

// Delivers what comes before a mark that is found in the text, and passes the mark.
bool AnswerParser::take_until(const AnswerMark& mark, const ChannelSink& sink) {
    size_t keep = 0;
    if (is_text(mark)) {
        const size_t found = held_.find(mark.text);
        if (found != std::string::npos) {
            const std::string before = held_.substr(0, found);
            held_.erase(0, found + mark.text.size());
            if (!deliver(before, sink)) return false;
            pass(mark);
            return state_ != State::content || take_until(AnswerMark(), sink);
        }
        keep = partial_mark(held_, mark.text);
    }
    const std::string certain = held_.substr(0, held_.size() - keep);
    held_.erase(0, certain.size());
    return deliver(certain, sink);
}

void AnswerParser::take_header() {
    (state_ == State::role ? role_ : header_) += std::exchange(held_, {});
    // A model that writes no header answers at once.
    const std::string_view role = trimmed(role_);
    const bool is_answer =
        state_ == State::role && prompt_opened_ && !role.starts_with(kRecipient) && !kRecipient.starts_with(role);
    if (!is_answer && role_.size() + header_.size() <= kMostHeader) return;
    held_ = std::exchange(role_, {}) + std::exchange(header_, {});
    go_to(State::content);
}

bool AnswerParser::feed_mark(int32_t token, std::string_view text, const ChannelSink& sink) {
    const AnswerFormat& format = *format_;
    if (state_ == State::start && !held_.empty()) go_to(State::content);  // what was held back is no mark
    for (const AnswerMark* mark : {&format.open, &format.close, &format.answer_open, &format.answer_close}) {
        if (mark->text.empty() || mark->token != token) continue;
        if (!has_place(*mark)) return feed(mark->text, sink);
        if (state_ == State::name && trimmed(held_) == format.name) held_.clear();
        if (!flush(sink)) return false;
        pass(*mark);
        return true;
    }
    for (const AnswerMark* mark : {&format.start, &format.channel, &format.message, &format.end, &format.constrain}) {
        if (!mark->text.empty() && mark->token == token) return mark_of_messages(*mark, sink);
    }
    return feed(text, sink);
}

// Whether a mark of a tagged format means something here; elsewhere it is text.
bool AnswerParser::has_place(const AnswerMark& mark) const {
    const bool in_reasoning = state_ == State::reasoning || state_ == State::name;
    const bool at_begin = state_ == State::start && !has_reasoned_;
    if (&mark == &format_->open) return at_begin || (!in_reasoning && !format_->name.empty());
    if (&mark == &format_->close) return in_reasoning || at_begin;
    if (&mark == &format_->answer_open) return state_ == State::start;
    return is_wrapped_ && state_ == State::content;
}

void AnswerParser::pass(const AnswerMark& mark) {
    if (&mark == &format_->open || &mark == &format_->close) has_reasoned_ = true;
    is_wrapped_ = &mark == &format_->answer_open;
    if (&mark == &format_->open) {
        go_to(format_->name.empty() ? State::reasoning : State::name);
    } else {
        go_to(&mark == &format_->close ? State::start : State::content);
    }
}

bool AnswerParser::mark_of_messages(const AnswerMark& mark, const ChannelSink& sink) {
    const AnswerFormat& format = *format_;
    const bool in_header = state_ == State::role || state_ == State::header;
    if (&mark == &format.constrain) {
        if (in_header) (state_ == State::role ? role_ : header_) += ' ';
        return true;
    }
    if (&mark == &format.message && in_header) return begin_message(sink);
    if (&mark == &format.message) return flush(sink);  // a message without a header goes on as it was
    if (&mark == &format.end) {
        if (!(in_header ? leave_header(sink) : flush(sink))) return false;
        go_to(State::between);
        return true;
    }
    if (&mark == &format.channel && state_ == State::role) {
        state_ = State::header;
        return true;
    }
    if (!(in_header ? leave_header(sink) : flush(sink))) return false;
    role_.clear();
    header_.clear();
    prompt_opened_ = false;
    go_to(&mark == &format.start ? State::role : State::header);
    return true;
}

bool AnswerParser::begin_message(const ChannelSink& sink) {
    const std::string role = std::exchange(role_, {}), header = std::exchange(header_, {});
    std::string_view recipient = recipient_in(role);
    if (recipient.empty()) recipient = recipient_in(header);
    if (!recipient.empty() && recipient != "assistant") {
        go_to(State::arguments);
        has_text_[static_cast<size_t>(Channel::arguments)] = false;
        return sink(Channel::call, recipient);
    }
    const std::string_view words = trimmed(header);
    const std::string_view name = words.substr(0, std::min(words.find_first_of(kSpace), words.size()));
    go_to(name == format_->reasoning_name ? State::reasoning : State::content);
    return true;
}

// A header that no message follows. Roles and names are dropped. What a model wrote behind the role that the prompt
// began may be an answer without a header.
bool AnswerParser::leave_header(const ChannelSink& sink) {
    const std::string role = std::exchange(role_, {});
    header_.clear();
    const bool is_answer = state_ == State::role && prompt_opened_ && recipient_in(role).empty();
    go_to(State::content);
    return !is_answer || deliver(role, sink);
}

// Delivers what was held back as a possible start of a mark.
bool AnswerParser::flush(const ChannelSink& sink) {
    const std::string rest = std::exchange(held_, {});
    return rest.empty() || deliver(rest, sink);
}

bool AnswerParser::finish(const ChannelSink& sink) {
    if (state_ == State::role || state_ == State::header) return leave_header(sink);
    if (state_ == State::name) {
        if (std::string_view(format_->name).starts_with(trimmed(held_))) held_.clear();
        go_to(State::reasoning);
    }
    return flush(sink);
}

// Delivers white space only when text follows it, so that the white space around a mark disappears.
bool AnswerParser::deliver(std::string text, const ChannelSink& sink) {
    if (at_start_) {
        const size_t first = text.find_first_not_of(kSpace);
        if (first == std::string::npos) return true;
        text.erase(0, first);
    }
    const size_t last = text.find_last_not_of(kSpace);
    if (last == std::string::npos) {
        space_ += text;
        return true;
    }
    bool& has_text = has_text_[static_cast<size_t>(channel())];
    if (at_start_ && has_text) space_ = "\n\n";
    at_start_ = false;
    has_text = true;
    std::string trailing = text.substr(last + 1);
    text.erase(last + 1);
    text.insert(0, space_);
    space_ = std::move(trailing);
    return sink(channel(), text);
}

}  // namespace invar
