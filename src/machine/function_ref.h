// A reference to a callable: two pointers, without allocation or ownership. The callable must outlive the call that it
// is passed to. The bodies of parallel loops (thread_pool.h) use it, because std::function would allocate on every
// verb.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace invar {

template <class Signature>
class FunctionRef;

template <class Return, class... Args>
class FunctionRef<Return(Args...)> {
  public:
    template <class Callable>
    requires(!std::is_same_v<std::remove_cvref_t<Callable>, FunctionRef> &&
             std::is_invocable_r_v<Return, Callable&, Args...>)
        FunctionRef(Callable&& callable)  // NOLINT: a lambda is passed where a FunctionRef is expected
        : object_(const_cast<void*>(static_cast<const void*>(std::addressof(callable)))),
          call_([](void* object, Args... args) -> Return {
              return (*static_cast<std::remove_reference_t<Callable>*>(object))(std::forward<Args>(args)...);
          }) {}

    Return operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

  private:
    void* object_;
    Return (*call_)(void*, Args...);
};

}  // namespace invar
