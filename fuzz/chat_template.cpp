// Renders any bytes as a chat template with one of a few conversations. It must end within the limits, with a text or
// with one sentence. The first byte chooses the conversation, and the rest is the template.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "jinja/chat_template.h"

#include "base/json.h"

namespace {

invar::Json conversation(uint8_t choice) {
    using invar::Json;
    Json context = Json::object();
    context["messages"] = {{{"role", "system"}, {"content", "Be brief."}},
                           {{"role", "user"}, {"content", "naïve \"x\"\n"}}};
    context["add_generation_prompt"] = (choice & 1) != 0;
    context["bos_token"] = "<s>";
    if ((choice & 2) != 0) {
        const Json parameters = {
            {"type", "object"}, {"properties", {{"city", {{"type", "string"}}}}}, {"required", {"city"}}};
        const Json function = {{"name", "weather"}, {"description", "d"}, {"parameters", parameters}};
        const Json tool = {{"type", "function"}, {"function", function}};
        context["tools"] = Json::array({tool});
    }
    if ((choice & 4) != 0) {
        const Json call = {{"id", "1"},
                           {"function", {{"name", "weather"}, {"arguments", {{"n", 1.5}, {"l", {1, nullptr}}}}}}};
        const Json message = {{"role", "assistant"}, {"content", nullptr}, {"tool_calls", Json::array({call})}};
        context["messages"].push_back(message);
    }
    if ((choice & 8) != 0) context["n"] = choice;
    return context;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) return 0;
    const std::string source(reinterpret_cast<const char*>(data + 1), size - 1);
    const auto compiled = invar::ChatTemplate::compile(source, "fuzz");
    if (!compiled) return 0;
    invar::TemplateLimits limits;
    limits.steps = 20'000;
    limits.output_bytes = 1 << 20;
    limits.memory_bytes = 8 << 20;
    const auto text = compiled->render(conversation(data[0]), limits, 1753700000);
    const size_t output_limit = static_cast<size_t>(limits.output_bytes);
    if (text ? text->size() > output_limit : text.error().message.empty()) std::abort();
    (void)compiled->free_variables();
    return 0;
}
