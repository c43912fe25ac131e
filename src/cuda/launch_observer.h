// Told of every kernel that is launched on a stream. Timing uses it (device.h).
#pragma once

namespace invar {

class LaunchObserver {
  public:
    virtual ~LaunchObserver() = default;
    virtual void before(const char* kernel) = 0;  // the launch's name, static text
    virtual void after() = 0;
};

}  // namespace invar
