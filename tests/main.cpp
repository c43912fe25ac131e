// main() of every test program. A program in which no test ran to its end has compared nothing, and fails: a filter that fits nothing, or
// data that is missing everywhere, must not look like success. Names the tests that take long, for who decides what is slow.
#include <gtest/gtest.h>

#include <cstdio>
#include <ctime>

namespace {

constexpr double kLongSeconds = 5;

class LongTests final : public testing::EmptyTestEventListener {
  public:
    void OnTestStart(const testing::TestInfo&) override { start_ = std::clock(); }
    void OnTestEnd(const testing::TestInfo& test) override {
        const double seconds = static_cast<double>(std::clock() - start_) / CLOCKS_PER_SEC;
        if (seconds < kLongSeconds) return;
        std::printf("[   LONG   ] %s.%s took %.1f s of processor time\n", test.test_suite_name(), test.name(), seconds);
    }

  private:
    std::clock_t start_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    const bool lists = testing::GTEST_FLAG(list_tests);
    testing::UnitTest& tests = *testing::UnitTest::GetInstance();
    tests.listeners().Append(new LongTests);  // owned by the listeners
    const int failed = RUN_ALL_TESTS();
    if (lists || failed != 0) return failed;
    if (tests.successful_test_count() > 0) return 0;
    std::printf("%d of %d tests were skipped and none ran: nothing was compared\n", tests.skipped_test_count(),
                tests.total_test_count());
    return 1;
}
