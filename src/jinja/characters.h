// Unicode as Python's str sees it: UTF-8 decoding, character classes and case mapping. The one file that includes
// utf8proc is characters.cpp; methods of strings are in string_methods.cpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace invar::jinja {

bool is_valid_utf8(std::string_view text);
// All below take valid UTF-8.
char32_t decode(std::string_view text, size_t& position);  // moves past the character
size_t previous(std::string_view text, size_t position);   // where the character before `position` begins
void append_utf8(std::string& text, char32_t character);
int64_t count_characters(std::string_view text);
// The byte where character `index` begins; text.size() if there are fewer.
size_t offset_of(std::string_view text, int64_t index);

// Substring search in time linear in the sizes; npos when absent.
size_t find_bytes(std::string_view text, std::string_view wanted, size_t from = 0);
size_t rfind_bytes(std::string_view text, std::string_view wanted);

bool is_space(char32_t c);  // str.isspace, and \s of Python's regular expressions
bool is_alpha(char32_t c);
bool is_decimal(char32_t c);
bool is_digit(char32_t c);
bool is_numeric(char32_t c);
bool is_lower(char32_t c);
bool is_upper(char32_t c);
bool is_title(char32_t c);
bool is_cased(char32_t c);
bool is_printable(char32_t c);
bool is_identifier_start(char32_t c);
bool is_identifier_part(char32_t c);

std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalize(std::string_view text);
std::string title(std::string_view text);
std::string swap_case(std::string_view text);

// Removes white space, as str.strip() does.
std::string_view strip_left(std::string_view text);
std::string_view strip_right(std::string_view text);

}  // namespace invar::jinja
