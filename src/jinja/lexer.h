// Cuts a template into tokens: text, the borders of {{ }} and {% %}, and the tokens between them. It resolves white
// space control (-, +, trim_blocks, lstrip_blocks), comments and raw blocks. The grammar is in parser.h.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace invar::jinja {

enum class TokenKind : uint8_t {
    kText,
    kPrintBegin,
    kPrintEnd,
    kBlockBegin,
    kBlockEnd,
    kName,
    kString,
    kInteger,
    kFloat,
    kOperator,  // text is the operator
    kEnd,
};

struct Token {
    TokenKind kind;
    int line;
    std::string text;  // of a string: with its escapes resolved
};

// Errors name the line: "line 3: ...".
Result<std::vector<Token>> tokenize(std::string_view source);

// How an error message calls a token.
std::string describe(const Token& token);

}  // namespace invar::jinja
