// Creates and frees values, and has the hash table of dicts. Objects are freed in a loop over a list and never by
// recursion, because a template may chain a million of them. Equality and hashing of keys are in compare.h.
#include "jinja/value.h"

#include <algorithm>

#include "jinja/compare.h"
#include "jinja/runtime.h"

namespace invar::jinja {

Value Value::real(double value) {
    Value result(Kind::kFloat, 0);
    result.real_ = value;
    return result;
}

void Value::release() {
    if (is_object() && --object_->references_ == 0) object_->heap_.bury(object_);
}

std::string_view Value::text() const { return as<String>().text; }

bool Value::is_markup() const { return is(Kind::kString) && as<String>().markup; }

void Heap::bury(Object* object) {
    object->next_dead_ = dead_;
    dead_ = object;
    if (burying_) return;
    burying_ = true;
    while (dead_ != nullptr) {
        Object* next = dead_;
        dead_ = next->next_dead_;
        live_ -= next->bytes_;
        delete next;
    }
    burying_ = false;
}

Heap::~Heap() {
    std::vector<Value> kept;  // keeps each object alive until all of them are cleared
    kept.reserve(watched_.size());
    for (Object* object : watched_) kept.emplace_back(object);
    for (const Value& value : kept) value.object()->clear();
}

namespace {

constexpr size_t kLinearEntries = 8;  // up to here a scan over the hashes is faster than a table

}  // namespace

void Dict::insert_slot(uint64_t hash, int32_t entry) {
    const size_t mask = slots_.size() - 1;
    size_t place = hash & mask;
    while (slots_[place] >= 0) place = (place + 1) & mask;
    slots_[place] = entry;
}

const Value* Dict::find(std::string_view key) const {
    const uint64_t hash = hash_text(key);
    const auto matches = [&](const Entry& entry) {
        return entry.hash == hash && entry.key.is(Kind::kString) && entry.key.text() == key;
    };
    if (slots_.empty()) {
        for (const Entry& entry : entries) {
            if (matches(entry)) return &entry.value;
        }
        return nullptr;
    }
    const size_t mask = slots_.size() - 1;
    for (size_t place = hash & mask; slots_[place] >= 0; place = (place + 1) & mask) {
        const Entry& entry = entries[slots_[place]];
        if (matches(entry)) return &entry.value;
    }
    return nullptr;
}

Result<const Value*> Dict::find(Runtime& runtime, const Value& key) const {
    if (key.is(Kind::kString)) return find(key.text());
    TRY_ASSIGN(const uint64_t hash, hash_of(runtime, key));
    if (slots_.empty()) {
        for (const Entry& entry : entries) {
            if (entry.hash != hash) continue;
            TRY_ASSIGN(const bool same, equal(runtime, entry.key, key));
            if (same) return &entry.value;
        }
        return nullptr;
    }
    const size_t mask = slots_.size() - 1;
    for (size_t place = hash & mask; slots_[place] >= 0; place = (place + 1) & mask) {
        const Entry& entry = entries[slots_[place]];
        if (entry.hash != hash) continue;
        TRY_ASSIGN(const bool same, equal(runtime, entry.key, key));
        if (same) return &entry.value;
    }
    return nullptr;
}

Result<void> Dict::set(Runtime& runtime, Value key, Value value) {
    TRY_ASSIGN(const uint64_t hash, hash_of(runtime, key));
    TRY_ASSIGN(const Value* present, find(runtime, key));
    if (present != nullptr) {
        *const_cast<Value*>(present) = std::move(value);
        return {};
    }
    entries.push_back({std::move(key), std::move(value), hash});
    runtime.heap().charge(*this, static_cast<int64_t>(sizeof(Entry)));
    if (entries.size() <= kLinearEntries) return {};
    if (slots_.size() < 2 * entries.size()) {
        const size_t grown = std::max<size_t>(32, 2 * slots_.size());
        runtime.heap().charge(*this, static_cast<int64_t>(sizeof(int32_t) * (grown - slots_.size())));
        slots_.assign(grown, -1);
        for (size_t i = 0; i < entries.size(); ++i) insert_slot(entries[i].hash, static_cast<int32_t>(i));
    } else {
        insert_slot(hash, static_cast<int32_t>(entries.size() - 1));
    }
    return {};
}

int64_t Range::length() const {
    // Counted in 128 bits: stop - start may exceed 64.
    const __int128 span = step > 0 ? static_cast<__int128>(stop) - start : static_cast<__int128>(start) - stop;
    const __int128 stride = step > 0 ? static_cast<__int128>(step) : -static_cast<__int128>(step);
    if (span <= 0) return 0;
    const __int128 count = (span + stride - 1) / stride;
    return count > INT64_MAX ? INT64_MAX : static_cast<int64_t>(count);
}

std::string_view type_name(const Value& value) {
    switch (value.kind()) {
        case Kind::kMissing:
        case Kind::kUndefined:
            return "Undefined";
        case Kind::kNone:
            return "NoneType";
        case Kind::kBool:
            return "bool";
        case Kind::kInteger:
            return "int";
        case Kind::kFloat:
            return "float";
        case Kind::kString:
            return value.is_markup() ? "Markup" : "str";
        case Kind::kList:
            return "list";
        case Kind::kTuple:
            return "tuple";
        case Kind::kDict:
            return "dict";
        case Kind::kView: {
            const ViewOf of = value.as<View>().of;
            return of == ViewOf::kKeys ? "dict_keys" : of == ViewOf::kValues ? "dict_values" : "dict_items";
        }
        case Kind::kRange:
            return "range";
        case Kind::kGenerator:
            return "generator";
        case Kind::kNamespace:
            return "Namespace";
        case Kind::kFunction:
            return "builtin_function_or_method";
        case Kind::kMacro:
            return "Macro";
        case Kind::kLoop:
            return "LoopContext";
        case Kind::kCycler:
            return "Cycler";
        case Kind::kJoiner:
            return "Joiner";
        case Kind::kActivation:
            return "activation";
    }
    return "object";
}

}  // namespace invar::jinja
