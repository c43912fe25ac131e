#include "proof/verify/prompts.h"

#include <algorithm>
#include <numeric>

#include "arithmetic/philox.h"
#include "base/json.h"
#include "text/chat/chat_format.h"
#include "text/tokenizer/from_checkpoint.h"

namespace invar {
namespace {

constexpr int64_t kChatPositions = 56;  // the most positions of the chat's prompt
constexpr uint64_t kSeed = 20260101;

std::vector<int32_t> random_tokens(int64_t count, int64_t vocabulary, uint64_t stream) {
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < count; ++i) {
        const float u = law::uniform(kSeed + stream, static_cast<uint64_t>(i));
        tokens.push_back(static_cast<int32_t>(u * static_cast<float>(vocabulary)));
        tokens.back() = std::min(tokens.back(), static_cast<int32_t>(vocabulary - 1));
    }
    return tokens;
}

Result<std::vector<int32_t>> chat_tokens(const Checkpoint& file, const ModelConfig& config) {
    TRY_ASSIGN(const Tokenizer tokenizer, read_tokenizer(file));
    TRY_ASSIGN(const ChatFormat format, ChatFormat::create(file, tokenizer, ""));
    const Json messages = Json::array({{{"role", "user"}, {"content", "Hello! What is the capital of France?"}}});
    TRY_ASSIGN(ChatPrompt prompt, format.prompt(messages, {}));
    std::vector<int32_t> tokens = std::move(prompt.tokens);
    for (const int32_t token : tokens) {
        if (token < 0 || token >= config.vocabulary) {
            return fail("the tokenizer gives token {}, but the embedding has {} rows", token, config.vocabulary);
        }
    }
    // The end of a long prompt is kept, because a model answers to it.
    if (static_cast<int64_t>(tokens.size()) > kChatPositions)
        tokens.erase(tokens.begin(), tokens.end() - kChatPositions);
    return tokens;
}

struct Feeding {
    const Probe* probe;
    int32_t sequence;
    int64_t done = 0;
};

// One batch with rows of every sequence that has some left: chunks of the prompts, then one token of each at a time.
Batch shared_batch(std::vector<Feeding>& feeding, int64_t chunk) {
    Batch batch;
    for (Feeding& one : feeding) {
        const int64_t left = one.probe->positions() - one.done;
        const int64_t prompt_left = one.probe->prompt - one.done;
        const int64_t count = std::min(left, prompt_left > 0 ? std::min(chunk, prompt_left) : int64_t{1});
        for (int64_t i = 0; i < count; ++i) {
            batch.rows.push_back({.token = one.probe->tokens[static_cast<size_t>(one.done + i)],
                                  .sequence = one.sequence,
                                  .position = one.done + i});
        }
        one.done += count;
        if (count > 0) batch.logits_rows.push_back(static_cast<int32_t>(batch.size() - 1));
    }
    return batch;
}

// One batch with as many whole probes as fit, where attention sees both ways.
Batch whole_batch(std::vector<Feeding>& feeding, int64_t chunk) {
    Batch batch;
    for (Feeding& one : feeding) {
        const int64_t count = one.probe->positions();
        if (one.done > 0 || batch.size() + count > chunk) continue;
        for (int64_t i = 0; i < count; ++i) {
            batch.rows.push_back(
                {.token = one.probe->tokens[static_cast<size_t>(i)], .sequence = one.sequence, .position = i});
        }
        one.done = count;
        batch.logits_rows.push_back(static_cast<int32_t>(batch.size() - 1));
    }
    return batch;
}

Result<void> run_together(ModelRunner& runner, const ProbeSet& probes, const Schedule& schedule,
                          std::span<VerbHook* const> hooks, std::span<const int32_t> sequences) {
    std::vector<Feeding> feeding;
    for (size_t i = 0; i < probes.probes.size(); ++i) {
        const Probe& probe = probes.probes[i];
        feeding.push_back({.probe = &probe, .sequence = sequences[i]});
    }
    const int64_t chunk =
        std::max<int64_t>(1, std::min(schedule.chunk, runner.chunk() / static_cast<int64_t>(feeding.size())));
    while (true) {
        const Batch batch =
            runner.cache().sees_both_ways() ? whole_batch(feeding, runner.chunk()) : shared_batch(feeding, chunk);
        if (batch.rows.empty()) return {};
        TRY(reserve_rows(runner.cache(), batch));
        TRY(runner.evaluate(batch, hooks));
        advance_rows(runner.cache(), batch);
    }
}

Result<void> run_alone(ModelRunner& runner, const Probe& probe, const Schedule& schedule,
                       std::span<VerbHook* const> hooks, int32_t sequence) {
    const auto feed_range = [&](int64_t first, int64_t last, int64_t chunk) -> Result<void> {
        const std::span<const int32_t> tokens(probe.tokens);
        return feed(runner,
                    {.sequence = sequence,
                     .start = first,
                     .tokens = tokens.subspan(static_cast<size_t>(first), static_cast<size_t>(last - first)),
                     .chunk = chunk,
                     .all_logits = schedule.all_logits},
                    hooks, nullptr);
    };
    if (runner.cache().sees_both_ways()) {
        TRY(feed_range(0, probe.positions(), probe.positions()));
        if (!schedule.recompute) return {};
        return feed_range(runner.cache().rewind(sequence, probe.prompt / 2), probe.positions(), probe.positions());
    }
    if (schedule.recompute) {
        // The prompt is computed to its end, cut back, and computed again: recurrences go back to a snapshot.
        const int64_t middle = probe.prompt / 2;
        TRY(feed_range(0, middle, schedule.chunk));
        TRY(runner.cache().snapshot(sequence));
        TRY(feed_range(middle, probe.prompt, schedule.chunk));
        TRY(feed_range(runner.cache().rewind(sequence, middle), probe.prompt, schedule.chunk));
    } else {
        TRY(feed_range(0, probe.prompt, schedule.chunk));
    }
    return feed_range(probe.prompt, probe.positions(), 1);
}

}  // namespace

int64_t ProbeSet::positions() const {
    return std::accumulate(probes.begin(), probes.end(), int64_t{0},
                           [](int64_t sum, const Probe& probe) { return sum + probe.positions(); });
}

int64_t ProbeSet::longest() const {
    int64_t most = 0;
    for (const Probe& probe : probes) most = std::max(most, probe.positions());
    return most;
}

ProbeSet ProbeSet::trimmed(int64_t positions) const {
    ProbeSet set = *this;
    const int64_t each = std::max<int64_t>(2, positions / std::max<int64_t>(1, static_cast<int64_t>(probes.size())));
    for (Probe& probe : set.probes) {
        if (probe.positions() <= each) continue;
        probe.tokens.resize(static_cast<size_t>(each));
        probe.prompt = std::min(probe.prompt, each - 1);
    }
    return set;
}

ProbeSet make_probes(const Checkpoint& file, const ModelConfig& config, int64_t most_positions) {
    ProbeSet set;
    const auto add = [&](std::string name, std::vector<int32_t> tokens, int64_t decoded) {
        if (static_cast<int64_t>(tokens.size()) > most_positions) tokens.resize(static_cast<size_t>(most_positions));
        const auto positions = static_cast<int64_t>(tokens.size());
        set.probes.push_back({.name = std::move(name),
                              .tokens = std::move(tokens),
                              .prompt = std::max<int64_t>(1, positions - decoded)});
    };
    if (Result<std::vector<int32_t>> chat = chat_tokens(file, config); chat && !chat->empty()) {
        const std::vector<int32_t> more = random_tokens(4, config.vocabulary, 3);
        chat->insert(chat->end(), more.begin(), more.end());
        add("chat", std::move(*chat), 4);
    } else {
        set.skipped.push_back(
            fmt::format("chat probe: {}", chat ? "the template gives no tokens" : chat.error().message));
    }
    // 80 prompt tokens cross a page boundary (64 positions) within a chunk; 60 tokens and 8 decode steps cross it in a
    // step.
    add("random tokens", random_tokens(84, config.vocabulary, 1), 4);
    add("decode across a page", random_tokens(68, config.vocabulary, 2), 8);
    return set;
}

std::vector<Schedule> schedules() {
    return {{.name = "whole prompt", .chunk = 512, .all_logits = true},
            {.name = "one token a pass", .chunk = 1},
            {.name = "chunks of 7", .chunk = 7},
            {.name = "chunks of 64", .chunk = 64},
            {.name = "sequences together", .chunk = 16, .together = true},
            {.name = "prefix computed again", .chunk = 48, .recompute = true}};
}

Result<void> run_schedule(ModelRunner& runner, const ProbeSet& probes, const Schedule& schedule,
                          std::span<VerbHook* const> hooks, std::vector<int32_t>& sequence_of) {
    sequence_of.clear();
    for (size_t i = 0; i < probes.probes.size(); ++i) sequence_of.push_back(runner.cache().add_sequence());
    Result<void> ran;
    if (schedule.together) {
        ran = run_together(runner, probes, schedule, hooks, sequence_of);
    } else {
        for (size_t i = 0; ran && i < probes.probes.size(); ++i) {
            ran = run_alone(runner, probes.probes[i], schedule, hooks, sequence_of[i]);
        }
    }
    for (const int32_t sequence : sequence_of) runner.cache().remove_sequence(sequence);
    return ran;
}

}  // namespace invar
