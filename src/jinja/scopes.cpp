// Makes two passes over each frame, as jinja2's compiler does. The first (analyse...) gives every name that the frame
// itself reads or sets a slot, and decides how it is filled on entry. The second (resolve...) gives expressions their
// slots and opens inner frames. The order of reads and writes in the text counts, not the order in which they run;
// templates rely on it.
#include "jinja/scopes.h"

#include <algorithm>
#include <optional>

#include "jinja/builtins.h"
#include "jinja/name_finder.h"

namespace invar::jinja {
namespace {

// A unit with its own Activation: the template, a macro, a call block, a recursive loop, the filter of a loop.
struct FunctionScope {
    int depth = 0;
    int slots = 0;
};

struct Place {
    const FunctionScope* function;
    int slot;
};

struct Symbols {
    const Symbols* parent = nullptr;
    FunctionScope* function = nullptr;
    std::map<std::string, int>* slots = nullptr;  // of this frame; shared by the copies made for branches
    std::map<std::string, int> bound;             // names that have a slot in this frame
    std::map<int, Load> loads;
    Names stored;       // set on some path
    Names always_set;   // set on every path so far
    Names maybe_unset;  // set on some paths only, so that a later read may fall through to the context
};

class Resolver {
  public:
    explicit Resolver(Program& program) : program_(program) {}

    Result<void> run() {
        FunctionScope function;
        std::map<std::string, int> slots;
        Symbols root;
        root.function = &function;
        root.slots = &slots;
        analyse(root, program_.body);
        TRY(resolve(root, program_.body, false));
        if (copied_names_ > kMostCopiedNames) return fail_too_many();
        program_.frame = frame_of(root);
        program_.slots = function.slots;
        program_.free_variables.assign(free_.begin(), free_.end());
        return {};
    }

  private:
    // Every branch of a condition copies the names of its frame. A hostile template can make that quadratic.
    static constexpr size_t kMostCopiedNames = 20'000'000;
    static tl::unexpected<Error> fail_too_many() {
        return fail("the template has too many variables in too many conditions");
    }

    // Binding of names.
    static std::optional<Place> find(const Symbols* symbols, const std::string& name) {
        for (; symbols != nullptr; symbols = symbols->parent) {
            const auto found = symbols->bound.find(name);
            if (found != symbols->bound.end()) return Place{symbols->function, found->second};
        }
        return std::nullopt;
    }

    static int bind(Symbols& symbols, const std::string& name, Load::From from, Slot outer = {}) {
        const auto [place, is_new] = symbols.slots->try_emplace(name, symbols.function->slots);
        if (is_new) ++symbols.function->slots;
        symbols.bound[name] = place->second;
        symbols.loads[place->second] = {from, place->second, outer, name};
        return place->second;
    }

    static Slot seen_from(const Symbols& symbols, const Place& place) {
        return {symbols.function->depth - place.function->depth, place.slot};
    }

    // The first pass gave every name a place, unless it stopped early.
    static Result<Slot> slot_of(const Symbols& symbols, const std::string& name) {
        const auto place = find(&symbols, name);
        return place ? Result<Slot>(seen_from(symbols, *place)) : fail_too_many();
    }

    void read(Symbols& symbols, const std::string& name) {
        const Symbols* owner = &symbols;
        while (owner != nullptr && owner->bound.count(name) == 0) owner = owner->parent;
        if (owner == nullptr) {
            bind(symbols, name, Load::From::kContext);
            note_free(name);
        } else if (owner->maybe_unset.count(name) != 0 &&
                   owner->loads.at(owner->bound.at(name)).from == Load::From::kContext) {
            note_free(name);
        }
    }

    void note_free(const std::string& name) {
        if (find_function(name) == nullptr) free_.insert(name);
    }

    static void store(Symbols& symbols, const std::string& name) {
        symbols.stored.insert(name);
        symbols.always_set.insert(name);
        symbols.maybe_unset.erase(name);
        if (symbols.bound.count(name) != 0) return;
        if (const auto outer = find(symbols.parent, name)) {
            bind(symbols, name, Load::From::kOuter, seen_from(symbols, *outer));
        } else {
            bind(symbols, name, Load::From::kNothing);
        }
    }

    static int parameter(Symbols& symbols, const std::string& name) {
        symbols.stored.insert(name);
        symbols.always_set.insert(name);
        return bind(symbols, name, Load::From::kParameter);
    }

    static Frame frame_of(const Symbols& symbols) {
        Frame frame;
        for (const auto& [slot, load] : symbols.loads) frame.loads.push_back(load);
        return frame;
    }

    // First pass: finds what the frame's own text reads and sets, in order, without the bodies of inner frames.
    void analyse(Symbols& symbols, const Expression* e) {
        if (e == nullptr) return;
        if (e->kind == ExpressionKind::kName) read(symbols, e->text);
        for (const Expression* operand : e->operands) analyse(symbols, operand);
        for (const Expression* argument : e->positional) analyse(symbols, argument);
        for (const auto& [name, argument] : e->keywords) analyse(symbols, argument);
        analyse(symbols, e->spread_positional);
        analyse(symbols, e->spread_keywords);
    }

    void analyse_target(Symbols& symbols, const Expression& target, bool as_parameter) {
        if (target.kind == ExpressionKind::kNamespace) {
            read(symbols, target.text);
        } else if (target.kind == ExpressionKind::kName) {
            as_parameter ? (void)parameter(symbols, target.text) : store(symbols, target.text);
        } else {
            for (const Expression* item : target.operands) analyse_target(symbols, *item, as_parameter);
        }
    }

    void analyse(Symbols& symbols, const Body& body) {
        for (const Statement* statement : body) analyse(symbols, *statement);
    }

    void analyse(Symbols& symbols, const Statement& s) {
        switch (s.kind) {
            case StatementKind::kPrint:
            case StatementKind::kFor:
            case StatementKind::kCallBlock:
            case StatementKind::kFilterBlock:
                analyse(symbols, s.expression);
                break;
            case StatementKind::kSet:
                analyse(symbols, s.expression);
                [[fallthrough]];
            case StatementKind::kSetBlock:
                analyse_target(symbols, *s.target, false);
                break;
            case StatementKind::kMacro:
                store(symbols, s.text);
                break;
            case StatementKind::kWith:
                for (const Expression* value : s.values) analyse(symbols, value);
                break;
            case StatementKind::kIf:
                analyse_branches(symbols, s);
                break;
            default:
                break;
        }
    }

    void analyse_branches(Symbols& symbols, const Statement& s) {
        copied_names_ += (s.branches.size() + 1) * symbols.bound.size();
        if (copied_names_ > kMostCopiedNames) return;
        std::vector<Symbols> ends;
        for (size_t i = 0; i < s.branches.size(); ++i) {
            if (i == 0) analyse(symbols, s.branches[0].test);
            Symbols& branch = ends.emplace_back(symbols);
            if (i != 0) analyse(branch, s.branches[i].test);
            analyse(branch, s.branches[i].body);
        }
        Symbols& otherwise = ends.emplace_back(symbols);
        analyse(otherwise, s.else_body);

        Names newly_stored;
        for (const Symbols& branch : ends) newly_stored.insert(branch.stored.begin(), branch.stored.end());
        for (const std::string& name : symbols.stored) newly_stored.erase(name);
        for (Symbols& branch : ends) {
            symbols.bound.insert(branch.bound.begin(), branch.bound.end());
            for (const auto& [slot, load] : branch.loads) symbols.loads.insert_or_assign(slot, load);
            symbols.stored.insert(branch.stored.begin(), branch.stored.end());
        }
        for (const std::string& name : newly_stored) {
            const bool set_everywhere = std::all_of(
                ends.begin(), ends.end(), [&](const Symbols& end) { return end.always_set.count(name) != 0; });
            (set_everywhere ? symbols.always_set : symbols.maybe_unset).insert(name);
            const int slot = symbols.bound.at(name);
            const auto outer = find(symbols.parent, name);
            const auto from = outer ? Load::From::kOuter : Load::From::kContext;
            symbols.loads[slot] = {from, slot, outer ? seen_from(symbols, *outer) : Slot(), name};
        }
    }

    // Second pass. `is_soft`: directly within a condition, where an unknown filter or test fails only when reached.
    Result<void> resolve(const Symbols& symbols, Expression* e, bool is_soft) {
        if (e == nullptr) return {};
        if (e->kind == ExpressionKind::kName || e->kind == ExpressionKind::kNamespace) {
            TRY_ASSIGN(e->slot, slot_of(symbols, e->text));
        }
        const bool is_filter = e->kind == ExpressionKind::kFilter;
        if ((is_filter || e->kind == ExpressionKind::kTest) && e->builtin == nullptr && !is_soft)
            return fail("line {}: there is no {} '{}'", e->line, is_filter ? "filter" : "test", e->text);
        const bool soft_below = is_soft || e->kind == ExpressionKind::kCondition;
        for (Expression* operand : e->operands) TRY(resolve(symbols, operand, soft_below));
        for (Expression* argument : e->positional) TRY(resolve(symbols, argument, is_soft));
        for (const auto& [name, argument] : e->keywords) TRY(resolve(symbols, argument, is_soft));
        TRY(resolve(symbols, e->spread_positional, is_soft));
        return resolve(symbols, e->spread_keywords, is_soft);
    }

    Result<void> resolve(const Symbols& symbols, const Body& body, bool is_soft) {
        for (Statement* statement : body) TRY(resolve(symbols, *statement, is_soft));
        return {};
    }

    Result<void> resolve(const Symbols& symbols, Statement& s, bool is_soft) {
        switch (s.kind) {
            case StatementKind::kPrint:
                return resolve(symbols, s.expression, is_soft);
            case StatementKind::kSet:
                TRY(resolve(symbols, s.expression, is_soft));
                return resolve(symbols, s.target, is_soft);
            case StatementKind::kIf:
                copied_names_ += (s.branches.size() + 1) * symbols.bound.size();
                if (copied_names_ > kMostCopiedNames) return fail_too_many();
                for (Branch& branch : s.branches) {
                    TRY(resolve(symbols, branch.test, true));
                    TRY(resolve(within_branch(symbols, branch.body), branch.body, true));
                }
                return resolve(within_branch(symbols, s.else_body), s.else_body, true);
            case StatementKind::kFor:
                return resolve_for(symbols, s);
            case StatementKind::kWith:
                return resolve_with(symbols, s);
            case StatementKind::kSetBlock:
            case StatementKind::kFilterBlock:
                return resolve_capture(symbols, s);
            case StatementKind::kMacro:
            case StatementKind::kCallBlock:
            case StatementKind::kGeneration:
                return resolve_function(symbols, s);
            default:
                return {};
        }
    }

    // A variable that a branch sets is always set within that branch, although it may be missing after it.
    static Symbols within_branch(const Symbols& symbols, const Body& body) {
        Symbols inner = symbols;
        for (const Statement* statement : body) {
            if (statement->target != nullptr && statement->kind != StatementKind::kFor)
                forget(inner, *statement->target);
        }
        return inner;
    }
    static void forget(Symbols& symbols, const Expression& target) {
        if (target.kind == ExpressionKind::kName) symbols.maybe_unset.erase(target.text);
        for (const Expression* item : target.operands) forget(symbols, *item);
    }

    struct Opened {
        std::map<std::string, int> slots;
        Symbols symbols;
    };
    static void open(Opened& opened, const Symbols& parent, FunctionScope& function) {
        opened.symbols.parent = &parent;
        opened.symbols.function = &function;
        opened.symbols.slots = &opened.slots;
    }

    Result<void> resolve_for(const Symbols& symbols, Statement& s) {
        if (sets_loop_variable(s)) return fail("line {}: 'loop' cannot be assigned to inside of a loop", s.line);
        FunctionScope own{symbols.function->depth + 1, 0};
        FunctionScope& function = s.is_recursive ? own : *symbols.function;
        Opened body, otherwise;
        open(body, symbols, function);
        if (s.is_recursive || !names_read(s.body, {"loop"}).empty()) s.loop_slot = parameter(body.symbols, "loop");
        analyse_target(body.symbols, *s.target, true);
        analyse(body.symbols, s.body);
        open(otherwise, symbols, function);
        analyse(otherwise.symbols, s.else_body);
        if (s.test != nullptr) TRY(resolve_loop_filter(symbols, s));
        TRY(resolve(symbols, s.expression, false));
        TRY(resolve(body.symbols, s.target, false));
        TRY(resolve(body.symbols, s.body, false));
        TRY(resolve(otherwise.symbols, s.else_body, false));
        s.frame = frame_of(body.symbols);
        s.else_frame = frame_of(otherwise.symbols);
        s.slots = own.slots;
        return {};
    }

    Result<void> resolve_loop_filter(const Symbols& symbols, Statement& s) {
        FunctionScope function{symbols.function->depth + 1, 0};
        Opened filter;
        open(filter, symbols, function);
        s.test_target = copy_target(*s.target);
        analyse_target(filter.symbols, *s.test_target, true);
        analyse(filter.symbols, s.test);
        TRY(resolve(filter.symbols, s.test_target, false));
        TRY(resolve(filter.symbols, s.test, false));
        s.test_frame = frame_of(filter.symbols);
        s.test_slots = function.slots;
        return {};
    }

    Expression* copy_target(const Expression& target) {
        Expression* copy = &program_.expressions.emplace_back(target);
        for (Expression*& item : copy->operands) item = copy_target(*item);
        return copy;
    }

    Result<void> resolve_with(const Symbols& symbols, Statement& s) {
        Opened inner;
        open(inner, symbols, *symbols.function);
        for (const Expression* target : s.targets) analyse_target(inner.symbols, *target, true);
        analyse(inner.symbols, s.body);
        for (Expression* value : s.values) TRY(resolve(symbols, value, false));
        for (Expression* target : s.targets) TRY(resolve(inner.symbols, target, false));
        TRY(resolve(inner.symbols, s.body, false));
        s.frame = frame_of(inner.symbols);
        return {};
    }

    // In a set or filter block, the body is a frame of its own, in which the filter's arguments are evaluated too.
    Result<void> resolve_capture(const Symbols& symbols, Statement& s) {
        Opened inner;
        open(inner, symbols, *symbols.function);
        analyse(inner.symbols, s.body);
        analyse(inner.symbols, s.expression);
        TRY(resolve(inner.symbols, s.body, false));
        TRY(resolve(inner.symbols, s.expression, false));
        if (s.target != nullptr) TRY(resolve(symbols, s.target, false));
        s.frame = frame_of(inner.symbols);
        return {};
    }

    Result<void> resolve_function(const Symbols& symbols, Statement& s) {
        FunctionScope function{symbols.function->depth + 1, 0};
        Opened inner;
        open(inner, symbols, function);
        Names special =
            s.kind == StatementKind::kGeneration ? Names() : names_read(s.body, {"caller", "kwargs", "varargs"});
        for (size_t i = 0; i < s.parameters.size(); ++i) {
            const std::string& name = s.parameters[i]->text;
            parameter(inner.symbols, name);
            const bool has_default = i + s.defaults.size() >= s.parameters.size();
            if (name == "caller" && special.count("caller") != 0 && !has_default)
                return fail("line {}: the parameter 'caller' needs a default or must be omitted", s.line);
            special.erase(name);
        }
        if (special.count("caller") != 0) s.caller_slot = parameter(inner.symbols, "caller");
        if (special.count("kwargs") != 0) s.keywords_slot = parameter(inner.symbols, "kwargs");
        if (special.count("varargs") != 0) s.positional_slot = parameter(inner.symbols, "varargs");
        for (const Expression* value : s.defaults) analyse(inner.symbols, value);
        analyse(inner.symbols, s.body);
        for (Expression* name : s.parameters) TRY(resolve(inner.symbols, name, false));
        for (Expression* value : s.defaults) TRY(resolve(inner.symbols, value, false));
        TRY(resolve(inner.symbols, s.body, false));
        if (s.kind == StatementKind::kCallBlock) TRY(resolve(symbols, s.expression, false));
        if (s.kind == StatementKind::kMacro) {
            TRY_ASSIGN(s.variable, slot_of(symbols, s.text));
        }
        s.frame = frame_of(inner.symbols);
        s.slots = function.slots;
        return {};
    }

    Program& program_;
    Names free_;
    size_t copied_names_ = 0;
};

}  // namespace

Result<void> resolve_scopes(Program& program) { return Resolver(program).run(); }

}  // namespace invar::jinja
