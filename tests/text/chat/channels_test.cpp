// How answers are split: written as text with marks, cut at every byte between the marks, in every format. That formats
// are found in templates is answer_format_test.cpp's.
#include "text/chat/channels.h"

#include <gtest/gtest.h>

#include <random>

#include "text/chat/answer_format.h"
#include "text/chat/answer_test_support.h"

namespace invar {
namespace {

using namespace answer_test;

TEST(Channels, SeparateReasoningFromContentWithoutTheSpaceAroundMarks) {
    for (const AnswerFormat& format : {think_as_text(), think_as_tokens()}) {
        EXPECT_EQ(parse(format, "", "<think>\nadd 2 and 2\n</think>\n\nIt is 4."), (Split{"It is 4.", "add 2 and 2"}));
        EXPECT_EQ(parse(format, "", "just text"), (Split{"just text", ""}));
        EXPECT_EQ(parse(format, "<think>\n", "still thinking</think>done"), (Split{"done", "still thinking"}));
        EXPECT_EQ(parse(format, "", "<think></think>\n\nanswer"), (Split{"answer", ""}));
        EXPECT_EQ(parse(format, "<think>\n\n</think>\n\n", "answer"), (Split{"answer", ""}));
        EXPECT_EQ(parse(format, "", " </think>\n\nanswer"), (Split{"answer", ""})) << "closed without being opened";
        EXPECT_EQ(parse(format, "", "a  b\n\nc \n"), (Split{"a  b\n\nc", ""}));
        EXPECT_EQ(parse(format, "<think>", "never closed <"), (Split{"", "never closed <"}));
    }
}

TEST(Channels, OpenReasoningOnceSoThatAnAnswerMaySpeakOfTheMarks) {
    for (const AnswerFormat& format : {think_as_text(), think_as_tokens()}) {
        const std::string answer = "Write <think> and </think> around it.";
        EXPECT_EQ(parse(format, "", answer), (Split{answer, ""}));
        EXPECT_EQ(parse(format, "", "<think>a</think>" + answer), (Split{answer, "a"}));
        EXPECT_EQ(parse(format, "", "<think>a</think> <think>b</think>"), (Split{"<think>b</think>", "a"}));
        EXPECT_EQ(parse(format, "", "<think>a <think> b</think>c"), (Split{"c", "a <think> b"}));
        EXPECT_EQ(parse(format, "", "1 <thin 2 </think> 3 <"), (Split{"1 <thin 2 </think> 3 <", ""}));
    }
}

TEST(Channels, TakeAMarkOfTheVocabularyByItsTokenAndNeverByItsCharacters) {
    Parse parse_tokens(think_as_tokens(), "");
    parse_tokens.text("<think>no mark</think>");
    EXPECT_EQ(parse_tokens.done(), (Split{"<think>no mark</think>", ""}));
    Parse inside(think_as_tokens(), "<think>");
    inside.text("a</think>b");
    inside.mark("</think>");
    inside.text("c");
    EXPECT_EQ(inside.done(), (Split{"c", "a</think>b"}));
    Parse harmony(harmony_format(), kHarmonyPrompt);
    for (const char* mark : {"<|channel|>", "", "<|message|>"}) *mark != 0 ? harmony.mark(mark) : harmony.text("final");
    harmony.text("<|channel|>analysis<|message|>x");
    EXPECT_EQ(harmony.done(), (Split{"<|channel|>analysis<|message|>x", ""}));
}

TEST(Channels, ReadNamedChannelsWhereverTheyStand) {
    const AnswerFormat format = gemma_format();
    EXPECT_EQ(parse(format, "", "<|channel>thought\nlong\nwork\n<channel|>Four."), (Split{"Four.", "long\nwork"}));
    EXPECT_EQ(parse(format, "<|turn>model\n<|channel>thought\n<channel|>", "Four."), (Split{"Four.", ""}));
    EXPECT_EQ(parse(format, "<|turn>model\n<|channel>thought\n", "a<channel|>b"), (Split{"b", "a"}));
    EXPECT_EQ(parse(format, "", "One. <|channel>thought\nmore<channel|> Two."), (Split{"One.\n\nTwo.", "more"}));
    EXPECT_EQ(parse(format, "", "<|channel>thought<channel|>b"), (Split{"b", ""})) << "no line break";
    EXPECT_EQ(parse(format, "", "<|channel>tho"), (Split{"", ""})) << "the name is not complete";
    EXPECT_EQ(parse(format, "", "<|channel>"), (Split{"", ""}));
    EXPECT_EQ(parse(format, "", "<|channel>thought\nhalf"), (Split{"", "half"}));
    EXPECT_EQ(parse(format, "", "<|channel>something else"), (Split{"", "something else"}));
    const std::string line(100, 'x');
    EXPECT_EQ(parse(format, "", "<|channel>" + line + "\n<channel|>b"), (Split{"b", line})) << "too long for a name";
    EXPECT_EQ(parse(format, "", "a<channel|>b"), (Split{"a<channel|>b", ""})) << "nothing was opened";
}

TEST(Channels, ReadHarmonysMessages) {
    const AnswerFormat format = harmony_format();
    const std::string analysis = "<|channel|>analysis<|message|>2 + 2<|end|><|start|>assistant";
    EXPECT_EQ(parse(format, kHarmonyPrompt, analysis + "<|channel|>final<|message|>Four."), (Split{"Four.", "2 + 2"}));
    EXPECT_EQ(parse(format, kHarmonyPrompt,
                    analysis + "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>analysis"
                               "<|message|>now<|end|><|start|>assistant<|channel|>final<|message|>Four.<|end|>"),
              (Split{"I look.\n\nFour.", "2 + 2\n\nnow"}));
    EXPECT_EQ(parse(format, kHarmonyPrompt, analysis + "<|channel|>final"), (Split{"", "2 + 2"}));
    EXPECT_EQ(parse(format, kHarmonyPrompt, "<|channel|>analysis<|message|>half"), (Split{"", "half"}));
    EXPECT_EQ(parse(format, kHarmonyPrompt, "<|channel|>final<|message|>a<|channel|>analysis<|message|>b"),
              (Split{"a", "b"}))
        << "a message that was not ended";
    EXPECT_EQ(parse(format, kHarmonyPrompt, "Hello, I know no headers."), (Split{"Hello, I know no headers.", ""}));
    EXPECT_EQ(parse(format, kHarmonyPrompt, " to"), (Split{"to", ""}));
    EXPECT_EQ(parse(format, kHarmonyPrompt, ""), (Split{"", ""}));
    EXPECT_EQ(parse(format, kHarmonyPrompt, "<|message|>bare<|end|> stray"), (Split{"bare\n\nstray", ""}));
    EXPECT_EQ(parse(format, std::string(kHarmonyPrompt) + "<|channel|>analysis<|message|>", "a<|end|>"),
              (Split{"", "a"}));
    const std::string role(300, 'r');
    EXPECT_EQ(parse(format, kHarmonyPrompt, "<|end|><|start|>" + role + "x"), (Split{role + "x", ""}));
}

TEST(Channels, ReadHarmonysCallsWithTheRecipientBeforeOrBehindTheChannel) {
    const AnswerFormat format = harmony_format();
    const Split wanted{"", "", {{"get_weather", R"({"city": "Bern"})"}}};
    for (const char* header : {"<|channel|>commentary to=functions.get_weather <|constrain|>json",
                               " to=functions.get_weather<|channel|>commentary json",
                               " to=functions.get_weather<|channel|>commentary <|constrain|>json",
                               "<|channel|>commentary to=functions.get_weather<|constrain|>json"}) {
        EXPECT_EQ(parse(format, kHarmonyPrompt, std::string(header) + "<|message|>{\"city\": \"Bern\"}"), wanted)
            << header;
    }
    EXPECT_EQ(parse(format, kHarmonyPrompt,
                    "<|channel|>commentary to=functions.a<|message|>{}<|end|><|start|>assistant<|channel|>commentary "
                    "to=browser.search<|message|>{\"q\":1}"),
              (Split{"", "", {{"a", "{}"}, {"browser.search", "{\"q\":1}"}}}));
    EXPECT_EQ(parse(format, kHarmonyPrompt, "<|channel|>commentary to=functions.a <|constrain|>json"), Split{})
        << "a call without a message is none";
}

TEST(Channels, TakeOffTheMarksAroundTheAnswer) {
    AnswerFormat format = think_as_text();
    format.answer_open = {"<response>", -1};
    format.answer_close = {"</response>", -1};
    EXPECT_EQ(parse(format, "", "<think>a</think>\n<response>b</response>"), (Split{"b", "a"}));
    EXPECT_EQ(parse(format, "", "<think>a</think>b </response>"), (Split{"b </response>", "a"}));
    EXPECT_EQ(parse(format, "", "<response> b </respons"), (Split{"b </respons", ""}));
    EXPECT_EQ(parse(format, "", "<response>b</response> c"), (Split{"b\n\nc", ""}));
    EXPECT_EQ(parse(format, "", "say <response>"), (Split{"say <response>", ""}));
}

// Marks and their beginnings, names, headers, white space and text, in any order.
std::string random_answer(std::mt19937& random, const AnswerFormat& format) {
    std::vector<std::string> parts = {"thought\n", "analysis", "final", "commentary", " to=functions.f ", "assistant",
                                      "to=",       " ",        "\n\n",  "text",       "\xC3\xA9",         "<"};
    if (format.kind == AnswerFormat::Kind::messages) {
        parts.push_back("<|channel|>commentary to=functions.f <|constrain|>json<|message|>");
        parts.push_back("<|end|><|start|>assistant");
    }
    for (const AnswerMark& mark : marks_of(format)) {
        parts.push_back(mark.text);
        parts.push_back(mark.text);
        parts.push_back(mark.text.substr(0, 1 + random() % mark.text.size()));
    }
    std::string text;
    for (size_t count = random() % 14; count > 0; --count) text += parts[random() % parts.size()];
    return text;
}

TEST(Channels, AreTheSameHoweverTheTextIsCut) {
    std::mt19937 random(7);
    size_t compared = 0, with_reasoning = 0, with_calls = 0;
    for (const AnswerFormat& format : every_format()) {
        for (int round = 0; round < 1500; ++round) {
            const std::string prompt = round % 2 == 0 ? prompt_of(format) : "";
            const std::string answer = random_answer(random, format);
            const Split whole = parse(format, prompt, answer, answer.size());
            with_reasoning += !whole.reasoning.empty();
            with_calls += !whole.calls.empty();
            for (const size_t bytes : {1, 2, 3, 7}) {
                ASSERT_EQ(parse(format, prompt, answer, bytes), whole) << answer << " in pieces of " << bytes;
                ++compared;
            }
        }
    }
    std::printf("[channels] %zu parses compared; of the answers, %zu reason and %zu call\n", compared, with_reasoning,
                with_calls);
    EXPECT_GT(with_reasoning, 1000u);
    EXPECT_GT(with_calls, 100u);
}

TEST(Channels, StopWhenTheSinkSaysSo) {
    for (const AnswerFormat& format : every_format()) {
        AnswerParser parser(format, "");
        const ChannelSink refuse = [](Channel, std::string_view) { return false; };
        bool goes_on = true;
        for (int i = 0; goes_on && i < 3; ++i) goes_on = parser.feed("some text. ", refuse);
        EXPECT_FALSE(goes_on);
    }
}

}  // namespace
}  // namespace invar
