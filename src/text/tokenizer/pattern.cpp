// Runs PCRE2 with its JIT, in UTF and UCP mode, and sets the limits of a search. The text was checked to be UTF-8
// before, so PCRE2 is told to trust it: it would check the whole rest of a text again for every word.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/tokenizer/pattern.h"

#include <pcre2.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "text/tokenizer/oniguruma.h"
#include "text/tokenizer/utf8.h"

namespace invar {
namespace {

// A JIT search keeps its backtracking points on a stack, by default 32 KiB of the machine's own. Most expressions
// repeat single characters only and need none; expressions that need more get this one.
constexpr size_t kJitStackBytes = 32 * 1024;
constexpr size_t kJitStackBytesLimit = size_t{64} * 1024 * 1024;
constexpr uint32_t kBacktracksPerByte = 16;
constexpr uint32_t kBacktracksAtLeast = 100'000;

std::string message_of(int code) {
    PCRE2_UCHAR message[256];
    pcre2_get_error_message(code, message, sizeof(message));
    return reinterpret_cast<const char*>(message);
}

struct FreeCode {
    void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct FreeCompileContext {
    void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
};
struct FreeMatch {
    void operator()(pcre2_match_data* match) const { pcre2_match_data_free(match); }
};
struct FreeContext {
    void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
struct FreeStack {
    void operator()(pcre2_jit_stack* stack) const { pcre2_jit_stack_free(stack); }
};

}  // namespace

struct Pattern::Compiled {
    std::unique_ptr<pcre2_code, FreeCode> code;
};

struct Pattern::Workspace::State {
    std::unique_ptr<pcre2_jit_stack, FreeStack> stack;  // must outlive the context that points to it
    std::unique_ptr<pcre2_match_context, FreeContext> context;
    std::unique_ptr<pcre2_match_data, FreeMatch> match;
};

Pattern::Workspace::Workspace() : state_(std::make_unique<State>()) {
    state_->context.reset(pcre2_match_context_create(nullptr));
    state_->match.reset(pcre2_match_data_create(1, nullptr));  // only the whole match is wanted
}

Pattern::Workspace::~Workspace() = default;
Pattern::Pattern(std::unique_ptr<Compiled> compiled) : compiled_(std::move(compiled)) {}
Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;
Pattern::~Pattern() = default;

Result<Pattern> Pattern::compile(std::string_view expression) {
    TRY_ASSIGN(const std::string translated, pcre2_from_oniguruma(expression));
    TRY_ASSIGN(Pattern pattern, from_pcre2(translated));
    pattern.expression_ = expression;
    return pattern;
}

Result<Pattern> Pattern::literal(std::string_view text) {
    std::string quoted;
    for (size_t offset = 0; offset < text.size();) {
        const Utf8Step step = read_utf8(text.substr(offset));
        quoted += fmt::format("\\x{{{:X}}}", static_cast<uint32_t>(step.character));
        offset += step.bytes;
    }
    return from_pcre2(quoted.empty() ? "(?!)" : quoted);
}

Result<Pattern> Pattern::from_pcre2(const std::string& spelled) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    auto compiled = std::make_unique<Compiled>();
    const std::unique_ptr<pcre2_compile_context, FreeCompileContext> context(pcre2_compile_context_create(nullptr));
    pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
    compiled->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(spelled.data()), spelled.size(),
                                       PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK | PCRE2_NEVER_BACKSLASH_C, &error,
                                       &offset, context.get()));
    if (!compiled->code) {
        return fail("the expression '{}' is refused by PCRE2 at its offset {}: {}", spelled.substr(0, 200), offset,
                    message_of(error));
    }
    // Without a JIT (an unusual build of PCRE2), the same matches are found more slowly.
    pcre2_jit_compile(compiled->code.get(), PCRE2_JIT_COMPLETE);
    return Pattern(std::move(compiled));
}

Result<void> Pattern::find_all(std::string_view text, Span piece, Workspace& workspace,
                               std::vector<Span>& matches) const {
    Workspace::State& state = *workspace.state_;
    const size_t size = piece.end - piece.begin;
    const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data() + piece.begin);
    pcre2_set_match_limit(state.context.get(), static_cast<uint32_t>(std::min<size_t>(
                                                   kBacktracksAtLeast + size * kBacktracksPerByte, UINT32_MAX)));
    size_t from = 0;
    size_t last_end = SIZE_MAX;
    while (from <= size) {
        const int found = pcre2_match(compiled_->code.get(), subject, size, from, PCRE2_NO_UTF_CHECK, state.match.get(),
                                      state.context.get());
        if (found == PCRE2_ERROR_NOMATCH) break;
        if (found == PCRE2_ERROR_JIT_STACKLIMIT && !state.stack) {
            state.stack.reset(pcre2_jit_stack_create(kJitStackBytes, kJitStackBytesLimit, nullptr));
            pcre2_jit_stack_assign(state.context.get(), nullptr, state.stack.get());
            continue;
        }
        if (found < 0) {
            return fail("its expression gave up on {} bytes of text at byte {} ({}); use a shorter or another text",
                        size, piece.begin + from, message_of(found));
        }
        const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(state.match.get());
        if (bounds[0] == bounds[1] && bounds[0] == last_end) {
            if (from >= size) break;
            from += read_utf8(text.substr(piece.begin + from)).bytes;
            continue;
        }
        matches.push_back({piece.begin + bounds[0], piece.begin + bounds[1]});
        from = last_end = bounds[1];
    }
    return {};
}

}  // namespace invar
