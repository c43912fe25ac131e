// Nodes by key in a hash map; a node without holders, units and children is removed: see prefix_tree.h.
#include "state/prefix_tree.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace invar {
namespace {

// A field and its length, so that no two lists of fields are the same bytes.
void add_field(std::vector<std::byte>& bytes, std::span<const std::byte> field) {
    const auto length = static_cast<uint64_t>(field.size());
    const auto* start = reinterpret_cast<const std::byte*>(&length);
    bytes.insert(bytes.end(), start, start + sizeof(length));
    bytes.insert(bytes.end(), field.begin(), field.end());
}

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

PrefixTree::PrefixTree(int groups, std::string digest, KeyOf key_of)
    : groups_(groups), digest_(std::move(digest)), key_of_(std::move(key_of)) {}

std::string PrefixTree::key_of_root(std::string_view salt) const {
    std::vector<std::byte> bytes;
    add_field(bytes, bytes_of(digest_));
    add_field(bytes, bytes_of(salt));
    return key_of_(bytes);
}

std::string PrefixTree::key_of_child(int32_t parent, std::span<const int32_t> tokens) const {
    std::vector<std::byte> bytes;
    add_field(bytes, bytes_of(nodes_[static_cast<size_t>(parent)].key));
    add_field(bytes, std::as_bytes(tokens));
    return key_of_(bytes);
}

int32_t PrefixTree::find_root(std::string_view salt) const {
    const auto [first, last] = by_key_.equal_range(key_of_root(salt));
    for (auto it = first; it != last; ++it) {
        const Node& node = nodes_[static_cast<size_t>(it->second)];
        if (node.parent == kNoUnit && node.salt == salt) return it->second;
    }
    return kNoUnit;
}

int32_t PrefixTree::find_child(int32_t parent, std::span<const int32_t> tokens) const {
    const auto [first, last] = by_key_.equal_range(key_of_child(parent, tokens));
    for (auto it = first; it != last; ++it) {
        const Node& node = nodes_[static_cast<size_t>(it->second)];
        if (node.parent == parent && std::ranges::equal(node.tokens, tokens)) return it->second;
    }
    return kNoUnit;
}

int32_t PrefixTree::make(Node node) {
    node.units.assign(static_cast<size_t>(groups_), kNoUnit);
    int32_t number = static_cast<int32_t>(nodes_.size());
    if (unused_.empty()) {
        nodes_.emplace_back();
    } else {
        number = unused_.back();
        unused_.pop_back();
    }
    by_key_.emplace(node.key, number);
    nodes_[static_cast<size_t>(number)] = std::move(node);
    ++size_;
    return number;
}

int32_t PrefixTree::hold_root(std::string_view salt) {
    int32_t root = find_root(salt);
    if (root == kNoUnit) root = make({.key = key_of_root(salt), .tokens = {}, .salt = std::string(salt), .units = {}});
    hold(root);
    return root;
}

int32_t PrefixTree::hold_child(int32_t parent, std::span<const int32_t> tokens) {
    int32_t child = find_child(parent, tokens);
    if (child == kNoUnit) {
        child = make({.parent = parent,
                      .key = key_of_child(parent, tokens),
                      .tokens = {tokens.begin(), tokens.end()},
                      .salt = {},
                      .units = {}});
        ++nodes_[static_cast<size_t>(parent)].children;
    }
    hold(child);
    return child;
}

void PrefixTree::hold(int32_t node) { ++nodes_[static_cast<size_t>(node)].holders; }

void PrefixTree::drop(int32_t node) {
    CHECK(nodes_[static_cast<size_t>(node)].holders > 0, "only a node that is held is dropped");
    --nodes_[static_cast<size_t>(node)].holders;
    prune(node);
}

void PrefixTree::set_unit(int32_t node, int group, int32_t unit) {
    nodes_[static_cast<size_t>(node)].units[static_cast<size_t>(group)] = unit;
    if (unit == kNoUnit) prune(node);
}

// Removes the node if nothing needs it, and then its ancestors that only it needed.
void PrefixTree::prune(int32_t node) {
    while (node != kNoUnit) {
        Node& gone = nodes_[static_cast<size_t>(node)];
        const bool empty = std::ranges::all_of(gone.units, [](int32_t unit) { return unit == kNoUnit; });
        if (gone.children > 0 || gone.holders > 0 || !empty) return;
        const auto [first, last] = by_key_.equal_range(gone.key);
        by_key_.erase(std::find_if(first, last, [&](const auto& entry) { return entry.second == node; }));
        const int32_t parent = gone.parent;
        gone = Node();
        unused_.push_back(node);
        --size_;
        if (parent != kNoUnit) --nodes_[static_cast<size_t>(parent)].children;
        node = parent;
    }
}

}  // namespace invar
