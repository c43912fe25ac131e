// Vectors of texts: computes the rows of many texts in passes and gives them to the steps of embed/. A text's vector
// does not depend on the texts beside it, on the pieces in which it was computed, or on the machine.
// app/embed_command.cpp turns text into tokens before and prints after.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "embed/embedding_config.h"
#include "embed/embedding_head.h"
#include "engine/engine.h"
#include "engine/engine_settings.h"
#include "text/tokenizer/tokenizer.h"

namespace invar {

// What a user may want other than the checkpoint says.
struct EmbeddingWishes {
    std::optional<Pooling> pooling;
    std::optional<bool> unit_length;
    int64_t dimensions = 0;  // the first so many elements of each vector; 0: all
};

// How a model makes vectors, and how many tokens a text may have.
struct EmbeddingPlan {
    EmbeddingConfig config;
    int64_t size = 0;         // elements of a vector
    int64_t most_tokens = 0;  // of a text
};
// Errors: the checkpoint does not say how it pools and the wishes do not either; more dimensions than there are.
Result<EmbeddingPlan> plan_embeddings(const Checkpoint& checkpoint, const ModelConfig& model,
                                      const EmbeddingWishes& wishes);

// A text's tokens, with the special ones around it. With `truncate`, tokens at the end of the text are left out so that
// at most `most` remain; else a longer text is an error.
struct TextTokens {
    std::vector<int32_t> tokens;
    int64_t left_out = 0;
};
Result<TextTokens> tokens_to_embed(const Tokenizer& tokenizer, std::string_view text, int64_t most, bool truncate);

// Sets what the engine needs for texts of these lengths: context, rows of a pass, sequences and cache.
void fit_engine_to_texts(std::span<const TextTokens> texts, const ModelConfig& model, EngineSettings& settings);

class Embedder {
  public:
    // The engine was opened with settings of fit_engine_to_texts() and outlives this.
    Embedder(Engine& engine, EmbeddingPlan plan);

    // Gets the vectors in the order of the texts; its error ends the run.
    using Sink = std::function<Result<void>(size_t text, std::span<const float> vector)>;
    Result<void> run(std::span<const TextTokens> texts, const Sink& sink);

  private:
    struct Piece {
        size_t text;
        int32_t sequence;
        PooledRows rows;
    };
    Result<void> run_pass(std::span<const TextTokens> texts, std::vector<Piece>& pieces, int64_t first, int64_t count);
    Result<void> run_together(std::span<const TextTokens> texts, size_t first, size_t last, const Sink& sink);
    std::vector<float> finish(PooledRows& rows) const;

    Engine& engine_;
    EmbeddingPlan plan_;
    std::vector<DenseWeights> dense_;  // in the order of the steps
};

}  // namespace invar
