// Fills a generated parameter struct from the dataclass of the same name.
#pragma once
#include <nanobind/nanobind.h>

#include <algorithm>
#include <memory>
#include <type_traits>
#include <vector>

#include "../cpu/float_environment.hpp"
#include "params.gen.hpp"

namespace rpu::python {

namespace nb = nanobind;

/// Owns the lists that parameter structs point to.
using ListStorage = std::vector<std::unique_ptr<float[]>>;

template <class Params> Params from_python(nb::handle dataclass, ListStorage* lists = nullptr);

/// Appends the numbers of a tuple, row by row where it holds tuples.
inline void flatten(nb::handle values, std::vector<float>& out) {
  for (nb::handle v : values) {
    if (nb::isinstance<nb::tuple>(v)) flatten(v, out);
    else out.push_back(static_cast<float>(nb::cast<double>(v)));
  }
}

inline params::FloatList stored_list(nb::handle values, ListStorage& lists) {
  std::vector<float> numbers;
  flatten(values, numbers);
  auto owned = std::make_unique<float[]>(numbers.size());
  std::copy(numbers.begin(), numbers.end(), owned.get());
  lists.push_back(std::move(owned));
  return {lists.back().get(), static_cast<int32_t>(numbers.size()), static_cast<int32_t>(nb::len(values))};
}

struct FieldReader {
  nb::handle source;
  ListStorage* lists;

  template <class T> void operator()(const char* name, T& value) const {
    const nb::object attribute = source.attr(name);
    if constexpr (std::is_enum_v<T>) value = static_cast<T>(nb::cast<int32_t>(attribute.attr("index")));
    else if constexpr (std::is_same_v<T, float>) value = static_cast<float>(nb::cast<double>(attribute));
    else if constexpr (std::is_arithmetic_v<T>) value = nb::cast<T>(attribute);
    else if constexpr (std::is_same_v<T, params::FloatList>) value = stored_list(attribute, *lists);
    else value = from_python<T>(attribute, lists);
  }
};

template <class Params> Params from_python(nb::handle dataclass, ListStorage* lists) {
  const FloatEnvironment pinned;  // so that denormal numbers survive the conversion to float
  Params params{};
  params.for_each_field(FieldReader{dataclass, lists});
  return params;
}

}  // namespace rpu::python
