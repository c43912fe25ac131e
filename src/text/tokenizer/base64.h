// Base64 (RFC 4648, the standard alphabet, with padding), as tokenizer files hold bytes in it.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace invar {

// Errors: a character outside the alphabet, or a length that no bytes have.
Result<std::string> decode_base64(std::string_view text);

}  // namespace invar
