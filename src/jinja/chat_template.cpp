// The outside of the template interpreter: it compiles a template, turns the context into values, and adds the name of
// the template and the line to every error.
#include "jinja/chat_template.h"

#include "base/json.h"
#include "jinja/characters.h"
#include "jinja/evaluator.h"
#include "jinja/parser.h"
#include "jinja/scopes.h"

namespace invar {

namespace {

constexpr size_t kLargestSource = 1 << 20;  // the largest template known to us has 17 kB

Result<jinja::Value> to_value(jinja::Runtime& runtime, const Json& json, int depth) {
    using jinja::Value;
    if (depth > runtime.limits().depth)
        return fail("the conversation is nested deeper than {} levels", runtime.limits().depth);
    switch (json.type()) {
        case Json::value_t::boolean:
            return Value::boolean(json.get<bool>());
        case Json::value_t::number_integer:
            return Value::integer(json.get<int64_t>());
        case Json::value_t::number_unsigned:
            if (json.get<uint64_t>() > INT64_MAX)
                return fail("the integer {} in the conversation does not fit into 64 bits with a sign",
                            json.get<uint64_t>());
            return Value::integer(json.get<int64_t>());
        case Json::value_t::number_float:
            return Value::real(json.get<double>());
        case Json::value_t::string: {
            const auto& text = json.get_ref<const std::string&>();
            if (!jinja::is_valid_utf8(text)) return fail("a text in the conversation is not valid UTF-8");
            return runtime.string(text);
        }
        case Json::value_t::array: {
            std::vector<Value> items;
            items.reserve(json.size());
            for (const Json& item : json) {
                TRY_ASSIGN(Value value, to_value(runtime, item, depth + 1));
                items.push_back(std::move(value));
            }
            return runtime.list(std::move(items));
        }
        case Json::value_t::object: {
            Value out = runtime.dict();
            for (const auto& [name, item] : json.items()) {
                if (!jinja::is_valid_utf8(name)) return fail("a name in the conversation is not valid UTF-8");
                TRY_ASSIGN(Value key, runtime.string(name));
                TRY_ASSIGN(Value value, to_value(runtime, item, depth + 1));
                TRY(out.as<jinja::Dict>().set(runtime, std::move(key), std::move(value)));
            }
            return out;
        }
        default:
            return Value::none();
    }
}

}  // namespace

ChatTemplate::ChatTemplate(std::string source, std::string name, std::shared_ptr<const jinja::Program> program)
    : source_(std::move(source)), name_(std::move(name)), program_(std::move(program)) {}

Result<ChatTemplate> ChatTemplate::compile(std::string source, std::string name) {
    auto program = std::make_shared<jinja::Program>();
    const auto build = [&]() -> Result<void> {
        if (source.size() > kLargestSource)
            return fail("the template has {} bytes; up to {} are read", source.size(), kLargestSource);
        TRY_ASSIGN(std::vector<jinja::Token> tokens, jinja::tokenize(source));
        TRY(jinja::Parser(std::move(tokens), *program).parse());
        return jinja::resolve_scopes(*program);
    };
    if (auto built = build(); !built) return fail("{}, {}", name, built.error().message);
    return ChatTemplate(std::move(source), std::move(name), std::move(program));
}

Result<std::string> ChatTemplate::render(const Json& context, const TemplateLimits& limits, int64_t now_seconds) const {
    jinja::Evaluator evaluator(*program_, limits, now_seconds);
    const auto run = [&]() -> Result<std::string> {
        if (!context.is_object()) return fail("the variables of a template must be a JSON object");
        TRY_ASSIGN(jinja::Value variables, to_value(evaluator, context, 0));
        return evaluator.render(std::move(variables));
    };
    auto text = run();
    if (text) return text;
    if (evaluator.error_line() == 0) return fail("{}: {}", name_, text.error().message);
    return fail("{}, line {}: {}", name_, evaluator.error_line(), text.error().message);
}

std::vector<std::string> ChatTemplate::free_variables() const { return program_->free_variables; }

}  // namespace invar
