// Reads the config of one module of sentence-transformers, key by key. A key that is not known is refused unless its
// value says nothing (null, false, an empty list or object), because it may change the result. Defaults are those of
// the classes that write these files.
#pragma once

#include "base/result.h"
#include "embed/embedding_config.h"
#include "files/model_directory.h"
#include "files/sentence_modules.h"

namespace invar {

// Fills the modes of pooling and whether prompts are pooled. `width`: the elements of a row.
Result<void> read_pooling_module(const SentenceModule& module, int64_t width, EmbeddingConfig& config);
// Checks the config against the tensors.
Result<DenseActivation> read_dense_module(const SentenceModule& module, const DenseTensors& tensors);
Result<void> read_normalize_module(const SentenceModule& module);
// sentence_bert_config.json: how many tokens a text may have.
Result<void> read_transformer_settings(const ModelDirectory& directory, EmbeddingConfig& config);
// config_sentence_transformers.json: the prompts.
Result<void> read_prompts(const ModelDirectory& directory, EmbeddingConfig& config);

}  // namespace invar
