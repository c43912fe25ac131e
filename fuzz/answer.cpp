// Any bytes as a chat template from which the format of answers is found, and as an answer in that format or in one
// made of the input. Finding a format ends, and however an answer is cut, its channels are the same and nothing but
// marks, headers and white space is lost. Input: one byte that chooses, the template up to the first 0xFF, then the
// answer, in which a byte below 16 is a mark of the format.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "require.h"
#include "text/chat/answer_format.h"

namespace {

using namespace invar;

constexpr const char* kSpecials[] = {"<think>",     "</think>",     "<|channel>", "<channel|>",  "<|start|>",
                                     "<|channel|>", "<|message|>",  "<|end|>",    "<|call|>",    "<|return|>",
                                     "[THINK]",     "[/THINK]",     "<response>", "</response>", "<|turn>",
                                     "<turn|>",     "<|constrain|>"};

const Tokenizer& tokenizer() {
    static const Tokenizer made = [] {
        VocabularySource source;
        source.model = "gpt2";
        source.pre = "gpt-2";
        source.origin = "fuzz";
        for (int byte = 0; byte < 256; ++byte) {
            source.tokens.push_back(byte_level_text(std::string(1, static_cast<char>(byte))));
            source.kinds.push_back(1);
        }
        for (const char* text : kSpecials) {
            source.tokens.emplace_back(text);
            source.kinds.push_back(3);
        }
        auto result = Tokenizer::create(std::move(source));
        require(result.has_value());
        return std::move(*result);
    }();
    return made;
}

AnswerFormat made_format(uint8_t choice) {
    const auto mark = [&](const char* text) {
        return AnswerMark{text, (choice & 16) != 0 ? *tokenizer().find(text) : -1};
    };
    AnswerFormat format;
    format.kind = static_cast<AnswerFormat::Kind>(choice % 3);
    if (format.kind == AnswerFormat::Kind::tagged) {
        format.open = mark("<think>");
        format.close = mark("</think>");
        if ((choice & 32) != 0) {
            format.answer_open = mark("<response>");
            format.answer_close = mark("</response>");
        }
        if ((choice & 64) != 0 && format.open.token >= 0) format.name = "thought";
    } else if (format.kind == AnswerFormat::Kind::messages) {
        choice |= 16;  // the marks of messages are always tokens
        format.start = mark("<|start|>");
        format.channel = mark("<|channel|>");
        format.message = mark("<|message|>");
        format.end = mark("<|end|>");
        format.constrain = mark("<|constrain|>");
        format.reasoning_name = "analysis";
    }
    return format;
}

std::vector<AnswerMark> marks_of(const AnswerFormat& format) {
    std::vector<AnswerMark> marks;
    for (const AnswerMark& mark : {format.open, format.close, format.answer_open, format.answer_close, format.start,
                                   format.channel, format.message, format.end, format.constrain}) {
        if (!mark.text.empty()) marks.push_back(mark);
    }
    return marks;
}

Answer parse(const AnswerFormat& format, const std::string& prompt, std::string_view input, size_t most) {
    const std::vector<AnswerMark> marks = marks_of(format);
    Answer answer;
    const ChannelSink sink = [&](Channel channel, std::string_view text) {
        require(!text.empty());
        require(channel != Channel::arguments || !answer.calls.empty());
        add_to(answer, channel, text);
        return true;
    };
    AnswerParser parser(format, prompt);
    std::string text;
    const auto give_text = [&] {
        for (size_t at = 0; at < text.size(); at += most)
            require(parser.feed(std::string_view(text).substr(at, most), sink));
        text.clear();
    };
    for (const char byte : input) {
        const auto choice = static_cast<uint8_t>(byte);
        if (choice >= 16 || choice == '\n' || marks.empty()) {
            text += byte;
            continue;
        }
        const AnswerMark& mark = marks[choice % marks.size()];
        if (mark.token < 0) {
            text += mark.text;
            continue;
        }
        give_text();
        require(parser.feed_mark(mark.token, mark.text, sink));
    }
    give_text();
    parser.finish(sink);
    return answer;
}

bool same(const Answer& a, const Answer& b) {
    return a.content == b.content && a.reasoning == b.reasoning && a.calls.size() == b.calls.size() &&
           std::equal(a.calls.begin(), a.calls.end(), b.calls.begin(), [](const auto& one, const auto& other) {
               return one.name == other.name && one.arguments == other.arguments;
           });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) return 0;
    const std::string_view all(reinterpret_cast<const char*>(data) + 1, size - 1);
    const size_t cut = std::min(all.find('\xFF'), all.size());
    const std::string source(all.substr(0, cut));
    const std::string_view input = all.substr(std::min(cut + 1, all.size()));
    AnswerFormat format = made_format(data[0]);
    std::string prompt = (data[0] & 8) != 0 ? source : std::string();
    if (data[0] >= 128) {
        const auto compiled = ChatTemplate::compile(source, "fuzz");
        if (!compiled) return 0;
        format = answer_format_of(*compiled, tokenizer(), Json::object());
        require(!describe(format).empty());
        prompt.clear();
    }
    const Answer whole = parse(format, prompt, input, input.size() + 64);
    for (const size_t most : {size_t{1}, size_t{3}}) require(same(parse(format, prompt, input, most), whole));
    if (format.kind == AnswerFormat::Kind::plain) {
        const auto first = input.find_first_not_of(" \t\r\n");
        const std::string_view trimmed =
            first == std::string_view::npos ? "" : input.substr(first, input.find_last_not_of(" \t\r\n") + 1 - first);
        require(whole.content == trimmed);
    }
    const Json message = assistant_message(format, whole);
    require(message.contains("content"));
    return 0;
}
