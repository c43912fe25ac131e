// Formats found in templates of our own, one for each way in which published templates write reasoning: where the
// generation prompt opens it, closes it or is silent; where a history shows it always, only with a call, or never. And
// in templates of real models, where they are present.
#include "text/chat/answer_format.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "text/chat/answer_test_support.h"
#include "text/tokenizer/tokenizer_test_support.h"

namespace invar {
namespace {

using namespace answer_test;
using tokenizer_test::read_file;

constexpr const char* kEnd = "<|turn_end|>";

Tokenizer tokenizer_with(const std::vector<std::string>& specials, int32_t kind = 3) {
    VocabularySource source = tokenizer_test::source_of(tokenizer_test::read_fixture("byte_level.json"));
    source.pre = "qwen2";
    source.bos = source.eos = source.unknown = -1;
    for (size_t id = 0; id < source.tokens.size(); ++id) {  // its own special tokens are renamed
        if (source.kinds[id] == 1) continue;
        source.tokens[id] = fmt::format("special {}", id);
        source.kinds[id] = 5;
    }
    for (const std::string& text : specials) {
        if (text == kEnd) source.eos = static_cast<int32_t>(source.tokens.size());
        source.tokens.push_back(text);
        source.kinds.push_back(kind);
    }
    return tokenizer_test::tokenizer_of(std::move(source));
}

ChatTemplate compiled(const std::string& source) {
    auto result = ChatTemplate::compile(source, "test");
    if (!result) throw std::runtime_error(result.error().message);
    return std::move(*result);
}

AnswerFormat format_of(const std::string& source, const Tokenizer& tokenizer) {
    return answer_format_of(compiled(source), tokenizer, Json::object());
}

// The prompt for the next answer of a conversation.
std::string prompt_for(const std::string& source, const Json& messages, const Json& variables = Json::object()) {
    Json context = variables;
    context["messages"] = messages;
    context["add_generation_prompt"] = true;
    auto text = compiled(source).render(context, TemplateLimits{}, 0);
    return text ? *text : "refused: " + text.error().message;
}

Json user(const std::string& text) { return {{"role", "user"}, {"content", text}}; }

// What the tokens of an answer split into. The vocabulary decides which of them are marks.
Split parse_tokens(const AnswerFormat& format, const Tokenizer& tokenizer, const std::string& prompt,
                   const std::string& answer) {
    Split split;
    AnswerParser parser(format, prompt);
    const ChannelSink sink = [&](Channel channel, std::string_view text) {
        if (channel == Channel::call) split.calls.emplace_back(text, "");
        if (channel == Channel::arguments) split.calls.at(split.calls.size() - 1).second += text;
        if (channel == Channel::content) split.content += text;
        if (channel == Channel::reasoning) split.reasoning += text;
        return true;
    };
    const std::vector<int32_t> marks = format.tokens();
    TokenStream stream(tokenizer, false, TokenStream::Begins::continuation);
    for (const int32_t token : tokenizer_test::encode(tokenizer, answer, Specials::parse)) {
        if (std::find(marks.begin(), marks.end(), token) != marks.end()) {
            parser.feed_mark(token, tokenizer.piece(token), sink);
        } else {
            parser.feed(stream.feed(token), sink);
        }
    }
    parser.feed(stream.finish(), sink);
    parser.finish(sink);
    return split;
}

Answer answer_of(const Split& split) {
    Answer answer;
    answer.content = split.content;
    answer.reasoning = split.reasoning;
    for (const auto& [name, arguments] : split.calls) answer.calls.push_back({name, arguments});
    return answer;
}

// Reasoning of the last answers is kept, and the generation prompt opens it, or closes it at once.
constexpr const char* kOpens = R"({% set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'user' %}
{%- set ns.last = loop.index0 %}{% endif %}{% endfor %}{% for m in messages -%}
<|turn_start|>{{ m.role }}
{% if m.role == 'assistant' and loop.index0 > ns.last %}<think>
{{ (m.reasoning_content or '') | trim }}
</think>

{% endif %}{{ m.content }}<|turn_end|>
{% endfor %}{% if add_generation_prompt %}<|turn_start|>assistant
{{ '<think>\n\n</think>\n\n' if enable_thinking is defined and not enable_thinking else '<think>\n' }}{% endif %})";

TEST(AnswerFormat, IsFoundWhereTheGenerationPromptOpensOrClosesTheReasoning) {
    for (const int32_t kind : {3, 4}) {
        const Tokenizer tokenizer = tokenizer_with({"<think>", "</think>", "<|turn_start|>", kEnd}, kind);
        const AnswerFormat format = format_of(kOpens, tokenizer);
        ASSERT_EQ(format.kind, AnswerFormat::Kind::tagged);
        EXPECT_EQ(format.open, (AnswerMark{"<think>", *tokenizer.find("<think>")}));
        EXPECT_EQ(format.close, (AnswerMark{"</think>", *tokenizer.find("</think>")}));
        EXPECT_EQ(format.name, "");
        EXPECT_EQ(format.reasoning_key, "reasoning_content");
        EXPECT_TRUE(format.answer_open.text.empty());
        const Json question = Json::array({user("2 + 2?")});
        EXPECT_EQ(parse_tokens(format, tokenizer, prompt_for(kOpens, question), "sum\n</think>\n\nFour."),
                  (Split{"Four.", "sum"}));
        const Json quick = {{"enable_thinking", false}};
        EXPECT_EQ(parse_tokens(format, tokenizer, prompt_for(kOpens, question, quick), "Four."), (Split{"Four.", ""}));
        EXPECT_EQ(describe(format), "reasoning between <think> and </think>");
    }
    const Tokenizer no_tokens = tokenizer_with({kEnd});
    EXPECT_EQ(format_of(kOpens, no_tokens).open, (AnswerMark{"<think>", -1})) << "found in the text";
    const Tokenizer ordinary = tokenizer_with({"<think>", "</think>"}, 1);
    EXPECT_EQ(format_of(kOpens, ordinary).open, (AnswerMark{"<think>", -1})) << "an ordinary token is no mark";
}

// A named channel, shown in the history only where a call follows it.
constexpr const char* kNamed = R"({% for m in messages %}{% set role = 'model' if m.role == 'assistant' else m.role -%}
{{ '<|turn>' + role + '\n' }}{% set thought = m.get('reasoning') or m.get('reasoning_content') %}
{%- if thought and m.get('tool_calls') %}{{ '<|channel>thought\n' + thought + '\n<channel|>' }}{% endif %}
{%- for call in m.get('tool_calls') or [] %}{{ '<|tool_call>call:' + call.function.name + '{}<tool_call|>' }}{% endfor %}
{{- m.content }}{{ '<turn|>\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|turn>model\n' }}{% if not enable_thinking | default(false) %}
{{- '<|channel>thought\n<channel|>' }}{% endif %}{% endif %})";

TEST(AnswerFormat, IsFoundForANamedChannelThatOnlyCallsShow) {
    const Tokenizer tokenizer =
        tokenizer_with({"<|channel>", "<channel|>", "<|turn>", "<turn|>", "<|tool_call>", "<tool_call|>", "<eos>"}, 4);
    const AnswerFormat format = format_of(kNamed, tokenizer);
    ASSERT_EQ(format.kind, AnswerFormat::Kind::tagged);
    EXPECT_EQ(format.open.token, tokenizer.find("<|channel>"));
    EXPECT_EQ(format.close.token, tokenizer.find("<channel|>"));
    EXPECT_EQ(format.name, "thought");
    EXPECT_EQ(describe(format), "reasoning between <|channel>thought and <channel|>");
    const Json question = Json::array({user("2 + 2?")});
    const std::string answer = "<|channel>thought\nsum\n<channel|>Four.";
    EXPECT_EQ(parse_tokens(format, tokenizer, prompt_for(kNamed, question, {{"enable_thinking", true}}), answer),
              (Split{"Four.", "sum"}));
    EXPECT_EQ(parse_tokens(format, tokenizer, prompt_for(kNamed, question), "Four."), (Split{"Four.", ""}));
    EXPECT_EQ(format_of(kNamed, tokenizer_with({"<turn|>"})).kind, AnswerFormat::Kind::plain)
        << "a named channel needs tokens";
}

// Messages with headers, in a dialect with names of its own.
constexpr const char* kMessages = R"({% for m in messages %}{% if m.role == 'assistant' %}{% if 'tool_calls' in m %}
{%- if m.content and m.thinking %}{{ raise_exception('both') }}{% endif %}
{%- if m.thinking %}{{ '<|start|>assistant<|channel|>musing<|message|>' + m.thinking + '<|end|>' }}{% endif %}
{%- set call = m.tool_calls[0].function %}{{ '<|start|>assistant to=functions.' + call.name }}
{{- '<|channel|>commentary json<|message|>' + call.arguments | tojson + '<|call|>' }}{% else %}
{%- if loop.last and not add_generation_prompt and 'thinking' in m %}
{{- '<|start|>assistant<|channel|>musing<|message|>' + m.thinking + '<|end|>' }}{% endif %}
{{- '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|end|>' }}{% endif %}{% else %}
{{- '<|start|>' + m.role + '<|message|>' + m.content + '<|end|>' }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}<|start|>assistant{% endif %})";

TEST(AnswerFormat, IsFoundForMessagesWhoseHeadersNameTheChannel) {
    const Tokenizer tokenizer = tokenizer_with({"<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|call|>",
                                                "<|return|>", "<|constrain|>", "<|endoftext|>"});
    const AnswerFormat format = format_of(kMessages, tokenizer);
    ASSERT_EQ(format.kind, AnswerFormat::Kind::messages);
    EXPECT_EQ(format.start.token, tokenizer.find("<|start|>"));
    EXPECT_EQ(format.channel.token, tokenizer.find("<|channel|>"));
    EXPECT_EQ(format.message.token, tokenizer.find("<|message|>"));
    EXPECT_EQ(format.end.token, tokenizer.find("<|end|>"));
    EXPECT_EQ(format.constrain.token, tokenizer.find("<|constrain|>"));
    EXPECT_EQ(format.reasoning_name, "musing");
    EXPECT_EQ(format.reasoning_key, "thinking");
    EXPECT_FALSE(tokenizer.is_end_of_generation(format.end.token));
    const Json question = Json::array({user("Weather?")});
    const std::string prompt = prompt_for(kMessages, question);
    EXPECT_EQ(parse_tokens(format, tokenizer, prompt,
                           "<|channel|>musing<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Sun."),
              (Split{"Sun.", "hm"}));
    const Split called = parse_tokens(format, tokenizer, prompt,
                                      "<|channel|>musing<|message|>ask<|end|><|start|>assistant<|channel|>commentary "
                                      "to=functions.sky <|constrain|>json<|message|>{\"city\":\"Bern\"}");
    EXPECT_EQ(called, (Split{"", "ask", {{"sky", "{\"city\":\"Bern\"}"}}}));
    const Json history = Json::array({user("Weather?"), assistant_message(format, answer_of(called))});
    EXPECT_EQ(prompt_for(kMessages, history),
              "<|start|>user<|message|>Weather?<|end|><|start|>assistant<|channel|>musing<|message|>ask<|end|>"
              "<|start|>assistant to=functions.sky<|channel|>commentary json<|message|>{\"city\": \"Bern\"}<|call|>"
              "<|start|>assistant");
    Split both = called;
    both.content = "I look.";
    const Json with_both = Json::array({user("Weather?"), assistant_message(format, answer_of(both))});
    EXPECT_TRUE(prompt_for(kMessages, with_both).starts_with("<|start|>user")) << "such a template refuses two texts";
}

// Reasoning is a part of the content.
constexpr const char* kParts = R"({% for m in messages %}{% if m.role == 'user' %}[INST]{{ m.content }}[/INST]{% else %}
{%- if m.content is string %}{{ m.content }}{% else %}{% for part in m.content %}{% if part.type == 'thinking' %}
{{- '[THINK]' + part.thinking + '[/THINK]' }}{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}</s>{% endif %}
{%- endfor %})";

TEST(AnswerFormat, IsFoundWhereReasoningIsAPartOfTheContent) {
    const Tokenizer tokenizer = tokenizer_with({"[INST]", "[/INST]", "[THINK]", "[/THINK]"});
    const AnswerFormat format = format_of(kParts, tokenizer);
    ASSERT_EQ(format.kind, AnswerFormat::Kind::tagged);
    EXPECT_EQ(format.open, (AnswerMark{"[THINK]", *tokenizer.find("[THINK]")}));
    EXPECT_TRUE(format.reasoning_is_part);
    const Split split =
        parse_tokens(format, tokenizer, prompt_for(kParts, Json::array({user("a")})), "[THINK]b[/THINK]c");
    EXPECT_EQ(split, (Split{"c", "b"}));
    const Json history = Json::array({user("a"), assistant_message(format, answer_of(split)), user("d")});
    EXPECT_EQ(prompt_for(kParts, history), "[INST]a[/INST][THINK]b[/THINK]c</s>[INST]d[/INST]");
}

TEST(AnswerFormat, IsFoundWithMarksAroundTheAnswer) {
    const std::string source =
        "{% for m in messages %}{{ '<|' + m.role + '|>' }}{% if m.thinking %}<|START_THINKING|>{{ m.thinking }}"
        "<|END_THINKING|>{% endif %}<|START_TEXT|>{{ m.content }}<|END_TEXT|>{% endfor %}";
    const Tokenizer tokenizer = tokenizer_with(
        {"<|START_THINKING|>", "<|END_THINKING|>", "<|START_TEXT|>", "<|END_TEXT|>", "<|user|>", "<|assistant|>"});
    const AnswerFormat format = format_of(source, tokenizer);
    ASSERT_EQ(format.kind, AnswerFormat::Kind::tagged);
    EXPECT_EQ(format.reasoning_key, "thinking");
    EXPECT_EQ(format.answer_open.text, "<|START_TEXT|>");
    EXPECT_EQ(format.answer_close.text, "<|END_TEXT|>");
    EXPECT_EQ(parse_tokens(format, tokenizer, "", "<|START_THINKING|>a<|END_THINKING|><|START_TEXT|>b<|END_TEXT|>"),
              (Split{"b", "a"}));
}

TEST(AnswerFormat, IsReadFromTheTextOfTemplatesThatNeverShowReasoning) {
    // Cuts it out of the history.
    const std::string cuts =
        "{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content.split('</think>')[-1] }}{% else %}"
        "{{ '<|User|>' + m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}<|Assistant|><think>\n"
        "{% endif %}";
    const Tokenizer tokenizer = tokenizer_with({"<think>", "</think>", "<|User|>", "<|Assistant|>"}, 4);
    const AnswerFormat format = format_of(cuts, tokenizer);
    EXPECT_EQ(format.open.token, tokenizer.find("<think>"));
    EXPECT_EQ(parse_tokens(format, tokenizer, prompt_for(cuts, Json::array({user("a")})), "b</think>c"),
              (Split{"c", "b"}));
    // Asks for it in words.
    const std::string asks =
        "{{ 'Write your thoughts between <think></think> and write your response between <response></response>.' }}"
        "{% for m in messages %}{{ m.content }}{% endfor %}";
    const AnswerFormat asked = format_of(asks, tokenizer_with({}));
    EXPECT_EQ(asked.open, (AnswerMark{"<think>", -1}));
    EXPECT_EQ(asked.answer_open, (AnswerMark{"<response>", -1}));
    EXPECT_EQ(asked.answer_close, (AnswerMark{"</response>", -1}));
    EXPECT_EQ(describe(asked), "reasoning between <think> and </think>, the answer between <response> and </response>");
    // Other names, and other brackets.
    EXPECT_EQ(format_of("{{ '</seed:think>' }}", tokenizer_with({})).open.text, "<seed:think>");
    EXPECT_EQ(format_of("{{ '[/THINK]' }}", tokenizer_with({})).open.text, "[THINK]");
    EXPECT_EQ(format_of("{{ '</tool_call>' }}", tokenizer_with({})).kind, AnswerFormat::Kind::plain);
}

TEST(AnswerFormat, IsPlainWithoutReasoningAndTakesNoSpeakersMarkForOne) {
    const std::string plain =
        "{% for m in messages %}<|turn_start|>{{ m.role }}\n{{ m.content }}<|turn_end|>\n{% endfor %}";
    const Tokenizer tokenizer = tokenizer_with({"<|turn_start|>", kEnd, "<|assistant|>"});
    EXPECT_EQ(format_of(plain, tokenizer).kind, AnswerFormat::Kind::plain);
    EXPECT_EQ(describe(format_of(plain, tokenizer)), "answers have no marks of reasoning");
    EXPECT_EQ(format_of(plain, tokenizer_with({"<think>", "</think>"}, 4)).open.text, "<think>")
        << "the template is silent, but the vocabulary has the marks";
    for (const char* source : {
             // Reasoning in the place of the answer: what stands around it is the speaker's.
             "{% for m in messages %}<|turn_start|>{{ m.role }}\n{{ m.reasoning_content }}{{ m.content }}<|turn_end|>"
             "{% endfor %}",
             "{% for m in messages %}<|assistant|>{% if m.reasoning_content %}{{ m.reasoning_content }}<|next|>{% "
             "endif %}"
             "{{ m.content }}{% endfor %}",
             // A series of messages with headers of another kind.
             "{% for m in messages %}{% if m.reasoning_content %}<|think|>{{ m.reasoning_content }}<|end|><|begin|>"
             "assistant{% endif %}<|content|>{{ m.content }}<|end|>{% for c in m.tool_calls or [] %}"
             "{{ c.function.name }}{% endfor %}{% endfor %}",
             // Words instead of marks.
             "{% for m in messages %}I thought: {{ m.reasoning_content }}, so {{ m.content }}{% endfor %}",
             "{{ messages }}",
             "{{ raise_exception('never') }}",
             "",
             "{% for m in messages %}{{ m.reasoning_content }}{% endfor %}",
         }) {
        EXPECT_EQ(format_of(source, tokenizer).kind, AnswerFormat::Kind::plain) << source;
    }
}

TEST(AnswerFormat, CostsLittleWhateverTheTemplate) {
    const Tokenizer tokenizer = tokenizer_with({});
    EXPECT_EQ(
        format_of("{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}", tokenizer).kind,
        AnswerFormat::Kind::plain);
    std::string brackets;
    for (int i = 0; i < 100000; ++i) brackets += "<[</";
    EXPECT_EQ(format_of(brackets, tokenizer).kind, AnswerFormat::Kind::plain);
}

// Everything in a template that looks like a special token.
std::vector<std::string> marks_in(const std::string& source) {
    std::set<std::string> marks = {"<think>", "</think>"};
    for (size_t begin = source.find_first_of("<["); begin != std::string::npos;
         begin = source.find_first_of("<[", begin + 1)) {
        const size_t end = source.find(source[begin] == '<' ? '>' : ']', begin);
        const size_t size = end - begin + 1;
        if (end == std::string::npos || size < 4 || size > 60) continue;
        const std::string mark = source.substr(begin, size);
        const bool is_bar = mark[0] == '<' && (mark[1] == '|' || mark[size - 2] == '|' || mark[1] == '\xEF');
        const bool is_upper =
            mark[0] == '[' && mark.find_first_not_of("[]/ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == std::string::npos;
        if ((is_bar || is_upper) && mark.find_first_of(" '\n\"") == std::string::npos) marks.insert(mark);
    }
    marks.insert("<|return|>");
    marks.insert("<|constrain|>");
    if (source.find("<|start|>") == std::string::npos) marks.erase("<|return|>");
    return {marks.begin(), marks.end()};
}

class RealTemplates : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(RealTemplates, GiveTheirFormat) {
    const auto [name, wanted] = GetParam();
    const std::string path = std::string(INVAR_SHARED_DATA "/templates/") + name + ".jinja";
    if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not there";
    const std::string source = read_file(path);
    const Tokenizer tokenizer = tokenizer_with(marks_in(source));
    const AnswerFormat format = format_of(source, tokenizer);
    EXPECT_EQ(describe(format), wanted);
    const std::string prompt = prompt_for(source, Json::array({user("Hi")}));
    ASSERT_FALSE(prompt.starts_with("refused")) << prompt;
    std::string answer = "Hello.";
    const bool opened = format.kind == AnswerFormat::Kind::tagged &&
                        prompt.find(format.open.text) != std::string::npos &&
                        prompt.find(format.close.text) == std::string::npos;
    Split split{"Hello.", ""};
    if (opened) {
        answer = "hm\n" + format.close.text + "\n\nHello.";
        split.reasoning = "hm";
    } else if (format.kind == AnswerFormat::Kind::messages) {
        answer = "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Hello.";
        split.reasoning = "hm";
    }
    EXPECT_EQ(parse_tokens(format, tokenizer, prompt, answer), split) << prompt;
    // The next prompt can be rendered from what was parsed.
    const Json history = Json::array({user("Hi"), assistant_message(format, answer_of(split)), user("And?")});
    const std::string next = prompt_for(source, history);
    EXPECT_NE(next.find("Hello."), std::string::npos) << next;
}

constexpr const char* kThink = "reasoning between <think> and </think>";
INSTANTIATE_TEST_SUITE_P(
    AnswerFormat, RealTemplates,
    testing::Values(
        std::pair("Qwen3.5-4B", kThink), std::pair("Qwen-Qwen3-0.6B", kThink), std::pair("Qwen-QwQ-32B", kThink),
        std::pair("GLM-4.6", kThink), std::pair("deepseek-ai-DeepSeek-V3.1", kThink),
        std::pair("deepseek-ai-DeepSeek-R1-Distill-Llama-8B", kThink),
        std::pair("NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", kThink), std::pair("HuggingFaceTB-SmolLM3-3B", kThink),
        std::pair("ByteDance-Seed-OSS", "reasoning between <seed:think> and </seed:think>"),
        std::pair("google-gemma-4-31B-it", "reasoning between <|channel>thought and <channel|>"),
        std::pair("openai-gpt-oss-120b",
                  "messages <|start|>..<|channel|>..<|message|>..<|end|>, reasoning in analysis"),
        std::pair("mistralai-Ministral-3-14B-Reasoning-2512", "reasoning between [THINK] and [/THINK]"),
        std::pair("ibm-granite-granite-3.3-2B-Instruct",
                  "reasoning between <think> and </think>, the answer between <response> and </response>")));

}  // namespace
}  // namespace invar
