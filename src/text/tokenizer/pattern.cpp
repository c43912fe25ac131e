// PCRE2 with JIT, in UTF and UCP mode. Decides the meaning of `\s` and the limits of a search. The text was checked to
// be UTF-8 before, so PCRE2 is told not to: it would check all the rest of a text again for every word. Read pattern.h
// first.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/tokenizer/pattern.h"

#include <pcre2.h>

#include <algorithm>
#include <cstdint>
#include <string>

namespace invar {
namespace {

// A JIT search keeps its backtracking points on this stack; the expressions of pre_tokenizer.cpp repeat single
// characters only, which takes none, so the upper bound is never met by them.
constexpr size_t kJitStackBytes = 32 * 1024;
constexpr size_t kJitStackBytesLimit = 8 * 1024 * 1024;
constexpr uint32_t kBacktracksPerByte = 16;
constexpr uint32_t kBacktracksAtLeast = 100'000;

constexpr std::string_view kWhiteSpace =
    "\\t-\\r\\x20\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}";

// Writes `\s` out as White_Space, bare or inside a class, and a bare `\S` as its complement.
std::string with_white_space_spelled_out(std::string_view expression) {
    std::string spelled;
    bool in_class = false;
    for (size_t i = 0; i < expression.size(); ++i) {
        const char character = expression[i];
        if (character != '\\') {
            in_class = character == '[' || (in_class && character != ']');
            spelled += character;
            continue;
        }
        const char escaped = expression[++i];
        if (escaped == 's' && in_class) {
            spelled += kWhiteSpace;
        } else if (escaped == 's' || escaped == 'S') {
            spelled.append(escaped == 's' ? "[" : "[^").append(kWhiteSpace).append("]");
        } else {
            spelled.append({'\\', escaped});
        }
    }
    return spelled;
}

std::string message_of(int code) {
    PCRE2_UCHAR message[256];
    pcre2_get_error_message(code, message, sizeof(message));
    return reinterpret_cast<const char*>(message);
}

struct FreeCode {
    void operator()(pcre2_code* code) const { pcre2_code_free(code); }
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
    std::unique_ptr<pcre2_jit_stack, FreeStack> stack;  // outlives the context that names it
    std::unique_ptr<pcre2_match_context, FreeContext> context;
    std::unique_ptr<pcre2_match_data, FreeMatch> match;
};

Pattern::Workspace::Workspace() : state_(std::make_unique<State>()) {
    state_->stack.reset(pcre2_jit_stack_create(kJitStackBytes, kJitStackBytesLimit, nullptr));
    state_->context.reset(pcre2_match_context_create(nullptr));
    state_->match.reset(pcre2_match_data_create(1, nullptr));  // only the whole match is wanted
    pcre2_jit_stack_assign(state_->context.get(), nullptr, state_->stack.get());
}

Pattern::Workspace::~Workspace() = default;
Pattern::Pattern(std::unique_ptr<Compiled> compiled) : compiled_(std::move(compiled)) {}
Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;
Pattern::~Pattern() = default;

Result<Pattern> Pattern::compile(std::string_view expression) {
    const std::string spelled = with_white_space_spelled_out(expression);
    int error = 0;
    PCRE2_SIZE offset = 0;
    auto compiled = std::make_unique<Compiled>();
    compiled->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(spelled.data()), spelled.size(),
                                       PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK, &error, &offset, nullptr));
    if (!compiled->code) {
        return fail("pre-tokeniser expression '{}' does not compile at offset {}: {}", spelled, offset,
                    message_of(error));
    }
    // Without a JIT (an unusual build of PCRE2) the same matches are found more slowly.
    pcre2_jit_compile(compiled->code.get(), PCRE2_JIT_COMPLETE);
    return Pattern(std::move(compiled));
}

Result<void> Pattern::split(std::string_view text, Span piece, Workspace& workspace, std::vector<Span>& pieces) const {
    Workspace::State& state = *workspace.state_;
    const size_t size = piece.end - piece.begin;
    const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data() + piece.begin);
    pcre2_set_match_limit(state.context.get(), static_cast<uint32_t>(std::min<size_t>(
                                                   kBacktracksAtLeast + size * kBacktracksPerByte, UINT32_MAX)));
    size_t done = 0;  // everything before it is in `pieces`
    while (done < size) {
        const int found = pcre2_match(compiled_->code.get(), subject, size, done, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY,
                                      state.match.get(), state.context.get());
        if (found == PCRE2_ERROR_NOMATCH) break;
        if (found < 0) {
            return fail("the pre-tokeniser gave up on {} bytes of text at byte {}: {}", size, piece.begin + done,
                        message_of(found));
        }
        const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(state.match.get());
        if (bounds[0] > done) pieces.push_back({piece.begin + done, piece.begin + bounds[0]});
        pieces.push_back({piece.begin + bounds[0], piece.begin + bounds[1]});
        done = bounds[1];
    }
    if (done < size) pieces.push_back({piece.begin + done, piece.end});
    return {};
}

}  // namespace invar
