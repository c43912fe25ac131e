// Oniguruma's regular expressions (Ruby's syntax), which tokenizer.json is written in, said in PCRE2's words. What
// differs is written out: `\s`, `\w`, `\h`, `\b`, `^`, `$`, `(?m)`, `{n,m}+`, `\uHHHH`, names of properties, and
// classes with classes or intersections (`&&`) in them. What has no equal is refused. Who runs the result: pattern.h.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace invar {

// `expression` is untrusted. Errors name the construct and its place; whether the rest is an expression at all, PCRE2
// decides.
Result<std::string> pcre2_from_oniguruma(std::string_view expression);

}  // namespace invar
