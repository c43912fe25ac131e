// What a template cannot do: run or grow without bound, recurse through the stack, reach what it was not given. Every
// refusal is one sentence with the template's name and the line.
#include <gtest/gtest.h>

#include <ctime>

#include "base/json.h"
#include "jinja/chat_template.h"

namespace invar {
namespace {

std::string error_of(const std::string& source, const Json& context = Json::object(),
                     const TemplateLimits& limits = TemplateLimits()) {
    const auto compiled = ChatTemplate::compile(source, "chat template of model.gguf");
    if (!compiled) return compiled.error().message;
    const auto text = compiled->render(context, limits, 0);
    return text ? "rendered: " + text->substr(0, 100) : text.error().message;
}

std::string repeated(std::string_view text, int times) {
    std::string out;
    for (int i = 0; i < times; ++i) out += text;
    return out;
}

TEST(ChatTemplateErrors, NameTheTemplateAndTheLine) {
    EXPECT_EQ(error_of("a\nb\n{{ messages[0].role }}"),
              "chat template of model.gguf, line 3: 'messages' is undefined; pass it or fix the template");
    EXPECT_EQ(error_of("{% for x in [1] %}\n\n{{ x.y.z }}\n{% endfor %}"),
              "chat template of model.gguf, line 3: a int has no attribute 'y'");
    EXPECT_EQ(error_of("{%- macro m() -%}\n{{ 1 / 0 }}\n{%- endmacro -%}\n\n{{ m() }}"),
              "chat template of model.gguf, line 2: division by zero");
    EXPECT_EQ(error_of("x\n{{ raise_exception('Roles must alternate') }}"),
              "chat template of model.gguf, line 2: the template raised: Roles must alternate");
    EXPECT_EQ(error_of("\n{{ 'a' | random }}"),
              "chat template of model.gguf, line 2: the filter 'random' is not supported");
    EXPECT_EQ(error_of("\n\n{% include 'x' %}"),
              "chat template of model.gguf, line 3: the tag 'include' is not supported");
    EXPECT_EQ(error_of("{% if a %}\n"),
              "chat template of model.gguf, line 1: the template ends where 'endif' is expected");
    EXPECT_EQ(error_of("{{ 99999999999999999999 }}"),
              "chat template of model.gguf, line 1: the integer 99999999999999999999 does not fit into 64 bits");
    EXPECT_EQ(error_of("\xff"), "chat template of model.gguf, the template is not valid UTF-8");
    EXPECT_EQ(error_of("{{ a }}", {{"a", "\xc3"}}),
              "chat template of model.gguf: a text in the conversation is not valid UTF-8");
    EXPECT_EQ(error_of("{{ a }}", Json::array()),
              "chat template of model.gguf: the variables of a template must be a JSON object");
}

TEST(ChatTemplateBounds, StopWhatRunsTooLong) {
    const std::string nine = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}";
    const std::string ends = "{% endfor %}{% endfor %}{% endfor %}";
    EXPECT_EQ(error_of(nine + ends),
              "chat template of model.gguf, line 1: the template did not finish within 5000000 steps; raise the limit "
              "or fix the "
              "template");
    EXPECT_EQ(
        error_of("{% for x in range(10 ** 9) %}{% endfor %}"),
        "chat template of model.gguf, line 1: range() of 1000000000 items is too long; templates may use up to 100000");
}

// Each of these took far longer than linear time, or far more memory, in a version that did not count the work.
TEST(ChatTemplateBounds, EndWithinSecondsWhateverTheTemplateDoes) {
    const std::string sources[] = {
        "{{ 'x' * 10 ** 9 }}",
        "{{ [1] * 10 ** 12 }}",
        "{{ ('x' * 10 ** 8) * 10 ** 12 }}",
        "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ "
        "ns.s|length }}",
        "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "{% set ns = namespace(s='a,') %}{% for i in range(24) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ "
        "ns.s.split(',')|length }}",
        "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
        "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ "
        "ns.s|tojson }}",
        "{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s == "
        "[ns.s] }}{{ ns.s < ns.s }}",
        "{% set ns = namespace(t=(1,)) %}{% for i in range(60) %}{% set ns.t = (ns.t, ns.t) %}{% endfor %}{{ {ns.t: 1} "
        "}}",
        "{{ ('a' * 9999999) in ('a' * 9999999 + 'b') }}{{ ('a' * 999999 + 'b') in ('a' * 9999999) }}",
        "{{ ('a' * 9999999).rfind('b' + 'a' * 99999) }}{{ ('a' * 9999999).replace('a' * 5 + 'b', '') | length }}",
        "{{ 'a'.ljust(10 ** 15) }}",
        "{{ 'a'.zfill(10 ** 18) }}",
        "{{ 'a' | center(10 ** 17) }}",
        "{{ '%999999999d' % 1 }}",
        "{{ '%.999999999f' % 1 }}",
        "{{ '{:999999999}'.format(1) }}",
        "{{ '{:0999999999,}'.format(1) }}",
        "{{ '%*d' % (10 ** 15, 1) }}",
        "{{ 'a' | indent(10 ** 15) }}",
        "{{ [1] | tojson(indent=10 ** 15) }}",
        "{{ [1] | batch(10 ** 15, 0) | list }}",
        "{{ [1] | slice(10 ** 15) | list }}",
        "{{ 'a\t' * 99 | expandtabs }}",
        "{{ ('\t' * 9999).expandtabs(10 ** 9) | length }}",
        "{{ (range(99999) | list) | map('string') | join('x' * 99999) | length }}",
        "{{ 'ab' | replace('', 'x' * 10 ** 8) | length }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m(x) %}{{ m(m) ~ m(m) }}{% endmacro %}{{ m(1) }}",
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{% macro m() %}{{ caller() }}{% endmacro %}{% macro n() %}{% call m() %}{{ n() }}{% endcall %}{% endmacro "
        "%}{{ n() }}",
    };
    const std::clock_t begin = std::clock();
    for (const std::string& source : sources) {
        const std::clock_t begin_one = std::clock();
        const std::string message = error_of(source);
        const double seconds =
            static_cast<double>(std::clock() - begin_one) / CLOCKS_PER_SEC;  // of this process, not of the machine
        EXPECT_LT(seconds, 20) << source;
        EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    }
    std::cout << "[bounds] " << std::size(sources) << " templates ended after "
              << static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC << " s\n";
}

// A million objects in a chain, each holding the next: freed in a loop, and refused where walking them would recurse.
TEST(ChatTemplateBounds, DoNotRecurseThroughTheStack) {
    const std::string loop = "{% for i in range(99999) %}{% for j in range(3) %}";
    const std::string ends = "{% endfor %}{% endfor %}";
    EXPECT_EQ(error_of("{% set ns = namespace(x=1) %}" + loop + "{% set ns.x = [ns.x] %}" + ends + "done"),
              "rendered: done");
    EXPECT_EQ(error_of("{% set ns = namespace(x=1) %}" + loop + "{% set ns.x = namespace(y=ns.x) %}" + ends + "done"),
              "rendered: done");
    EXPECT_EQ(error_of("{% set ns = namespace(x=[]) %}" + loop + "{% set ns.x = ns.x|map('upper') %}" + ends + "done"),
              "rendered: done");
    EXPECT_EQ(
        error_of("{% set ns = namespace(x=1) %}{% macro f(g) %}{% macro h() %}{{ g }}{% endmacro %}{% set ns.x = h %}"
                 "{% endmacro %}{% for i in range(99999) %}{{ f(ns.x) }}{% endfor %}done"),
        "rendered: done");
    const std::string grow = "{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = ";
    const std::string deep =
        "chat template of model.gguf, line 1: the template nests deeper than 2000 levels (depth limit 200); is a "
        "macro calling itself?";
    EXPECT_EQ(error_of(grow + "[ns.x] %}{% endfor %}{{ ns.x }}"), deep);
    EXPECT_EQ(error_of(grow + "[ns.x] %}{% endfor %}{{ ns.x|tojson }}"), deep);
    EXPECT_EQ(error_of(grow + "[ns.x] %}{% endfor %}{{ ns.x == [ns.x] }}"), deep);
    EXPECT_EQ(error_of(grow + "(ns.x,) %}{% endfor %}{{ {ns.x: 1} }}"), deep);
    EXPECT_EQ(error_of(grow + "ns.x|map('upper') %}{% endfor %}{{ ns.x|list }}"), deep);
    EXPECT_EQ(error_of("{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}"), deep);
    EXPECT_EQ(error_of("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
              "chat template of model.gguf, line 1: macro calls are nested deeper than 200; does 'm' call itself "
              "without end?");
}

TEST(ChatTemplateBounds, RefuseWhatIsWrittenTooDeep) {
    for (const int depth : {150, 250, 10000}) {
        const bool fits = depth < 200;
        const auto check = [&](const std::string& source) {
            const std::string message = error_of(source, {{"x", 1}});
            EXPECT_EQ(message.find(" levels") == std::string::npos, fits)
                << depth << ": " << source.substr(0, 40) << " " << message;
        };
        check("{{ " + repeated("[", depth) + repeated("]", depth) + " }}");
        check("{{ " + repeated("not ", depth) + "x }}");
        check("{{ " + repeated("-", depth) + "x }}");
        check("{{ x" + repeated(" + x", depth) + " }}");
        check("{{ x" + repeated("|string", depth) + " }}");
        check("{{ x" + repeated(" if x else x", depth) + " }}");
    }
    for (const int depth : {90, 10000}) {
        const std::string message =
            error_of(repeated("{% if x %}", depth) + repeated("{% endif %}", depth), {{"x", 1}});
        EXPECT_EQ(message.find(" levels") == std::string::npos, depth == 90) << message;
    }
    Json nested = 1;
    for (int i = 0; i < 300; ++i) nested = Json::array({nested});
    EXPECT_EQ(error_of("{{ x }}", {{"x", nested}}),
              "chat template of model.gguf: the conversation is nested deeper than 200 levels");
}

TEST(ChatTemplateBounds, HoldTheLimitsTheyAreGiven) {
    TemplateLimits limits;
    limits.steps = 100;
    limits.output_bytes = 10;
    limits.memory_bytes = 100'000;
    limits.depth = 3;
    EXPECT_EQ(error_of("0123456789", Json::object(), limits), "rendered: 0123456789");
    EXPECT_EQ(error_of("0123456789a", Json::object(), limits),
              "chat template of model.gguf, line 1: the template writes more than 10 bytes; raise the limit or fix the "
              "template");
    EXPECT_EQ(
        error_of("{% for i in range(20) %}{% endfor %}\n{% for i in range(90) %}{% endfor %}", Json::object(), limits),
        "chat template of model.gguf, line 2: the template did not finish within 100 steps; raise the limit or "
        "fix the template");
    EXPECT_EQ(error_of("\n{{ 'x' * 200000 }}", Json::object(), limits),
              "chat template of model.gguf, line 2: the template needs more than 100000 bytes of memory; raise the "
              "limit or fix the "
              "template");
    EXPECT_EQ(
        error_of("{% macro m(n) %}{% if n %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(2) }}", Json::object(), limits),
        "rendered: ");
    EXPECT_EQ(
        error_of("{% macro m(n) %}{% if n %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(3) }}", Json::object(), limits),
        "chat template of model.gguf, line 1: macro calls are nested deeper than 3; does 'm' call itself without end?");
}

TEST(ChatTemplateSandbox, OpensNoWayOut) {
    const std::string refused[] = {"{{ ''.__class__.__mro__ }}",
                                   "{{ messages.__init__.__globals__['os'] }}",
                                   "{{ '{0.__class__.__mro__}'.format(s) }}",
                                   "{{ (s|attr('__class__')).__mro__ }}",
                                   "{{ s['__class__']['__mro__'] }}",
                                   "{{ cycler.__init__.__globals__.os }}",
                                   "{{ range.__self__.eval }}",
                                   "{{ d.update({}) }}",
                                   "{{ l.append(1) }}",
                                   "{{ l.sort() }}",
                                   "{{ d.pop('a') }}",
                                   "{{ l['clear']() }}",
                                   "{{ namespace.__init__.x }}",
                                   "{{ self.x.y }}",
                                   "{{ config.items() }}",
                                   "{{ lipsum.__globals__.os }}",
                                   "{{ lipsum() }}",
                                   "{{ dict.mro() }}",
                                   "{{ [s]|map(attribute='__class__.__mro__')|list }}",
                                   "{{ s.encode() }}"};
    const Json context = {{"s", "x"}, {"d", {{"a", 1}}}, {"l", {1}}, {"messages", Json::array()}};
    for (const std::string& source : refused)
        EXPECT_EQ(error_of(source, context).find("rendered"), std::string::npos) << source;
    EXPECT_EQ(error_of("{{ s.__class__ }}{{ d._x }}{{ l.append }}|", context), "rendered: |");
    std::cout << "[sandbox] " << std::size(refused) << " ways out refused\n";
}

}  // namespace
}  // namespace invar
