// Which instruction-set level runs: chosen once from the CPU, or forced by RPU_ISA or select_level().
#pragma once
#include <string>
#include <vector>

#include "../kernels.hpp"

namespace rpu {

const Kernels& kernels();                    // of the level in use
std::vector<std::string> available_levels();  // that this CPU can run, slowest first
void select_level(const std::string& name);   // throws Error(Backend)

}  // namespace rpu
