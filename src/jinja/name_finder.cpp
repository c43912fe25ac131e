// Visits names in the order of jinja2, including its quirk: in {% set caller = caller() %} the target hides the name
// first.
#include "jinja/name_finder.h"

#include <algorithm>

namespace invar::jinja {

namespace {

class NameFinder {
  public:
    explicit NameFinder(Names wanted) : wanted_(std::move(wanted)) {}
    const Names& found() const { return found_; }

    void visit(const Expression* e) {
        if (e == nullptr) return;
        if (e->kind == ExpressionKind::kName && wanted_.count(e->text) != 0) found_.insert(e->text);
        for (const Expression* operand : e->operands) visit(operand);
        for (const Expression* argument : e->positional) visit(argument);
        for (const auto& [name, argument] : e->keywords) visit(argument);
        visit(e->spread_positional);
        visit(e->spread_keywords);
    }
    void visit(const Body& body) {
        for (const Statement* statement : body) visit(*statement);
    }
    void visit(const Statement& s) {
        if (s.target != nullptr) hide(*s.target);
        for (const Expression* target : s.targets) hide(*target);
        if (s.kind == StatementKind::kFilterBlock) visit(s.body);
        visit(s.expression);
        for (const Expression* value : s.values) visit(value);
        for (const Expression* parameter : s.parameters) hide(*parameter);
        for (const Expression* value : s.defaults) visit(value);
        for (const Branch& branch : s.branches) visit(branch.test), visit(branch.body);
        if (s.kind != StatementKind::kFilterBlock) visit(s.body);
        visit(s.else_body);
        visit(s.test);
    }

  private:
    void hide(const Expression& target) {
        if (target.kind == ExpressionKind::kName) wanted_.erase(target.text);
        for (const Expression* item : target.operands) hide(*item);
    }
    Names wanted_;
    Names found_;
};

}  // namespace

Names names_read(const Body& body, Names wanted) {
    NameFinder finder(std::move(wanted));
    finder.visit(body);
    return finder.found();
}

bool sets_name(const Expression& target, std::string_view name) {
    if (target.kind == ExpressionKind::kName) return target.text == name;
    return std::any_of(target.operands.begin(), target.operands.end(),
                       [&](const Expression* item) { return sets_name(*item, name); });
}

bool sets_loop_variable(const Statement& s) {
    if (s.target != nullptr && sets_name(*s.target, "loop")) return true;
    const auto in_body = [](const Body& body) {
        return std::any_of(body.begin(), body.end(), [](const Statement* inner) { return sets_loop_variable(*inner); });
    };
    return in_body(s.body) || in_body(s.else_body) ||
           std::any_of(s.branches.begin(), s.branches.end(), [&](const Branch& b) { return in_body(b.body); });
}

}  // namespace invar::jinja
