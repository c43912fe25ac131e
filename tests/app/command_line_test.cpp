// From arguments to a command and its settings, and the exit codes that a caller sees.
#include "app/command_line.h"

#include <gtest/gtest.h>

#include <set>

#include "app/output.h"
#include "app/program.h"

namespace invar::app {
namespace {

struct Outcome {
    int code = -1;
    std::string printed, said;  // on stdout, on stderr
};

Outcome run(const Program& program, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), program.name);
    std::vector<const char*> argv;
    for (const std::string& one : arguments) argv.push_back(one.c_str());
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    Outcome outcome;
    outcome.code = run_command_line(program, static_cast<int>(argv.size()), argv.data());
    outcome.printed = testing::internal::GetCapturedStdout();
    outcome.said = testing::internal::GetCapturedStderr();
    return outcome;
}

struct ToySettings {
    std::string model;
    std::optional<std::string> prompt;
    std::vector<std::string> stops;
    std::vector<int> tokens;
    int threads = 0;
    bool json = false;
};

// A program of one command, which leaves what it was given in `seen` and ends as `result` says.
Program toy(ToySettings& seen, Arguments& arguments, const Result<int>& result) {
    return {.name = "toy",
            .version = "toy 1",
            .commands = {{.name = "run",
                          .settings = {{"",
                                        {{"model", text(seen.model), "a model", kRequired},
                                         {"prompt", text(seen.prompt), "a prompt"},
                                         {"--stop", texts(seen.stops), "a text"},
                                         {"--tokens", numbers(seen.tokens, 0), "ids"},
                                         {"--threads,-t", number(seen.threads, 0, 64), "threads"},
                                         {"--json", flag(seen.json), "JSON"}}}},
                          .run = [&arguments, result](const Arguments& given) {
                              arguments = given;
                              return result;
                          }}}};
}

struct Toy {
    ToySettings seen;
    Arguments arguments;
    Outcome outcome;
};

Toy run_toy(std::vector<std::string> given, const Result<int>& result = kDone) {
    Toy toy_run;
    given.insert(given.begin(), "run");
    toy_run.outcome = run(toy(toy_run.seen, toy_run.arguments, result), std::move(given));
    return toy_run;
}

TEST(CommandLine, AListTakesOneTextAtEachOccurrence) {
    const Toy ran = run_toy({"m.gguf", "--stop", "X", "the prompt", "--stop", "Y"});
    ASSERT_EQ(ran.outcome.code, kDone) << ran.outcome.said;
    EXPECT_EQ(ran.seen.stops, (std::vector<std::string>{"X", "Y"}));
    EXPECT_EQ(ran.seen.prompt, "the prompt") << "a list swallowed it";
    const Toy numbers_first = run_toy({"--tokens", "1,2", "m.gguf", "3"});
    ASSERT_EQ(numbers_first.outcome.code, kDone) << numbers_first.outcome.said;
    EXPECT_EQ(numbers_first.seen.tokens, (std::vector<int>{1, 2}));
    EXPECT_EQ(numbers_first.seen.prompt, "3");
}

TEST(CommandLine, AListWithoutAFlagTakesAllArgumentsThatAreLeft) {
    std::string model;
    std::vector<std::string> given;
    bool json = false;
    const Program program = {.name = "toy",
                             .version = "toy 1",
                             .commands = {{.name = "embed",
                                           .settings = {{"",
                                                         {{"model", text(model), "a model", kRequired},
                                                          {"text", texts(given), "texts"},
                                                          {"--json", flag(json), "JSON"}}}},
                                           .run = [](const Arguments&) -> Result<int> { return kDone; }}}};
    const Outcome outcome = run(program, {"embed", "m.gguf", "one", "two words", "--json", "", "three"});
    ASSERT_EQ(outcome.code, kDone) << outcome.said;
    EXPECT_EQ(model, "m.gguf");
    EXPECT_EQ(given, (std::vector<std::string>{"one", "two words", "", "three"}));
    EXPECT_TRUE(json);
}

// CLI11 reads "[a, b]" as a vector where a positional argument may follow.
TEST(CommandLine, TextsInBracketsAreOneText) {
    std::string model;
    std::vector<std::string> given;
    const Program program = {
        .name = "toy",
        .version = "toy 1",
        .commands = {
            {.name = "embed",
             .settings = {{"", {{"model", text(model), "a model", kRequired}, {"text", texts(given), "texts"}}}},
             .run = [](const Arguments&) -> Result<int> { return kDone; }}}};
    const std::vector<std::string> wanted = {"[hello, world]", "[a]",    "[]",   "[[1,2],[3]]",
                                             "[open",          "close]", "[, ]", ""};
    std::vector<std::string> arguments = {"embed", "[m, n].gguf]"};
    arguments.insert(arguments.end(), wanted.begin(), wanted.end());
    const Outcome outcome = run(program, arguments);
    ASSERT_EQ(outcome.code, kDone) << outcome.said;
    EXPECT_EQ(model, "[m, n].gguf]");
    EXPECT_EQ(given, wanted);
    const Toy stops = run_toy({"m", "--stop", "[Paris,zz]", "--stop=[a, b]", "[p]"});
    ASSERT_EQ(stops.outcome.code, kDone) << stops.outcome.said;
    EXPECT_EQ(stops.seen.stops, (std::vector<std::string>{"[Paris,zz]", "[a, b]"}));
    EXPECT_EQ(stops.seen.prompt, "[p]");
    const Toy brackets = run_toy({"m", "--tokens", "[1,2]"});
    EXPECT_EQ(brackets.outcome.code, 2);
    EXPECT_NE(brackets.outcome.said.find("--tokens is '[1,2]', but must be"), std::string::npos)
        << brackets.outcome.said;
    const Toy extra = run_toy({"m", "p", "[one,two]"});
    EXPECT_EQ(extra.outcome.code, 2);
    EXPECT_NE(extra.outcome.said.find("[one,two]; see toy run --help"), std::string::npos) << extra.outcome.said;
    EXPECT_EQ(extra.outcome.said.find('\0'), std::string::npos);
}

TEST(CommandLine, TextsArriveAsTheyAre) {
    for (const std::string text : {"[1, 2]", "", "a,b", "{x}", "%s %n", "'quoted'", "\xff\xfe", "two\nlines", "-1"}) {
        const Toy ran = run_toy({"m.gguf", text, "--stop", text});
        ASSERT_EQ(ran.outcome.code, kDone) << text << ": " << ran.outcome.said;
        EXPECT_EQ(ran.seen.prompt, text);
        EXPECT_EQ(ran.seen.stops, std::vector<std::string>{text});
    }
    const Toy dashes = run_toy({"m.gguf", "--stop=--json", "--", "--json"});
    ASSERT_EQ(dashes.outcome.code, kDone) << dashes.outcome.said;
    EXPECT_EQ(dashes.seen.stops, std::vector<std::string>{"--json"});
    EXPECT_EQ(dashes.seen.prompt, "--json") << "behind --, nothing is a flag";
    EXPECT_FALSE(dashes.seen.json);
}

TEST(CommandLine, TellsTheCommandWhatWasGiven) {
    const Toy ran = run_toy({"m.gguf", "-t", "3", "--json", "--tokens", "5,6"});
    ASSERT_EQ(ran.outcome.code, kDone) << ran.outcome.said;
    std::set<std::string> words;
    for (const Argument& one : ran.arguments) words.insert(one.flag + (one.takes_text ? "=" + one.text : ""));
    EXPECT_EQ(words, (std::set<std::string>{"model=m.gguf", "--threads=3", "--json", "--tokens=5,6"}));
}

TEST(CommandLine, ExitCodesAreTheCommandsOwnOrThoseOfItsErrors) {
    EXPECT_EQ(run_toy({"m"}, kDone).outcome.code, 0);
    EXPECT_EQ(run_toy({"m"}, kDifferent).outcome.code, 1);
    const Toy failed = run_toy({"m"}, fail("m cannot be read; check the path"));
    EXPECT_EQ(failed.outcome.code, 2);
    EXPECT_EQ(failed.outcome.said, "invar: m cannot be read; check the path\n");
    EXPECT_EQ(run_toy({"m"}, fail(ErrorKind::out_of_memory, "no memory for m")).outcome.code, 3) << "that of its kind";
}

TEST(CommandLine, AWrongArgumentIsOneSentenceAndTheCommandDoesNotRun) {
    const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
        {{"m", "--nonsense"}, "--nonsense"},
        {{"m", "--threads", "many"}, "--threads is 'many', but must be a whole number between 0 and 64"},
        {{"m", "--threads", "65"}, "--threads is '65'"},
        {{"m", "-t", "-1"}, "--threads is '-1'"},
        {{"m", "--threads"}, "--threads"},
        {{"m", "--threads", "1", "--threads", "2"}, "--threads was given 2 times, but takes one value; give it once"},
        {{"m", "-t", "1", "--threads=2"}, "--threads was given 2 times"},
        {{"m", "--tokens", "1,x"}, "--tokens is '1,x'"},
        {{"m", "p", "one too many"}, "one too many"},
        {{"--json"}, "model is required; see toy run --help"},
        {{"m", "--json=maybe"}, "json"},
    };
    for (const auto& [arguments, part] : cases) {
        const Toy ran = run_toy(arguments);
        EXPECT_EQ(ran.outcome.code, 2) << part;
        EXPECT_EQ(ran.outcome.printed, "") << part;
        EXPECT_NE(ran.outcome.said.find(part), std::string::npos) << ran.outcome.said;
        EXPECT_EQ(std::count(ran.outcome.said.begin(), ran.outcome.said.end(), '\n'), 1) << ran.outcome.said;
        EXPECT_TRUE(ran.arguments.empty()) << part;
    }
}

TEST(CommandLine, HelpAndVersionAreResults) {
    const Program whole = program();
    const Outcome nothing = run(whole, {});
    EXPECT_EQ(nothing.code, 0);
    for (const Command& command : whole.commands)
        EXPECT_NE(nothing.printed.find("\n  " + command.name), std::string::npos);
    EXPECT_EQ(run(whole, {"--help"}).code, 0);
    const Outcome version = run(whole, {"--version"});
    EXPECT_EQ(version.code, 0);
    EXPECT_EQ(version.printed, whole.version + "\n");
    EXPECT_EQ(run(whole, {"nonsense"}).code, 2);
    EXPECT_EQ(run(whole, {"trace"}).code, 2) << "one of its commands must be chosen";
}

void for_each_command(const std::vector<Command>& commands, const std::string& before,
                      const std::function<void(const Command&, const std::string&)>& each) {
    for (const Command& command : commands) {
        each(command, before + command.name);
        for_each_command(command.commands, before + command.name + " ", each);
    }
}

TEST(CommandLine, EveryRowOfEveryTableHoldsTogether) {
    const Program whole = program();
    int rows = 0, defaults = 0;
    for_each_command(whole.commands, "", [&](const Command& command, const std::string& name) {
        EXPECT_FALSE(command.summary.empty()) << name;
        EXPECT_EQ(static_cast<bool>(command.run), command.commands.empty()) << name;
        std::set<std::string> flags;
        for (const SettingGroup& group : command.settings) {
            for (const Setting& row : group.rows) {
                ++rows;
                EXPECT_FALSE(row.help.empty()) << name << " " << row.flag;
                for (size_t start = 0, comma = 0; comma != std::string::npos; start = comma + 1) {
                    comma = row.flag.find(',', start);
                    EXPECT_TRUE(flags.insert(row.flag.substr(start, comma - start)).second)
                        << name << " has " << row.flag << " twice";
                }
                const bool takes_text = row.value.takes != Value::Takes::nothing;
                EXPECT_EQ(takes_text, !row.value.kind.empty()) << name << " " << row.flag;
                if (!takes_text || row.value.shown_default.empty()) continue;
                ++defaults;
                const auto read = row.value.read(row.flag, row.value.shown_default);
                EXPECT_TRUE(read.has_value()) << name << ": its own default is refused: " << read.error().message;
            }
        }
    });
    EXPECT_GT(rows, 200);
    EXPECT_GT(defaults, 100);
}

TEST(CommandLine, HelpNamesEveryRow) {
    const Program whole = program();
    int rows = 0;
    for_each_command(whole.commands, "", [&](const Command& command, const std::string& name) {
        std::vector<std::string> words;
        for (size_t start = 0, space = 0; space != std::string::npos; start = space + 1) {
            space = name.find(' ', start);
            words.push_back(name.substr(start, space - start));
        }
        words.push_back("--help");
        const Outcome help = run(whole, words);
        EXPECT_EQ(help.code, 0) << name;
        for (const SettingGroup& group : command.settings) {
            for (const Setting& row : group.rows) {
                ++rows;
                const std::string first = row.flag.substr(0, row.flag.find(','));
                EXPECT_NE(help.printed.find(first), std::string::npos) << name << " " << row.flag;
            }
        }
    });
    EXPECT_GT(rows, 200);
}

TEST(Output, CountsOneThingInTheSingular) {
    EXPECT_EQ(counted(1, "layer", "layers"), "1 layer");
    EXPECT_EQ(counted(0, "layer", "layers"), "0 layers");
    EXPECT_EQ(counted(2, "suspicious finding", "suspicious findings"), "2 suspicious findings");
}

TEST(CommandLine, HelpExplainsEveryExitStatus) {
    const Outcome outcome = run(program(), {"--help"});
    EXPECT_EQ(outcome.code, 0);
    const size_t at = outcome.printed.find("Exit status: 0 done");
    ASSERT_NE(at, std::string::npos) << outcome.printed;
    const std::string line = outcome.printed.substr(at, outcome.printed.find('\n', at) - at);
    for (const char* one :
         {", 1 different", ", 2 could not run", ", 3 too little memory", ", 4 a number", ", 5 the device"})
        EXPECT_NE(line.find(one), std::string::npos) << one << " in: " << line;
}

}  // namespace
}  // namespace invar::app
