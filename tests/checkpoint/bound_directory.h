// A tiny directory with its weights bound, or the sentence with which it is refused.
#pragma once

#include <gtest/gtest.h>

#include "checkpoint/binding.h"
#include "checkpoint/tiny_directory.h"

namespace invar::test {

struct Bound {
    ModelConfig config;
    std::vector<WantedWeight> wanted;
    Binding binding;

    const StoredWeight& of(std::string_view role) const {
        for (size_t i = 0; i < wanted.size(); ++i) {
            if (wanted[i].id.role == role) return binding.weights[i];
        }
        ADD_FAILURE() << "no weight " << role;
        return binding.weights.front();
    }
};

inline Result<Bound> bind(const Checkpoint& checkpoint) {
    TRY_ASSIGN(const Architecture* architecture, find_architecture(checkpoint));
    Bound bound;
    TRY_ASSIGN(bound.config, architecture->read_config(checkpoint));
    bound.wanted = architecture->declare(bound.config, checkpoint);
    TRY_ASSIGN(bound.binding, bind_weights(bound.config, bound.wanted, checkpoint));
    return bound;
}

inline std::string refusal(TinyDirectory tiny) {
    const auto checkpoint = tiny.open();
    if (!checkpoint) return checkpoint.error().message;
    const auto bound = bind(*checkpoint);
    return bound ? "bound" : bound.error().message;
}

inline void expect_refused(TinyDirectory tiny, std::initializer_list<std::string_view> words) {
    const std::string sentence = refusal(std::move(tiny));
    EXPECT_TRUE(sentence.starts_with("tiny")) << sentence;
    for (const std::string_view word : words) EXPECT_NE(sentence.find(word), std::string::npos) << sentence;
}

}  // namespace invar::test
