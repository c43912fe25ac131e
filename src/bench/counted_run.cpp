#include "bench/counted_run.h"

namespace invar {

[[gnu::noinline]] Result<void> counted_work(const Work& work, Subject& subject) {
    Result<void> ran = subject.run(work);
    __asm__ volatile("" ::: "memory");  // prevents a tail call, which would leave this function before the run
    return ran;
}

Result<void> counted_run(const Work& work, Subject& subject) {
    TRY(subject.prepare(work));
    TRY(subject.run(work));
    TRY(subject.prepare(work));
    TRY(counted_work(work, subject));
    return {};
}

}  // namespace invar
