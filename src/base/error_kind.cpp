#include "base/error_kind.h"

#include <array>

namespace invar {
namespace {

struct Row {
    ErrorKind kind;
    ErrorKindFacts facts;
};

constexpr std::array kRows = {
    Row{ErrorKind::bad_input, {"bad_input", 2}},
    Row{ErrorKind::not_found, {"not_found", 2}},
    Row{ErrorKind::unsupported, {"unsupported", 2}},
    Row{ErrorKind::io, {"io", 2}},
    Row{ErrorKind::out_of_memory, {"out_of_memory", 3}},
    Row{ErrorKind::busy, {"busy", 3}},
    Row{ErrorKind::numeric, {"numeric", 4}},
    Row{ErrorKind::device_lost, {"device_lost", 5}},
    Row{ErrorKind::internal, {"internal", 70}},
};

constexpr bool rows_are_in_order() {
    for (size_t i = 0; i < kRows.size(); ++i)
        if (kRows[i].kind != static_cast<ErrorKind>(i)) return false;
    return kRows.size() == static_cast<size_t>(ErrorKind::internal) + 1;
}
static_assert(rows_are_in_order(), "every kind has its row");

}  // namespace

const ErrorKindFacts& facts_of(ErrorKind kind) { return kRows[static_cast<size_t>(kind)].facts; }

}  // namespace invar
