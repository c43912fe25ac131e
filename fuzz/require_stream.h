// Requires that tokens decoded one at a time give the text of all of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "require.h"
#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/utf8.h"

inline void require_stream(const invar::Tokenizer& tokenizer, const std::vector<int32_t>& tokens,
                           const std::string& decoded) {
    invar::TokenStream stream(tokenizer, true);
    std::string streamed;
    for (const int32_t token : tokens) streamed += stream.feed(token);
    streamed += stream.finish();
    invar::Utf8Stream whole;
    std::string expected = whole.feed(decoded);
    expected += whole.finish();
    require(streamed == expected);
}
