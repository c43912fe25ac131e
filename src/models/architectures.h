// Lists the supported architectures, one per line; each is defined in a file of its own.
#pragma once

#include "models/architecture.h"

// The order is that in which they are listed to users.
#define INVAR_ARCHITECTURES(EACH)    \
    EACH(kLlamaArchitecture)         \
    EACH(kQwen2Architecture)         \
    EACH(kQwen3Architecture)         \
    EACH(kQwen3MoeArchitecture)      \
    EACH(kQwen2MoeArchitecture)      \
    EACH(kQwen35Architecture)        \
    EACH(kQwen35MoeArchitecture)     \
    EACH(kQwen3NextArchitecture)     \
    EACH(kGemma2Architecture)        \
    EACH(kGemma3Architecture)        \
    EACH(kGemma4Architecture)        \
    EACH(kDeepseek2Architecture)     \
    EACH(kGlm4Architecture)          \
    EACH(kGlm4MoeArchitecture)       \
    EACH(kGptOssArchitecture)        \
    EACH(kMistral3Architecture)      \
    EACH(kPhi3Architecture)          \
    EACH(kGraniteArchitecture)       \
    EACH(kGraniteMoeArchitecture)    \
    EACH(kNemotronHArchitecture)     \
    EACH(kGraniteHybridArchitecture) \
    EACH(kSmolLm3Architecture)       \
    EACH(kSeedOssArchitecture)       \
    EACH(kOlmo2Architecture)         \
    EACH(kExaone4Architecture)       \
    EACH(kErnie45Architecture)       \
    EACH(kErnie45MoeArchitecture)    \
    EACH(kHunyuanDenseArchitecture)  \
    EACH(kHunyuanMoeArchitecture)    \
    EACH(kMiniMaxM2Architecture)     \
    EACH(kCohere2Architecture)       \
    EACH(kStarcoder2Architecture)    \
    EACH(kGpt2Architecture)          \
    EACH(kGptNeoxArchitecture)       \
    EACH(kFalconArchitecture)        \
    EACH(kLlama4Architecture)        \
    EACH(kLfm2Architecture)          \
    EACH(kLfm2MoeArchitecture)       \
    EACH(kBertArchitecture)          \
    EACH(kNomicBertArchitecture)     \
    EACH(kModernBertArchitecture)    \
    EACH(kGemmaEmbeddingArchitecture)

namespace invar {

#define INVAR_DECLARE(architecture) extern const Architecture architecture;
INVAR_ARCHITECTURES(INVAR_DECLARE)
#undef INVAR_DECLARE

}  // namespace invar
