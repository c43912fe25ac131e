// A chat template is the Jinja program of a model that turns a conversation into its prompt. It is compiled once and
// can be rendered any number of times, from any number of threads. It computes what Python's jinja2 computes in the
// sandbox that Hugging Face transformers sets up, within limits of time and memory; docs/chat_templates.md says what is
// refused. A template can reach nothing but its context: no file, no clock, no attribute of the program.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "base/result.h"
#include "jinja/limits.h"

namespace invar {

namespace jinja {
struct Program;
}

class ChatTemplate {
  public:
    // `name` is what errors call the template, e.g. "tokenizer.chat_template of model.gguf". A syntax error names its
    // line.
    static Result<ChatTemplate> compile(std::string source, std::string name);

    // `context`: an object with the template's variables (messages, tools, add_generation_prompt, bos_token, ...).
    // `now_seconds`: the time that strftime_now formats, in seconds since 1970-01-01 00:00 of the zone to be shown.
    Result<std::string> render(const Json& context, const TemplateLimits& limits, int64_t now_seconds) const;

    const std::string& source() const { return source_; }
    const std::string& name() const { return name_; }

    // The variables that the template may read from the context, sorted. A caller may pass these.
    std::vector<std::string> free_variables() const;

  private:
    ChatTemplate(std::string source, std::string name, std::shared_ptr<const jinja::Program> program);

    std::string source_;
    std::string name_;
    std::shared_ptr<const jinja::Program> program_;
};

}  // namespace invar
