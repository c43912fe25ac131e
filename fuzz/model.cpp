// Fuzzes everything that `invar plan`, `inspect` and the start of `run` do with an untrusted file before computing:
// header, architecture, hyper-parameters, binding, plan, tokenizer and chat template. Each step ends in a value or a
// sentence.
#include <cstdint>
#include <span>

#include "base/json.h"
#include "checkpoint/weight_plan.h"
#include "files/inspect.h"
#include "text/chat/chat_format.h"
#include "text/tokenizer/from_checkpoint.h"

namespace invar {
namespace {

Result<void> read_model(const Checkpoint& file) {
    TRY_ASSIGN(const Architecture* architecture, find_architecture(file));
    TRY_ASSIGN(const ModelConfig config, architecture->read_config(file));
    const PlanRequest request{.memory_bytes = int64_t{1} << 30, .memory_source = "the budget"};
    TRY_ASSIGN(WeightPlan plan, make_weight_plan(config, architecture->declare(config, file), file, request));
    TRY(finish_plan(plan, request, {.host = 1 << 20}));
    plan_as_table(plan, true);
    return {};
}

Result<void> read_text(const Checkpoint& file) {
    TRY_ASSIGN(const Tokenizer tokenizer, read_tokenizer(file));
    TRY_ASSIGN(const ChatFormat format, ChatFormat::create(file, tokenizer, ""));
    TRY(format.prompt(Json::array({{{"role", "user"}, {"content", "hello"}}}), ChatOptions{}));
    return {};
}

}  // namespace
}  // namespace invar

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const auto bytes = std::as_bytes(std::span(data, size));
    const auto file = invar::Checkpoint::from_bytes(bytes, "fuzz.gguf");
    if (!file) return 0;
    invar::inspect(*file);
    (void)invar::read_model(*file);
    (void)invar::read_text(*file);
    return 0;
}
