#include "app/command_line.h"

#include <CLI/CLI.hpp>
#include <sstream>

#include "app/output.h"
#include "base/error_kind.h"

namespace invar::app {
namespace {

// CLI11 splits a positional argument such as "[a, b]" at its commas. This byte, which no argument can contain, stands
// behind such a text until it is read.
constexpr char kLiteral = '\0';

// The result of reading the settings.
struct Parsed {
    const Command* chosen = nullptr;
    Arguments arguments;
    Result<void> settings;                                         // the first error
    std::vector<std::pair<std::string, const CLI::Option*>> once;  // the flags that may be given once

    void read(const Setting& setting, const std::string& flag, std::string text) {
        if (!settings) return;
        if (text.ends_with(kLiteral)) text.pop_back();
        settings = setting.value.read(flag, text);
        arguments.push_back({flag, text, setting.value.takes != Value::Takes::nothing});
    }
    void check_repetitions() {
        for (const auto& [flag, option] : once) {
            if (!settings || option->count() < 2) continue;
            settings = fail("{} was given {} times, but takes one value; give it once", flag, option->count());
        }
    }
};

void add_setting(CLI::App& app, const std::string& group, const Setting& setting, Parsed& parsed) {
    const std::string flag = setting.flag.substr(0, setting.flag.find(','));
    CLI::Option* option = nullptr;
    if (setting.value.takes == Value::Takes::nothing) {
        option = app.add_flag_function(
            setting.flag, [&setting, &parsed, flag](int64_t) { parsed.read(setting, flag, ""); }, setting.help);
        option->disable_flag_override();
    } else {
        const CLI::callback_t read = [&setting, &parsed, flag](const CLI::results_t& given) {
            for (const std::string& text : given) parsed.read(setting, flag, text);
            return true;
        };
        option = app.add_option(setting.flag, read, setting.help);
        option->type_name(setting.value.kind)->default_str(setting.value.shown_default);
        // Each occurrence of a flag takes exactly one text, so that a list never takes the argument that follows. A
        // list without a flag takes all arguments that are left.
        const bool list = setting.value.takes == Value::Takes::text_each_time;
        if (list) option->expected(1, CLI::detail::expected_max_vector_size)->take_all();
        option->allow_extra_args(list && !flag.starts_with('-'));
        if (!list) {
            option->take_last();
            parsed.once.emplace_back(flag, option);
        }
    }
    option->required(setting.required);
    if (!group.empty()) option->group(group);
}

void add_command(CLI::App& parent, const Command& command, Parsed& parsed) {
    CLI::App& app = *parent.add_subcommand(command.name, command.summary);
    for (const SettingGroup& group : command.settings) {
        for (const Setting& setting : group.rows) add_setting(app, group.title, setting, parsed);
    }
    app.footer(command.footer);
    for (const Command& inner : command.commands) add_command(app, inner, parsed);
    if (command.run) {
        app.callback([&parsed, &command] { parsed.chosen = &command; });
    } else {
        app.require_subcommand(1);
    }
}

// The arguments in the order in which CLI11 takes them, the last one first.
std::vector<std::string> literal_arguments(int argc, const char* const* argv) {
    std::vector<std::string> arguments;
    for (int i = argc - 1; i > 0; --i) {
        std::string& one = arguments.emplace_back(argv[i]);
        if (one.starts_with('[') && one.ends_with(']')) one.push_back(kLiteral);
    }
    return arguments;
}

// The words that lead to the help of the command that was begun: "invar trace record --help".
std::string help_of(const CLI::App& app) {
    std::string words = app.get_name();
    const std::vector<CLI::App*> chosen = app.get_subcommands();
    return chosen.empty() ? words + " --help" : words + " " + help_of(*chosen.back());
}

std::string sentence_of(const CLI::ParseError& error, const CLI::App& app) {
    std::string what = error.what();
    std::erase(what, kLiteral);
    return fmt::format("{}; see {}", what, help_of(app));
}

int finish(const Result<int>& code) {
    if (!code) {
        print_error(code.error().message);
        return facts_of(code.error().kind).exit_code;
    }
    if (!flush_results()) {
        print_error("standard output could not be written; is the disk full or the reader gone?");
        return kCouldNotRun;
    }
    return *code;
}

}  // namespace

int run_command_line(const Program& program, int argc, const char* const* argv) {
    CLI::App app(program.summary, program.name);
    app.set_version_flag("--version", program.version);
    app.footer(program.footer);
    app.require_subcommand(0, 1);
    Parsed parsed;
    for (const Command& command : program.commands) add_command(app, command, parsed);
    try {
        app.parse(literal_arguments(argc, argv));
        parsed.check_repetitions();
    } catch (const CLI::Success& help_or_version) {
        std::ostringstream text;
        const int code = app.exit(help_or_version, text, text);
        print_result(text.str());
        return finish(code);
    } catch (const CLI::ParseError& error) {
        print_error(parsed.settings ? sentence_of(error, app) : parsed.settings.error().message);
        return kCouldNotRun;
    }
    if (!parsed.settings) {
        print_error(parsed.settings.error().message);
        return kCouldNotRun;
    }
    if (parsed.chosen == nullptr) {
        print_result(app.help());
        return finish(kDone);
    }
    return finish(parsed.chosen->run(parsed.arguments));
}

}  // namespace invar::app
