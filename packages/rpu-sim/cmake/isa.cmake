# One object library per instruction-set level. The lane width is the width of the level's registers: wider vector types
# make GCC spill everything. No contraction and no fast-math, so that every level gives the same bits.

add_library(rpu_numerics INTERFACE)
target_compile_options(rpu_numerics INTERFACE ${CLANG_OPTION}-ffp-contract=off ${CLANG_OPTION}-fno-math-errno
  ${CLANG_OPTION}-fno-trapping-math)

set(RPU_ONLY_LEVELS "" CACHE STRING "Build only these levels, such as scalar;v4: shorter builds while developing")
set(RPU_LEVELS "")

function(rpu_add_level name lanes)
  if(RPU_ONLY_LEVELS AND NOT name IN_LIST RPU_ONLY_LEVELS)
    return()
  endif()
  add_library(rpu_isa_${name} OBJECT
    core/cpu/kernels_cells.cpp
    core/cpu/kernels_drift.cpp
    core/cpu/kernels_flow.cpp
    core/cpu/kernels_layer.cpp
    core/cpu/kernels_mvm.cpp
    core/cpu/kernels_update.cpp
    core/cpu/kernels_weights.cpp
    core/cpu/kernels_write.cpp
  )
  target_link_libraries(rpu_isa_${name} PRIVATE rpu_common)
  target_compile_definitions(rpu_isa_${name} PRIVATE RPU_LEVEL=isa_${name} RPU_LANES=${lanes})
  # -Wno-psabi: vectors only cross functions that are inlined; the -Wno-...uninitialized: GCC 12 warns about its own
  # AVX-512 intrinsics (GCC bug 105593). GCC only reorders instructions before it assigns registers when it is told to; the
  # polynomials are long chains, and interleaved, normal numbers take 1.4 times less (Clang always does it).
  target_compile_options(rpu_isa_${name} PRIVATE ${CLANG_OPTION}$<IF:$<BOOL:${RPU_SANITIZE}>,-O1,-O3> ${ARGN} -Wno-psabi
    "$<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized;-Wno-uninitialized;-fschedule-insns;-fsched-pressure>")
  set(RPU_LEVELS "${RPU_LEVELS} RPU_ISA(${name}, ${lanes})" PARENT_SCOPE)
  set(RPU_LEVEL_OBJECTS ${RPU_LEVEL_OBJECTS} $<TARGET_OBJECTS:rpu_isa_${name}> PARENT_SCOPE)
endfunction()

rpu_add_level(scalar 1)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  rpu_add_level(v2 4 -march=x86-64-v2)
  rpu_add_level(v3 8 -march=x86-64-v3)
  rpu_add_level(v4 16 -march=x86-64-v4 ${CLANG_OPTION}-mprefer-vector-width=512)
  rpu_add_level(v4x 16 -march=x86-64-v4 ${CLANG_OPTION}-mprefer-vector-width=512 -mavx512vpopcntdq)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  rpu_add_level(aarch64 4)
endif()
