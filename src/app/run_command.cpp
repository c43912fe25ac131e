// invar run [MODEL] [PROMPT]: answers one prompt, chats interactively, or answers a file of conversations.
#include <csignal>
#include <ctime>

#include "app/describe_text.h"
#include "app/input_text.h"
#include "app/line_editor.h"
#include "app/output.h"
#include "app/run_settings.h"
#include "arithmetic/version.h"
#include "base/json.h"
#include "generate/conversation.h"
#include "text/tokenizer/from_checkpoint.h"

namespace invar::app {
namespace {

volatile std::sig_atomic_t interrupted = 0;

// While this object lives, Ctrl-C sets a flag instead of ending the program.
class InterruptGuard {
  public:
    InterruptGuard() {
        interrupted = 0;
        struct sigaction action {};
        action.sa_handler = [](int) { interrupted = 1; };
        sigaction(SIGINT, &action, &before_);
    }
    ~InterruptGuard() { sigaction(SIGINT, &before_, nullptr); }
    InterruptGuard(const InterruptGuard&) = delete;
    InterruptGuard& operator=(const InterruptGuard&) = delete;

  private:
    struct sigaction before_ {};
};

// Everything a run needs, in the order in which it is made.
struct Chat {
    std::unique_ptr<Engine> engine;
    std::optional<Tokenizer> tokenizer;
    std::optional<ChatFormat> format;
    std::unique_ptr<Session> session;
    GenerationSettings generation;
    ChatOptions options;
};

void say_text_sources(const Chat& chat) {
    Json text = {{"tokenizer", describe_tokenizer(*chat.tokenizer)}};
    if (chat.format) text["chat_template"] = describe_template(*chat.format);
    std::string lines = text_lines(text);
    lines.pop_back();  // print_note() ends the line
    print_note(lines);
}

Result<std::unique_ptr<Chat>> open_chat(const RunSettings& flags, const std::string& model) {
    auto chat = std::make_unique<Chat>();
    chat->generation = flags.generation;
    TRY(chat->generation.sampler.validate());
    TRY_ASSIGN(const EngineSettings settings, engine_settings(flags.model, model));
    ProgressBar bar("loading");
    TRY_ASSIGN(chat->engine, Engine::open(settings, [&](int64_t done, int64_t total) { bar.show(done, total); }));
    bar.clear();
    TRY(check_makes_logits(*chat->engine));
    say_placement(chat->engine->plan());
    say_left_out(chat->engine->plan());
    TRY_ASSIGN(chat->tokenizer, read_tokenizer(chat->engine->checkpoint()));
    if (chat->tokenizer->size() > chat->engine->config().vocabulary) {
        return fail("{}: the tokenizer has {} tokens, but the model has embeddings for {}", model,
                    chat->tokenizer->size(), chat->engine->config().vocabulary);
    }
    for (const int32_t token : chat->tokenizer->suppressed()) chat->generation.sampler.banned.ids.push_back(token);
    if (!flags.raw) {
        std::string source;
        if (!flags.chat_template.empty()) {
            TRY_ASSIGN(source, read_text_file(flags.chat_template));
            if (source.empty())
                return fail("{}: is empty; give a file with a chat template, or use --raw", flags.chat_template);
        }
        TRY_ASSIGN(chat->format, ChatFormat::create(chat->engine->checkpoint(), *chat->tokenizer, std::move(source)));
    }
    if (flags.verbose) say_text_sources(*chat);
    chat->options.now_seconds = static_cast<int64_t>(std::time(nullptr));
    if (flags.no_thinking) chat->options.variables["enable_thinking"] = chat->options.variables["thinking"] = false;
    chat->session = std::make_unique<Session>(*chat->engine);
    return chat;
}

void print_figures(const Chat& chat, const Generation& generation) {
    const SamplerSettings& sampler = chat.generation.sampler;
    const int64_t computed = generation.prompt_tokens - generation.reused_tokens;
    const auto made = static_cast<int64_t>(generation.tokens.size());
    print_note(fmt::format(
        "[prompt {} ({} reused) in {:.2f} s, {:.0f} tok/s; answer {} in {:.2f} s, {:.1f} tok/s; {}; {}, "
        "{}, arithmetic {}{}]",
        counted(generation.prompt_tokens, "token", "tokens"), generation.reused_tokens, generation.prompt_seconds,
        static_cast<double>(computed) / std::max(generation.prompt_seconds, 1e-9), counted(made, "token", "tokens"),
        generation.generation_seconds, static_cast<double>(made) / std::max(generation.generation_seconds, 1e-9),
        finish_reason_name(generation.reason), isa_name(chat.engine->machine().isa),
        counted(chat.engine->machine().threads, "thread", "threads"), kArithmeticVersion,
        sampler.temperature == 0 ? "" : fmt::format(", seed {}", sampler.seed)));
}

Json calls_as_json(const Answer& answer) {
    Json calls = Json::array();
    for (const Answer::Call& call : answer.calls) calls.push_back({{"name", call.name}, {"arguments", call.arguments}});
    return calls;
}

Json as_json(const Chat& chat, const GeneratedAnswer& answer) {
    const Generation& generation = answer.generation;
    return {{"content", answer.content},
            {"reasoning", answer.reasoning},
            {"calls", calls_as_json(answer)},
            {"finish_reason", finish_reason_name(generation.reason)},
            {"tokens", generation.tokens},
            {"prompt_tokens", generation.prompt_tokens},
            {"reused_tokens", generation.reused_tokens},
            {"prompt_seconds", generation.prompt_seconds},
            {"generation_seconds", generation.generation_seconds},
            {"isa", isa_name(chat.engine->machine().isa)},
            {"threads", chat.engine->machine().threads},
            {"seed", chat.generation.sampler.seed},
            {"arithmetic", kArithmeticVersion}};
}

// Streams content to stdout, and reasoning and calls to stderr.
class AnswerPrinter {
  public:
    AnswerPrinter(bool quiet, bool hide_reasoning) : quiet_(quiet), hide_reasoning_(hide_reasoning) {}

    bool show(Channel channel, std::string_view text) {
        const bool is_call = channel == Channel::call || channel == Channel::arguments;
        if (!quiet_ && (is_call || (channel == Channel::reasoning && !hide_reasoning_))) {
            if (channel == Channel::call) print_aside(std::exchange(aside_, true) ? "\ncall " : "call ");
            print_aside(text);
            if (channel == Channel::call) print_aside(" ");
            aside_ = true;
        }
        if (!quiet_ && channel == Channel::content) {
            if (std::exchange(aside_, false)) end_aside();
            print_result(text);
            flush_results();
        }
        return interrupted == 0;
    }
    ~AnswerPrinter() {
        if (aside_) end_aside();
    }

  private:
    bool quiet_, hide_reasoning_, aside_ = false;
};

Result<GeneratedAnswer> answer_raw(Chat& chat, const RunSettings& flags, const std::string& prompt) {
    TRY_ASSIGN(const std::vector<int32_t> tokens,
               chat.tokenizer->encode(prompt, Tokenizer::Specials::parse, Tokenizer::Ends::add));
    const TextSink sink = [&](std::string_view text, int32_t) {
        if (!flags.json) {
            print_result(text);
            flush_results();
        }
        return interrupted == 0;
    };
    GeneratedAnswer answer;
    TRY_ASSIGN(answer.generation, generate(*chat.session, *chat.tokenizer, tokens, chat.generation, sink, nullptr));
    answer.content = answer.generation.text;
    return answer;
}

Result<GeneratedAnswer> answer_next(Chat& chat, const RunSettings& flags, Conversation& conversation) {
    AnswerPrinter printer(flags.json || !flags.conversations.empty(), flags.hide_reasoning);
    ProgressBar bar("reading");
    const auto progress = [&](int64_t done, int64_t total) {
        if (done < total) bar.show(done, total);
        if (done == total) bar.clear();
        return interrupted == 0;
    };
    return conversation.answer(
        chat.generation, [&](Channel channel, std::string_view text) { return printer.show(channel, text); }, progress);
}

Conversation start_conversation(Chat& chat, const RunSettings& flags) {
    Conversation conversation(*chat.session, *chat.tokenizer, *chat.format, chat.options);
    if (!flags.system.empty()) conversation.add_message({{"role", "system"}, {"content", flags.system}});
    return conversation;
}

Result<int> answer_once(Chat& chat, const RunSettings& flags, const std::string& prompt) {
    const InterruptGuard guard;
    GeneratedAnswer answer;
    if (flags.raw) {
        TRY_ASSIGN(answer, answer_raw(chat, flags, prompt));
    } else {
        Conversation conversation = start_conversation(chat, flags);
        conversation.add_message({{"role", "user"}, {"content", prompt}});
        TRY_ASSIGN(answer, answer_next(chat, flags, conversation));
    }
    if (flags.json) {
        print_json(as_json(chat, answer));
    } else {
        print_result("\n");
        flush_results();
        print_figures(chat, answer.generation);
    }
    return kDone;
}

constexpr const char* kInteractiveHelp =
    "/reset  forget the conversation\n/stats  show speed after each answer (again: hide)\n/help   this list\n/quit   "
    "leave (also Ctrl-D); Ctrl-C "
    "stops an answer";

Result<int> talk(Chat& chat, const RunSettings& flags) {
    print_note(fmt::format("{} ({}), context {} tokens; /help lists the commands", chat.engine->config().name,
                           chat.engine->config().architecture, chat.engine->context()));
    LineEditor editor("> ");
    Conversation conversation = start_conversation(chat, flags);
    bool stats = false;
    std::string line;
    for (;;) {
        LineEditor::Ended ended;
        {
            const InterruptGuard guard;
            ended = editor.read(line);
        }
        if (ended == LineEditor::Ended::end_of_input) break;
        if (ended == LineEditor::Ended::interrupted) {
            print_note("\n(Ctrl-D or /quit leaves)");
            continue;
        }
        if (line.empty()) continue;
        if (line == "/quit" || line == "/exit") break;
        if (line == "/help") {
            print_note(kInteractiveHelp);
            continue;
        }
        if (line == "/stats") {
            stats = !stats;
            continue;
        }
        if (line == "/reset") {
            conversation = start_conversation(chat, flags);
            print_note("(forgotten)");
            continue;
        }
        conversation.add_message({{"role", "user"}, {"content", line}});
        const InterruptGuard guard;
        const auto answer = answer_next(chat, flags, conversation);
        print_result("\n");
        flush_results();
        if (!answer) {
            print_error(answer.error().message);
            conversation.remove_last_message();
            continue;
        }
        if (answer->generation.reason == FinishReason::context_full)
            print_note("(the context is full: /reset, or start with a larger --context)");
        if (stats) print_figures(chat, answer->generation);
    }
    print_note("");
    return kDone;
}

// Each input line is {"id": ..., "turns": ["user text", ...]}; each output line is {"id": ..., "answers": [...]}.
Result<int> answer_conversations(Chat& chat, const RunSettings& flags) {
    TRY_ASSIGN(const std::string text, read_text_file(flags.conversations));
    const InterruptGuard guard;
    ProgressBar bar("conversations");
    size_t start = 0;
    for (int64_t number = 1; start < text.size(); ++number) {
        const size_t end = std::min(text.find('\n', start), text.size());
        const std::string_view line = std::string_view(text).substr(start, end - start);
        start = end + 1;
        if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
        const auto conversation_json = parse_json(line);
        if (!conversation_json || !conversation_json->is_object() || !conversation_json->contains("turns") ||
            !(*conversation_json)["turns"].is_array()) {
            return fail("{}, line {}: not an object with an array \"turns\"", flags.conversations, number);
        }
        Conversation conversation = start_conversation(chat, flags);
        Json answers = Json::array();
        for (const Json& turn : (*conversation_json)["turns"]) {
            if (!turn.is_string()) return fail("{}, line {}: a turn is not a text", flags.conversations, number);
            conversation.add_message({{"role", "user"}, {"content", turn}});
            TRY_ASSIGN(const GeneratedAnswer answer, answer_next(chat, flags, conversation));
            if (interrupted != 0) return fail("stopped in conversation {}", number);
            answers.push_back({{"content", answer.content},
                               {"reasoning", answer.reasoning},
                               {"calls", calls_as_json(answer)},
                               {"finish_reason", finish_reason_name(answer.generation.reason)}});
        }
        print_json({{"id", conversation_json->value("id", Json())}, {"answers", std::move(answers)}});
        bar.show(static_cast<int64_t>(start), static_cast<int64_t>(text.size()) + 1);
    }
    return kDone;
}

Result<int> run(const RunSettings& flags) {
    TRY_ASSIGN(ModelAndPrompt given, model_and_prompt(flags.given));
    TRY_ASSIGN(const std::string model, model_path(given.model.value_or("")));
    std::optional<std::string> prompt = std::move(given.prompt);
    if (!flags.prompt_file.empty()) {
        if (prompt) return fail("a prompt and --prompt-file were given; choose one");
        TRY_ASSIGN(prompt, read_text_file(flags.prompt_file));
    }
    if (!flags.conversations.empty() && (prompt || flags.raw)) {
        return fail("--conversations brings its own prompts; leave out {}", prompt ? "the prompt" : "--raw");
    }
    if (flags.raw && !flags.chat_template.empty())
        return fail("--raw uses no chat template, so --chat-template has no place; leave one out");
    if (flags.raw && !flags.system.empty())
        return fail("--raw uses no chat template, so --system has no place; leave one out");
    const bool interactive = !prompt && flags.conversations.empty() && stdin_is_terminal();
    if (!prompt && flags.conversations.empty() && !interactive) {
        if (!std::filesystem::exists(model)) TRY(Checkpoint::open(model));  // its error, before a prompt is waited for
        TRY_ASSIGN(prompt, read_standard_input());
    }
    if (prompt && prompt->empty())
        return fail("the prompt is empty; write it as the last argument or on standard input");
    if (interactive && (flags.raw || flags.json)) return fail("{} needs a prompt", flags.raw ? "--raw" : "--json");
    TRY_ASSIGN(const std::unique_ptr<Chat> chat, open_chat(flags, model));
    if (!flags.conversations.empty()) return answer_conversations(*chat, flags);
    return interactive ? talk(*chat, flags) : answer_once(*chat, flags, *prompt);
}

}  // namespace

Command run_command() {
    auto flags = std::make_shared<RunSettings>();
    return {.name = "run",
            .summary = "Answer a prompt, or chat if there is none",
            .settings = run_settings(*flags),
            .footer =
                "Examples:\n"
                "  invar run                                         talk to the demonstration model\n"
                "  invar run model.gguf                              talk to a model\n"
                "  invar run model.gguf \"Why is the sky blue?\" -t 0   one answer, always the same\n"
                "  echo \"Summarise: ...\" | invar run model.gguf --json\n"
                "  invar run model.gguf \"Once upon a time\" --raw -n 100 --seed 7",
            .run = [flags](const Arguments&) { return run(*flags); }};
}

}  // namespace invar::app
