// Renders prompts with the template of a tiny model, and checks that a fault of the prompt and a fault of the template
// are each named as what they are.
#include "text/chat/chat_format.h"

#include <gtest/gtest.h>

#include "proof/specimen.h"
#include "text/tokenizer/from_checkpoint.h"

namespace invar {
namespace {

// The text of the prompt, or the sentence of the refusal.
std::string prompt_of(const std::string& chat_template, const Json& messages, std::string override_source = "") {
    test::SpecimenText text;
    text.chat_template = chat_template;
    test::TinyModel model = test::tiny("llama");
    model.values = false;
    const test::Specimen specimen(model, text);
    const auto prompt = [&]() -> Result<std::string> {
        const Checkpoint file = specimen.open();
        TRY_ASSIGN(const Tokenizer tokenizer, read_tokenizer(file));
        TRY_ASSIGN(const ChatFormat format, ChatFormat::create(file, tokenizer, std::move(override_source)));
        TRY_ASSIGN(const ChatPrompt made, format.prompt(messages, {}));
        return made.text;
    }();
    return prompt ? *prompt : prompt.error().message;
}

Json user_says(const std::string& text) { return Json::array({{{"role", "user"}, {"content", text}}}); }

constexpr const char* kTemplate = "{{ messages[0].role }}: {{ messages[0].content }}";

TEST(ChatFormat, BlamesThePromptForTextThatIsNotUtf8) {
    EXPECT_EQ(prompt_of(kTemplate, user_says("h\xC3\xA9")), "user: h\xC3\xA9");
    const std::string wanted =
        "the prompt is not valid UTF-8 at byte 2 (0xFF) of one of its texts; convert it to UTF-8";
    EXPECT_EQ(prompt_of(kTemplate, user_says("ab\xFF")), wanted);
    const Json parts = Json::array({{{"type", "text"}, {"text", "ab\xFF"}}});
    EXPECT_EQ(prompt_of(kTemplate, Json::array({{{"role", "user"}, {"content", parts}}})), wanted);
}

TEST(ChatFormat, SaysThatATemplateIsEmptyAndWhereItStands) {
    for (const char* empty : {" ", "\n\t \r\n"}) {
        const std::string error = prompt_of(empty, user_says("a"));
        EXPECT_TRUE(error.starts_with("tokenizer.chat_template of ")) << error;
        EXPECT_NE(error.find(": the chat template is empty; use --raw"), std::string::npos) << error;
        EXPECT_EQ(prompt_of(empty, user_says("a"), kTemplate), "user: a") << "a template that is given goes first";
    }
}

}  // namespace
}  // namespace invar
