// Decodes Base64 (RFC 4648, the standard alphabet, with padding), in which tokenizer files store bytes.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace invar {

// Errors: a character outside the alphabet, or a length that is not possible.
Result<std::string> decode_base64(std::string_view text);

}  // namespace invar
