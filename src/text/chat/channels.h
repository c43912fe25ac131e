// Splits a model's answer into its channels as it streams: reasoning between <think> and </think>, content outside. The
// markers are matched as text, because models have them as special tokens or as plain ones. This class does not decide
// whether a model reasons.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace invar {

enum class Channel : uint8_t { content, reasoning };

using ChannelSink = std::function<bool(Channel channel, std::string_view text)>;  // returning false stops

// However the text is cut into pieces, the channels are the same. White space around the markers belongs to neither.
class ChannelSplitter {
  public:
    // start: reasoning if the prompt itself ends with an open <think>.
    explicit ChannelSplitter(Channel start) : channel_(start), at_start_(true) {}

    bool feed(std::string_view text, const ChannelSink& sink);
    bool finish(const ChannelSink& sink);

  private:
    bool deliver(std::string text, const ChannelSink& sink);
    std::string_view marker() const { return channel_ == Channel::content ? kOpen : kClose; }

    static constexpr std::string_view kOpen = "<think>", kClose = "</think>";

    Channel channel_;
    bool at_start_;      // nothing was delivered in this channel yet, so leading white space is dropped
    std::string held_;   // text that may be the start of a marker
    std::string space_;  // white space that is delivered only if text of the channel follows
};

// Whether a rendered prompt leaves a reasoning block open.
Channel starting_channel(std::string_view prompt);

}  // namespace invar
