#include "text/chat/channels.h"

#include <algorithm>
#include <utility>

namespace invar {
namespace {

constexpr std::string_view kSpace = " \t\r\n";

// The length of the longest end of `text` that is a proper start of `marker`.
size_t partial_marker(std::string_view text, std::string_view marker) {
    for (size_t length = std::min(text.size(), marker.size() - 1); length > 0; --length) {
        if (text.ends_with(marker.substr(0, length))) return length;
    }
    return 0;
}

}  // namespace

bool ChannelSplitter::feed(std::string_view text, const ChannelSink& sink) {
    held_ += text;
    for (;;) {
        const size_t found = held_.find(marker());
        if (found == std::string::npos) break;
        const size_t length = marker().size();
        const std::string before = held_.substr(0, found);
        held_.erase(0, found + length);
        if (!deliver(before, sink)) return false;
        channel_ = channel_ == Channel::content ? Channel::reasoning : Channel::content;
        at_start_ = true;
        space_.clear();
    }
    const size_t keep = partial_marker(held_, marker());
    const std::string certain = held_.substr(0, held_.size() - keep);
    held_.erase(0, certain.size());
    return deliver(certain, sink);
}

bool ChannelSplitter::finish(const ChannelSink& sink) {
    const std::string rest = std::exchange(held_, {});
    return deliver(rest, sink);
}

// Delivers white space only when text follows it, so that the white space around a marker disappears.
bool ChannelSplitter::deliver(std::string text, const ChannelSink& sink) {
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
    at_start_ = false;
    std::string trailing = text.substr(last + 1);
    text.erase(last + 1);
    text.insert(0, space_);
    space_ = std::move(trailing);
    return sink(channel_, text);
}

Channel starting_channel(std::string_view prompt) {
    const size_t last = prompt.find_last_not_of(kSpace);
    const std::string_view trimmed = last == std::string_view::npos ? std::string_view() : prompt.substr(0, last + 1);
    return trimmed.ends_with("<think>") ? Channel::reasoning : Channel::content;
}

}  // namespace invar
