# The sources of the CUDA plugin as plain C++: its kernels run one after the other on the host. A plugin for tests only, so
# that a machine without a GPU checks everything but the launches.
file(STRINGS core/devices.def DEVICE_LINES REGEX "^RPU_DEVICE")
set(EMULATED_SOURCES core/cuda/cells.cu core/cuda/digital.cu core/cuda/mvm.cu core/cuda/table.cu core/cuda/together.cu
  core/cuda/update.cu core/cuda/weights.cu)
set(EMULATED_OBJECTS "")

function(rpu_emulated_objects target)
  add_library(${target} OBJECT ${ARGN})
  target_link_libraries(${target} PRIVATE rpu_common)
  target_compile_definitions(${target} PRIVATE RPU_LEVEL=cuda RPU_LANES=1 "RPU_VERSION=\"${SKBUILD_PROJECT_VERSION}\"")
  target_compile_options(${target} PRIVATE $<IF:$<BOOL:${RPU_SANITIZE}>,-O1,-O2>)
  set(EMULATED_OBJECTS ${EMULATED_OBJECTS} $<TARGET_OBJECTS:${target}> PARENT_SCOPE)
endfunction()

set_source_files_properties(${EMULATED_SOURCES} core/cuda/device.cu PROPERTIES LANGUAGE CXX)
rpu_emulated_objects(rpu_emulated_common ${EMULATED_SOURCES})
foreach(LINE ${DEVICE_LINES})
  string(REGEX REPLACE "^RPU_DEVICE\\(([A-Za-z]+),.*" "\\1" DEVICE "${LINE}")
  rpu_emulated_objects(rpu_emulated_${DEVICE} core/cuda/device.cu)
  target_compile_definitions(rpu_emulated_${DEVICE} PRIVATE RPU_DEVICE_NAME=${DEVICE})
endforeach()

add_library(rpu_emulated MODULE ${EMULATED_OBJECTS})
set_target_properties(rpu_emulated PROPERTIES PREFIX "" OUTPUT_NAME _emulated_cuda LINKER_LANGUAGE CXX)
target_link_libraries(rpu_emulated PRIVATE rpu_common)
install(TARGETS rpu_emulated LIBRARY DESTINATION rpu_sim)
