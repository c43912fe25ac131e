// The version of the definition in docs/arithmetic.md. Reports and cache keys carry it; a change of one bit in any
// function of src/arithmetic is a new version.
#pragma once

namespace invar {

inline constexpr int kArithmeticVersion = 2;

}  // namespace invar
