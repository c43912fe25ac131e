#include "generate/request.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace invar {

std::string_view finish_reason_name(FinishReason reason) {
    switch (reason) {
        case FinishReason::end_token:
            return "end_token";
        case FinishReason::stop_string:
            return "stop_string";
        case FinishReason::max_tokens:
            return "max_tokens";
        case FinishReason::context_full:
            return "context_full";
        case FinishReason::cancelled:
            return "cancelled";
    }
    return "";
}

std::string StopStrings::feed(std::string_view text) {
    if (stopped_) return {};
    held_ += text;
    size_t first = std::string::npos;
    for (const std::string& stop : stops_) {
        if (!stop.empty()) first = std::min(first, held_.find(stop));
    }
    if (first != std::string::npos) {
        stopped_ = true;
        std::string certain = held_.substr(0, first);
        held_.clear();
        return certain;
    }
    size_t keep = 0;  // the longest end of held_ that starts a stop string
    for (const std::string& stop : stops_) {
        for (size_t length = std::min(stop.size(), held_.size()); length > keep; --length) {
            if (held_.ends_with(std::string_view(stop).substr(0, length))) keep = length;
        }
    }
    std::string certain = held_.substr(0, held_.size() - keep);
    held_.erase(0, held_.size() - keep);
    return certain;
}

std::string StopStrings::finish() { return std::exchange(held_, {}); }

Result<Request> Request::create(const Tokenizer& tokenizer, std::span<const int32_t> prompt,
                                GenerationSettings settings, const Limits& limits) {
    if (prompt.empty()) return fail("the prompt has no tokens; give at least one");
    if (std::ssize(prompt) > limits.context) {
        return fail("the prompt has {} tokens, but the context holds {}; shorten it or raise --context", prompt.size(),
                    limits.context);
    }
    TRY(settings.sampler.validate());
    return Request(tokenizer, prompt, std::move(settings), limits);
}

Request::Request(const Tokenizer& tokenizer, std::span<const int32_t> prompt, GenerationSettings settings,
                 const Limits& limits)
    : tokenizer_(&tokenizer),
      settings_(std::move(settings)),
      limits_(limits),
      sampler_(settings_.sampler),
      prompt_tokens_(prompt.size()),
      tokens_(prompt.begin(), prompt.end()),
      stream_(tokenizer, /*show_control=*/false, TokenStream::Begins::continuation),
      stops_(settings_.stop) {
    sampler_.observe(settings_.observer);
}

Result<StepPiece> Request::next_piece(int32_t sequence, int64_t computed, int64_t most) {
    CHECK(!finished_ && computed < std::ssize(tokens_) && most > 0, "a request that goes on wants its last token");
    const auto count = std::min<int64_t>(most, std::ssize(tokens_) - computed);
    StepPiece piece{.sequence = sequence,
                    .tokens = tokens().subspan(static_cast<size_t>(computed), static_cast<size_t>(count)),
                    .wanted = StepWanted::nothing};
    if (computed + count < std::ssize(tokens_)) return piece;
    piece.wanted = StepWanted::last_logits;
    if (limits_.ranks) {
        TRY_ASSIGN(piece.ranked, sampler_.preselection(tokens_, limits_.vocabulary));
    }
    return piece;
}

Result<void> Request::take(const StepOutput& output) {
    const auto position = std::ssize(tokens_);
    TRY_ASSIGN(const SampledToken sampled, output.ranked ? sampler_.sample(*output.ranked, limits_.vocabulary, position)
                                                         : sampler_.sample(output.logits, tokens_, position));
    tokens_.push_back(sampled.token);
    if (!settings_.ignore_end && tokenizer_->is_end_of_generation(sampled.token)) {
        finish(FinishReason::end_token);
        return {};
    }
    const auto& marks = settings_.marks;
    if (std::find(marks.begin(), marks.end(), sampled.token) != marks.end()) {
        add_text(stream_.finish());
        const std::string mark = tokenizer_->piece(sampled.token);
        open_marks_.push_back({given_bytes_, given_bytes_ + mark.size(), sampled.token});
        add_text(mark);
    } else {
        add_text(stream_.feed(sampled.token));
    }
    const int64_t made = std::ssize(tokens_) - prompt_tokens();
    if (stops_.stopped()) {
        finish(FinishReason::stop_string);
    } else if (settings_.max_tokens > 0 && made >= settings_.max_tokens) {
        finish(FinishReason::max_tokens);
    } else if (std::ssize(tokens_) > limits_.context) {
        finish(FinishReason::context_full);
    }
    return {};
}

void Request::finish(FinishReason reason) {
    if (finished_) return;
    finished_ = reason;
    if (stops_.stopped()) return;
    add_text(stream_.finish());
    text_ += stops_.finish();
}

void Request::add_text(std::string_view text) {
    given_bytes_ += text.size();
    text_ += stops_.feed(text);
}

std::vector<TextPiece> Request::take_pieces() {
    std::vector<TextPiece> pieces;
    const auto take = [&](size_t bytes, int32_t mark) {
        if (bytes > 0) pieces.push_back({text_.substr(0, bytes), mark});
        text_.erase(0, bytes);
        taken_bytes_ += bytes;
    };
    while (!open_marks_.empty()) {
        const Mark mark = open_marks_.front();
        const size_t certain = taken_bytes_ + text_.size();
        if (mark.begin >= certain) break;
        take(mark.begin - taken_bytes_, -1);
        if (mark.end > certain) {  // a stop string began in it
            if (!finished_) return pieces;
            open_marks_.clear();
            break;
        }
        take(mark.end - mark.begin, mark.token);
        open_marks_.erase(open_marks_.begin());
    }
    take(text_.size(), -1);
    return pieces;
}

std::string Request::take_text() {
    std::string text;
    for (const TextPiece& piece : take_pieces()) text += piece.text;
    return text;
}

}  // namespace invar
