// Splits a model's answer into its channels as it streams: reasoning between <think> and </think>, content outside. The
// markers are text, because models ship them as special tokens and as plain ones alike. It does not decide whether a
// model reasons.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace invar {

enum class Channel : uint8_t { content, reasoning };

using ChannelSink = std::function<bool(Channel channel, std::string_view text)>;  // false: stop

// Feeding pieces in any split gives the same channels. White space around the markers belongs to neither channel.
class ChannelSplitter {
  public:
    // start: reasoning when the prompt itself ended with an open <think>.
    explicit ChannelSplitter(Channel start) : channel_(start), at_start_(true) {}

    bool feed(std::string_view text, const ChannelSink& sink);
    bool finish(const ChannelSink& sink);

  private:
    bool deliver(std::string text, const ChannelSink& sink);
    std::string_view marker() const { return channel_ == Channel::content ? kOpen : kClose; }

    static constexpr std::string_view kOpen = "<think>", kClose = "</think>";

    Channel channel_;
    bool at_start_;      // nothing delivered in this channel yet: leading white space is dropped
    std::string held_;   // may be the start of a marker
    std::string space_;  // white space not yet known to be inside the channel's text
};

// Whether a rendered prompt leaves a reasoning block open.
Channel starting_channel(std::string_view prompt);

}  // namespace invar
