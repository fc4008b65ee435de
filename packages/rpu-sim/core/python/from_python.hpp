// Fills a generated parameter struct from the dataclass of the same name.
#pragma once
#include <nanobind/nanobind.h>

#include <type_traits>

#include "../cpu/float_environment.hpp"

namespace rpu::python {

namespace nb = nanobind;

template <class Params> Params from_python(nb::handle dataclass);

struct FieldReader {
  nb::handle source;

  template <class T> void operator()(const char* name, T& value) const {
    const nb::object attribute = source.attr(name);
    if constexpr (std::is_enum_v<T>) value = static_cast<T>(nb::cast<int32_t>(attribute.attr("index")));
    else if constexpr (std::is_same_v<T, float>) value = static_cast<float>(nb::cast<double>(attribute));
    else if constexpr (std::is_arithmetic_v<T>) value = nb::cast<T>(attribute);
    else value = from_python<T>(attribute);
  }
};

template <class Params> Params from_python(nb::handle dataclass) {
  const FloatEnvironment pinned;  // so that denormal numbers survive the conversion to float
  Params params{};
  params.for_each_field(FieldReader{dataclass});
  return params;
}

}  // namespace rpu::python
