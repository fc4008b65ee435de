// Errors of the core; the binding turns them into the Python classes of rpu_sim.errors.
#pragma once
#include <stdexcept>
#include <string>

namespace rpu {

enum class ErrorKind { Config, Shape, NonFinite, Backend, Device };

class Error : public std::runtime_error {
 public:
  Error(ErrorKind k, const std::string& sentence) : std::runtime_error(sentence), kind(k) {}
  const ErrorKind kind;
};

}  // namespace rpu
