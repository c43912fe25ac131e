// The merge loop of both kinds of BPE. It merges neighbours until no pair is left: always the strongest pair, and among
// equals the leftmost. n symbols cost O(n log n), whatever the text. byte_pair.cpp and sentence_piece.cpp decide how
// strong a pair is.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

namespace invar {

inline constexpr uint32_t kNoMerge = UINT32_MAX;

// The token that a pair becomes, and the pair's rank: the lowest is the strongest.
struct Merge {
    uint32_t rank = kNoMerge;
    int32_t token = -1;
};

struct MergeSymbol {
    uint32_t begin;  // where its bytes begin in the text
    uint32_t size;
    int32_t token;     // -1: it is not known to be a token
    int32_t previous;  // -1: none
    int32_t next;      // -1: none
    Merge with_next = {};
};

struct MergeWork {
    std::vector<MergeSymbol> symbols;  // a linked list, from 0 on by `next`
    std::vector<uint64_t> heap;        // rank << 32 | index of the left symbol; outdated pairs stay in it

    // Appends a symbol behind the last.
    void append(uint32_t begin, uint32_t size, int32_t token) {
        const auto index = static_cast<int32_t>(symbols.size());
        if (index > 0) symbols.back().next = index;
        symbols.push_back({.begin = begin, .size = size, .token = token, .previous = index - 1, .next = -1});
    }
};

// `merge_of(left, right)` gives the Merge of two neighbouring MergeSymbols.
template <class MergeOf>
void merge_neighbours(MergeWork& work, MergeOf&& merge_of) {
    auto& symbols = work.symbols;
    auto& heap = work.heap;
    const auto look = [&](int32_t left) {
        MergeSymbol& symbol = symbols[left];
        symbol.with_next = symbol.next < 0 ? Merge{} : merge_of(symbol, symbols[symbol.next]);
        if (symbol.with_next.rank == kNoMerge) return false;
        heap.push_back(uint64_t{symbol.with_next.rank} << 32 | static_cast<uint32_t>(left));
        return true;
    };
    heap.clear();
    for (size_t i = 0; i < symbols.size(); ++i) look(static_cast<int32_t>(i));
    std::make_heap(heap.begin(), heap.end(), std::greater<>());
    while (!heap.empty()) {
        std::pop_heap(heap.begin(), heap.end(), std::greater<>());
        const uint64_t best = heap.back();
        heap.pop_back();
        const auto index = static_cast<int32_t>(best & UINT32_MAX);
        MergeSymbol& left = symbols[index];
        // The pair is outdated if either side was merged since. Each merge computes the ranks of the pairs it touches
        // anew, and a symbol that was merged away has none.
        if (left.with_next.rank != best >> 32) continue;
        MergeSymbol& right = symbols[left.next];
        left.token = left.with_next.token;
        left.size += right.size;
        left.next = right.next;
        right.with_next.rank = kNoMerge;
        if (left.next >= 0) symbols[left.next].previous = index;
        if (look(index)) std::push_heap(heap.begin(), heap.end(), std::greater<>());
        if (left.previous >= 0 && look(left.previous)) std::push_heap(heap.begin(), heap.end(), std::greater<>());
    }
}

}  // namespace invar
