#include "text/chat/channels.h"

#include <gtest/gtest.h>

#include <random>

namespace invar {
namespace {

struct Split {
    std::string content, reasoning;
    bool operator==(const Split&) const = default;
};

Split split_in_pieces(std::string_view text, const std::vector<size_t>& cuts, Channel start) {
    Split result;
    ChannelSplitter splitter(start);
    const ChannelSink sink = [&](Channel channel, std::string_view part) {
        (channel == Channel::content ? result.content : result.reasoning) += part;
        return true;
    };
    size_t from = 0;
    for (const size_t cut : cuts) {
        splitter.feed(text.substr(from, cut - from), sink);
        from = cut;
    }
    splitter.feed(text.substr(from), sink);
    splitter.finish(sink);
    return result;
}

TEST(Channels, SeparatesReasoningFromContentWithoutTheSpaceAroundMarkers) {
    EXPECT_EQ(split_in_pieces("<think>\nadd 2 and 2\n</think>\n\nIt is 4.", {}, Channel::content),
              (Split{"It is 4.", "add 2 and 2"}));
    EXPECT_EQ(split_in_pieces("just text", {}, Channel::content), (Split{"just text", ""}));
    EXPECT_EQ(split_in_pieces("still thinking</think>done", {}, Channel::reasoning), (Split{"done", "still thinking"}));
    EXPECT_EQ(split_in_pieces("<think></think>\n\nanswer", {}, Channel::content), (Split{"answer", ""}));
}

TEST(Channels, KeepsSpaceInsideAndDropsItAtTheEnd) {
    EXPECT_EQ(split_in_pieces("a  b\n\nc \n", {}, Channel::content), (Split{"a  b\n\nc", ""}));
}

TEST(Channels, KeepsTextThatOnlyLooksLikeAMarker) {
    EXPECT_EQ(split_in_pieces("1 <thin 2 </think> 3 <", {}, Channel::content), (Split{"1 <thin 2 </think> 3 <", ""}));
}

TEST(Channels, GivesTheSameForEverySplit) {
    const std::string text = " <think>\n a <th b </thin </think>\n\n c <think> d </think> e  ";
    const Split whole = split_in_pieces(text, {}, Channel::content);
    EXPECT_EQ(whole.reasoning, "a <th b </thind");
    EXPECT_EQ(whole.content, "ce");
    std::mt19937 random(7);
    for (int round = 0; round < 2000; ++round) {
        std::vector<size_t> cuts;
        for (size_t i = 1; i < text.size(); ++i) {
            if (random() % 3 == 0) cuts.push_back(i);
        }
        ASSERT_EQ(split_in_pieces(text, cuts, Channel::content), whole) << "round " << round;
    }
}

TEST(Channels, StartsWhereThePromptLeftOff) {
    EXPECT_EQ(starting_channel("<|im_start|>assistant\n<think>\n"), Channel::reasoning);
    EXPECT_EQ(starting_channel("<|im_start|>assistant\n<think>\n\n</think>\n\n"), Channel::content);
    EXPECT_EQ(starting_channel(""), Channel::content);
}

}  // namespace
}  // namespace invar
