// Translates the regular expressions of tokenizer.json, which are Oniguruma's (Ruby's syntax), into those of PCRE2.
// Differences are written out: `\s`, `\w`, `\h`, `\b`, `^`, `$`, `(?m)`, `{n,m}+`, `\uHHHH`, names of properties, and
// classes that contain classes or intersections (`&&`). What has no equivalent is refused. pattern.h runs the result.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace invar {

// `expression` is untrusted. The error names the construct and its place. Other syntax errors are found by PCRE2.
Result<std::string> pcre2_from_oniguruma(std::string_view expression);

}  // namespace invar
