#include "files/name_index.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace invar {
namespace {

TEST(NameIndex, FindsEveryOfManyNamesAndNoOther) {
    std::vector<std::string> names;
    for (int i = 0; i < 50'000; ++i) names.push_back("model.layers." + std::to_string(i) + ".weight");
    const auto name_at = [&](size_t i) -> std::string_view { return names[i]; };
    NameIndex grown, reserved;
    reserved.reserve(names.size());
    EXPECT_FALSE(grown.find(names[0], name_at)) << "it is empty";
    for (size_t i = 0; i < names.size(); ++i) {
        EXPECT_FALSE(grown.add(i, name_at));
        EXPECT_FALSE(reserved.add(i, name_at));
    }
    size_t found = 0;
    for (size_t i = 0; i < names.size(); ++i)
        found += grown.find(names[i], name_at) == i && reserved.find(names[i], name_at) == i;
    EXPECT_EQ(found, 50'000u);
    for (const char* other : {"", "model.layers.50000.weight", "model.layers.1.weigh"})
        EXPECT_FALSE(grown.find(other, name_at)) << other;
}

TEST(NameIndex, ReturnsThePlaceOfANameThatIsThereAndKeepsIt) {
    const std::vector<std::string> names = {"a", "b", "a"};
    const auto name_at = [&](size_t i) -> std::string_view { return names[i]; };
    NameIndex index;
    EXPECT_FALSE(index.add(0, name_at));
    EXPECT_FALSE(index.add(1, name_at));
    EXPECT_EQ(index.add(2, name_at), 0u);
    EXPECT_EQ(index.find("a", name_at), 0u);
}

}  // namespace
}  // namespace invar
