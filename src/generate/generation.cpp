#include "generate/generation.h"

#include <algorithm>
#include <chrono>

namespace invar {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

}  // namespace

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

Result<Generation> generate(Session& session, const Tokenizer& tokenizer, std::span<const int32_t> prompt,
                            const GenerationSettings& settings, const TextSink& sink,
                            const Session::Progress& progress) {
    TRY(settings.sampler.validate());
    Sampler sampler(settings.sampler);
    sampler.observe(settings.observer);
    Generation result;
    result.prompt_tokens = static_cast<int64_t>(prompt.size());
    std::vector<int32_t> history(prompt.begin(), prompt.end());
    const int64_t vocabulary = session.engine().config().vocabulary;
    // What of the next row of logits a device is to send; nothing: all of it.
    const auto request = [&]() -> Result<Session::Request> {
        if (!session.engine().ranks_on_device()) return Session::Request();
        return sampler.preselection(history, vocabulary);
    };
    const auto prompt_start = Clock::now();
    TRY_ASSIGN(Session::Request wanted, request());
    TRY_ASSIGN(NextToken next, session.advance_to(prompt, progress, wanted));
    result.prompt_seconds = seconds_since(prompt_start);
    result.reused_tokens = session.reused_tokens();

    const auto generation_start = Clock::now();
    TokenStream stream(tokenizer, /*show_control=*/false, TokenStream::Begins::continuation);
    StopStrings stops(settings.stop);
    bool cancelled = false;
    auto deliver = [&](const std::string& text) {
        if (text.empty()) return;
        result.text += text;
        if (sink && !sink(text)) cancelled = true;
    };
    for (;;) {
        const auto position = static_cast<int64_t>(history.size());
        TRY_ASSIGN(const SampledToken sampled, next.ranked ? sampler.sample(*next.ranked, vocabulary, position)
                                                           : sampler.sample(next.logits, history, position));
        result.tokens.push_back(sampled.token);
        history.push_back(sampled.token);
        if (!settings.ignore_end && tokenizer.is_end_of_generation(sampled.token)) {
            result.reason = FinishReason::end_token;
            break;
        }
        deliver(stops.feed(stream.feed(sampled.token)));
        if (stops.stopped()) {
            result.reason = FinishReason::stop_string;
            break;
        }
        if (cancelled) {
            result.reason = FinishReason::cancelled;
            break;
        }
        if (settings.max_tokens > 0 && static_cast<int64_t>(result.tokens.size()) >= settings.max_tokens) {
            result.reason = FinishReason::max_tokens;
            break;
        }
        if (session.room() < 1) {
            result.reason = FinishReason::context_full;
            break;
        }
        TRY_ASSIGN(wanted, request());
        TRY_ASSIGN(next, session.append(sampled.token, wanted));
    }
    if (!stops.stopped()) {
        deliver(stops.feed(stream.finish()));
        deliver(stops.finish());
    }
    result.generation_seconds = seconds_since(generation_start);
    return result;
}

}  // namespace invar
