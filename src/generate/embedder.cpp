// Plans, cuts texts into passes, and finishes the texts of a pass side by side: see embedder.h.
#include "generate/embedder.h"

#include <algorithm>

#include "models/long_rope.h"

namespace invar {
namespace {

constexpr int kMostTogether = 64;  // texts in one pass

// Wishes go before what the checkpoint says.
Result<void> apply(const EmbeddingWishes& wishes, const std::string& name, EmbeddingConfig& config) {
    if (wishes.pooling) {
        config.pooling = {*wishes.pooling};
        config.source = "--pooling";
    }
    if (config.pooling.empty()) {
        return fail(ErrorKind::unsupported,
                    "{}: does not say how the rows of a text become one vector ({}); ask for a mode with --pooling "
                    "mean, cls or last",
                    name, config.source.empty() ? "it has no modules.json" : config.source);
    }
    if (wishes.unit_length == true && !config.has_unit_length()) config.steps.emplace_back(UnitLengthStep{});
    if (wishes.unit_length == false) {
        std::erase_if(config.steps,
                      [](const EmbeddingStep& step) { return std::holds_alternative<UnitLengthStep>(step); });
    }
    return {};
}

}  // namespace

Result<EmbeddingPlan> plan_embeddings(const Checkpoint& checkpoint, const ModelConfig& model,
                                      const EmbeddingWishes& wishes) {
    const int64_t width = model.width;
    EmbeddingPlan plan;
    TRY_ASSIGN(plan.config, read_embedding_config(checkpoint, width));
    TRY(apply(wishes, checkpoint.name(), plan.config));
    TRY(check_embedding_sizes(plan.config, width, checkpoint.name()));
    plan.size = vector_size(plan.config, width);
    if (wishes.dimensions > plan.size) {
        return fail("{}: makes vectors of {} elements, but --dimensions asks for {}", checkpoint.name(), plan.size,
                    wishes.dimensions);
    }
    if (wishes.dimensions > 0) plan.size = wishes.dimensions;
    plan.most_tokens = model.context_length;
    if (plan.config.most_tokens > 0) plan.most_tokens = std::min(plan.most_tokens, plan.config.most_tokens);
    return plan;
}

Result<TextTokens> tokens_to_embed(const Tokenizer& tokenizer, std::string_view text, int64_t most, bool truncate) {
    TRY_ASSIGN(std::vector<int32_t> of_text, tokenizer.encode(text, Tokenizer::Specials::parse, Tokenizer::Ends::none));
    const std::span<const int32_t> before = tokenizer.before(), behind = tokenizer.behind();
    const auto around = std::ssize(before) + std::ssize(behind);
    TextTokens result;
    if (const int64_t all = std::ssize(of_text) + around; all > most) {
        if (!truncate) {
            return fail(
                "the text has {} tokens, but the model takes at most {}; shorten it, or leave its end out with "
                "--truncate",
                all, most);
        }
        if (around > most) return fail("{} tokens are too few for the {} special tokens of a text", most, around);
        result.left_out = all - most;
        of_text.resize(static_cast<size_t>(most - around));
    }
    result.tokens.assign(before.begin(), before.end());
    result.tokens.insert(result.tokens.end(), of_text.begin(), of_text.end());
    result.tokens.insert(result.tokens.end(), behind.begin(), behind.end());
    if (result.tokens.empty()) return fail("the text has no tokens, so there is nothing to make a vector of");
    return result;
}

void fit_engine_to_texts(std::span<const TextTokens> texts, const ModelConfig& model, EngineSettings& settings) {
    int64_t longest = 1;
    for (const TextTokens& text : texts) longest = std::max(longest, std::ssize(text.tokens));
    // LongRoPE turns by the context, and a vector must not depend on the texts beside it.
    if (!chosen_rope(model).empty()) longest = model.context_length;
    if (settings.context == 0) settings.context = std::min(model.context_length, std::max(longest, settings.chunk));
    settings.sequences = static_cast<int>(std::clamp<int64_t>(std::ssize(texts), 1, kMostTogether));
    settings.result = ModelResult::hidden;
    settings.logits_rows = settings.chunk;
    // Each sequence may leave a page partly empty.
    settings.cache_positions = std::max(settings.context, settings.chunk) + settings.sequences * kPagePositions;
}

Embedder::Embedder(Engine& engine, EmbeddingPlan plan) : engine_(engine), plan_(std::move(plan)) {
    for (const EmbeddingStep& step : plan_.config.steps) {
        const auto* dense = std::get_if<DenseStep>(&step);
        if (dense == nullptr) continue;
        const DenseRole& role = dense->tensors.role;
        DenseWeights weights{.matrix = engine.weights().matrix({-1, role.weight}), .bias = {}};
        if (!dense->tensors.bias.empty()) weights.bias = engine.weights().vector({-1, role.bias});
        dense_.push_back(std::move(weights));
    }
}

std::vector<float> Embedder::finish(PooledRows& rows) const {
    std::vector<float> vector = rows.take();
    size_t next = 0;
    for (const EmbeddingStep& step : plan_.config.steps) {
        if (const auto* dense = std::get_if<DenseStep>(&step)) {
            vector = run_dense(dense_[next++], dense->activation, vector);
        } else {
            law::unit_length(vector.data(), std::ssize(vector), vector.data());
        }
    }
    if (plan_.size < std::ssize(vector)) shorten(vector, plan_.size, plan_.config.has_unit_length());
    return vector;
}

// Computes tokens [first, first + count) of each text, or all that it has.
Result<void> Embedder::run_pass(std::span<const TextTokens> texts, std::vector<Piece>& pieces, int64_t first,
                                int64_t count) {
    std::vector<StepPiece> steps;
    for (const Piece& piece : pieces) {
        const std::span<const int32_t> tokens = texts[piece.text].tokens;
        const auto length = std::min(count, std::ssize(tokens) - first);
        steps.push_back({.sequence = piece.sequence,
                         .tokens = tokens.subspan(static_cast<size_t>(first), static_cast<size_t>(length)),
                         .wanted = StepWanted::all_logits});
    }
    TRY_ASSIGN(const StepResults results, engine_.step(steps));
    for (size_t i = 0; i < pieces.size(); ++i) {
        if (!results[i]) {
            return fail(results[i].error().kind, "text {}: {}", pieces[i].text + 1, results[i].error().message);
        }
        pieces[i].rows.add(results[i]->logits);
    }
    return {};
}

// Texts [first, last), which fit into one pass, or one text that needs several.
Result<void> Embedder::run_together(std::span<const TextTokens> texts, size_t first, size_t last, const Sink& sink) {
    SequenceState& state = engine_.cache();
    std::vector<Piece> pieces;
    for (size_t text = first; text < last; ++text) {
        pieces.push_back({text, state.add_sequence(), PooledRows(plan_.config.pooling, engine_.config().width)});
    }
    Result<void> done;
    const int64_t longest = pieces.size() == 1 ? std::ssize(texts[first].tokens) : engine_.chunk();
    for (int64_t at = 0; done && at < longest; at += engine_.chunk())
        done = run_pass(texts, pieces, at, engine_.chunk());
    for (const Piece& piece : pieces) state.remove_sequence(piece.sequence);
    TRY(std::move(done));
    std::vector<std::vector<float>> vectors(pieces.size());
    engine_.threads().parallel_items(std::ssize(pieces), [&](int64_t item, int) {
        const auto i = static_cast<size_t>(item);
        vectors[i] = finish(pieces[i].rows);
    });
    for (size_t i = 0; i < pieces.size(); ++i) TRY(sink(pieces[i].text, vectors[i]));
    return {};
}

Result<void> Embedder::run(std::span<const TextTokens> texts, const Sink& sink) {
    for (size_t first = 0; first < texts.size();) {
        int64_t rows = std::ssize(texts[first].tokens);
        size_t last = first + 1;
        while (last < texts.size() && last - first < static_cast<size_t>(engine_.sequences()) &&
               rows + std::ssize(texts[last].tokens) <= engine_.chunk())
            rows += std::ssize(texts[last++].tokens);
        TRY(run_together(texts, first, last, sink));
        first = last;
    }
    return {};
}

}  // namespace invar
