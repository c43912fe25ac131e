// The template interpreter against Python's jinja2: small templates of ours, random expressions and the templates of
// real models. What must be refused, and within which bounds, is in chat_template_limits_test.cpp.
#include "jinja/chat_template.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/json.h"
#include "jinja/sha256.h"

namespace invar {
namespace {

constexpr int64_t kNow = 1753700000;  // the fixtures' clock: 2025-07-28 10:53:20

std::string read_file(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

Json read_fixture(const std::string& name) {
    auto json = parse_json(read_file(std::filesystem::path(INVAR_TEST_DATA) / "templates" / name));
    EXPECT_TRUE(json.has_value()) << name;
    return json ? std::move(*json) : Json();
}

Result<std::string> render(const std::string& source, const Json& context, int64_t now = kNow) {
    TRY_ASSIGN(const ChatTemplate compiled, ChatTemplate::compile(source, "template"));
    return compiled.render(context, TemplateLimits(), now);
}

void expect_fixture(const std::string& name) {
    const Json fixture = read_fixture(name);
    size_t compared = 0, refused = 0, differ = 0;
    for (const Json& each : fixture["cases"]) {
        const auto text = render(each["template"], fixture["context"], fixture["now"]);
        const Json& expected = each["output"];
        ++compared;
        refused += expected.is_null() ? 1 : 0;
        if (expected.is_null() ? !text.has_value() : text.has_value() && *text == expected.get<std::string>()) continue;
        ++differ;
        ADD_FAILURE() << each["name"] << "\n  template " << each["template"] << "\n  expected " << expected
                      << "\n  rendered " << (text ? Json(*text).dump() : text.error().message);
    }
    std::cout << "[equality] " << name << ": " << compared << " templates compared (" << refused
              << " must be refused), " << differ << " differ\n";
    EXPECT_GT(compared, 100u);
}

TEST(ChatTemplate, RendersEveryConstructAsJinja2Does) { expect_fixture("cases.json"); }
TEST(ChatTemplate, RendersRandomExpressionsAsJinja2Does) { expect_fixture("expressions.json"); }

TEST(ChatTemplate, RendersModelTemplatesAsJinja2Does) {
    const std::filesystem::path folder = std::filesystem::path(INVAR_SHARED_DATA) / "templates";
    if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no model templates at " << folder;
    const Json conversations = read_fixture("conversations.json"), digests = read_fixture("model_digests.json");
    size_t compared = 0, refused = 0, differ = 0;
    for (const auto& [name, expected] : digests.items()) {
        auto compiled = ChatTemplate::compile(read_file(folder / name), name);
        ASSERT_TRUE(compiled.has_value()) << compiled.error().message;
        ASSERT_EQ(expected.size(), conversations.size());
        for (size_t i = 0; i < expected.size(); ++i) {
            const auto text = compiled->render(conversations[i]["context"], TemplateLimits(), kNow);
            ++compared;
            refused += expected[i].is_null() ? 1 : 0;
            const bool same = expected[i].is_null()
                                  ? !text.has_value()
                                  : text.has_value() && text->size() == expected[i][1].get<size_t>() &&
                                        sha256(*text).substr(0, 16) == expected[i][0].get<std::string>();
            if (same) continue;
            ++differ;
            ADD_FAILURE() << name << " with " << conversations[i]["name"] << "\n  expected " << expected[i]
                          << "\n  rendered " << (text ? text->substr(0, 400) : text.error().message);
        }
    }
    std::cout << "[equality] " << digests.size() << " model templates, " << compared << " renderings compared ("
              << refused << " must be refused), " << differ << " differ\n";
    EXPECT_GE(digests.size(), 24u);
}

TEST(ChatTemplate, NamesWhatACallerMayPass) {
    const auto compiled = ChatTemplate::compile(
        "{% if tools is defined %}{% set known = 1 %}{% endif %}{% set own = messages %}{{ own }}{{ range(2) }}"
        "{% for m in own %}{{ bos_token }}{{ m }}{% endfor %}{% if no %}{% set maybe = 1 %}{% endif %}{{ maybe }}"
        "{% if a %}{% set both = 1 %}{% else %}{% set both = 2 %}{% endif %}{{ both }}",
        "template");
    ASSERT_TRUE(compiled.has_value());
    EXPECT_EQ(compiled->free_variables(),
              (std::vector<std::string>{"a", "bos_token", "maybe", "messages", "no", "tools"}));
}

TEST(ChatTemplate, FormatsTheTimeItIsGivenAndNoOther) {
    const std::string source = "{{ strftime_now('%d %b %Y %H:%M:%S %j %U %V %G') }}";
    EXPECT_EQ(*render(source, Json::object(), 0), "01 Jan 1970 00:00:00 001 00 01 1970");
    EXPECT_EQ(*render(source, Json::object(), 1709164800), "29 Feb 2024 00:00:00 060 08 09 2024");
    EXPECT_EQ(*render(source, Json::object(), -86400), "31 Dec 1969 00:00:00 365 52 01 1970");
    EXPECT_EQ(*render(source, Json::object(), 4102444799), "31 Dec 2099 23:59:59 365 52 53 2099");
}

// As CPython divides: zero by a number that no float holds keeps the sign.
TEST(ChatTemplate, DividesZeroByALargeInteger) {
    EXPECT_EQ(*render("{{ 0 / 9191111191111111111 }} {{ 0 / -9191111191111111111 }}", Json::object()), "0.0 -0.0");
}

TEST(ChatTemplate, CanBeRenderedByManyThreadsAtOnce) {
    const auto compiled =
        ChatTemplate::compile("{% for m in messages %}{{ m.role ~ ': ' ~ m.content }};{% endfor %}", "t");
    ASSERT_TRUE(compiled.has_value());
    const Json context = {
        {"messages", {{{"role", "user"}, {"content", "hi"}}, {{"role", "assistant"}, {"content", "yo"}}}}};
    std::vector<std::string> texts(4);
    std::vector<std::thread> threads;
    for (std::string& text : texts) {
        threads.emplace_back([&] {
            for (int i = 0; i < 200; ++i) text = *compiled->render(context, TemplateLimits(), kNow);
        });
    }
    for (std::thread& thread : threads) thread.join();
    for (const std::string& text : texts) EXPECT_EQ(text, "user: hi;assistant: yo;");
}

TEST(ChatTemplate, KeepsItsSource) {
    const auto compiled = ChatTemplate::compile("a\r\n{{ b }}\n", "t");
    ASSERT_TRUE(compiled.has_value());
    EXPECT_EQ(compiled->source(), "a\r\n{{ b }}\n");
    EXPECT_EQ(*compiled->render({{"b", 1}}, TemplateLimits(), kNow), "a\n1");
}

}  // namespace
}  // namespace invar
