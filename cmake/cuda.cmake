# The CUDA backend: compiled where it can run or is asked for, since nvcc takes longer than everything else together. Decides that, and
# how src/cuda becomes three libraries with the same face: by nvcc, as plain C++ on an emulation (tests), and without a device at all.

find_program(INVAR_NVCC nvcc PATHS /usr/local/cuda/bin)
set(INVAR_CUDA auto CACHE STRING "CUDA in the program: ON, OFF, or auto: where this machine has an NVIDIA driver")
set_property(CACHE INVAR_CUDA PROPERTY STRINGS auto ON OFF)

set(driver OFF)
find_library(INVAR_CUDA_DRIVER NAMES libcuda.so.1 PATHS /usr/lib/wsl/lib)
if(INVAR_CUDA_DRIVER OR EXISTS /dev/nvidiactl OR EXISTS /proc/driver/nvidia/version)
  set(driver ON)
endif()
set(INVAR_WITH_CUDA OFF)
if(INVAR_CUDA STREQUAL "auto")
  if(NOT driver)
    set(without "there is no NVIDIA driver here; CUDA=1 builds it all the same")
  elseif(NOT INVAR_NVCC)
    set(without "there is an NVIDIA driver but no nvcc; install the CUDA toolkit, 12.8 or later")
  else()
    set(INVAR_WITH_CUDA ON)
  endif()
elseif(NOT INVAR_CUDA)
  set(without "INVAR_CUDA is OFF; CUDA=1 builds it")
elseif(NOT INVAR_NVCC)
  message(FATAL_ERROR "CUDA was asked for, but nvcc is neither in PATH nor in /usr/local/cuda/bin; install the CUDA toolkit")
else()
  set(INVAR_WITH_CUDA ON)
endif()
# A notice, so that it is shown where the rest of the configuration is not.
if(INVAR_WITH_CUDA)
  message(NOTICE "invar: builds the CPU kernels (scalar to AMX) and CUDA (${INVAR_NVCC}); nothing is left out")
else()
  message(NOTICE "invar: builds the CPU kernels (scalar to AMX) and leaves out CUDA: ${without}")
endif()

# invar_emulated_cuda(USES target...): src/cuda as plain C++, its kernels on the emulation of simt.h -> invar_cuda_emulated.
function(invar_emulated_cuda)
  cmake_parse_arguments(ARG "" "" "USES" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/cuda/*.cpp ${CMAKE_SOURCE_DIR}/src/cuda/*.cu
       ${CMAKE_SOURCE_DIR}/src/cuda/emulation/*.cpp)
  file(GLOB cuda_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/cuda/*.cu)
  set_source_files_properties(${cuda_sources} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-xc++")
  add_library(invar_cuda_emulated STATIC ${sources})
  target_link_libraries(invar_cuda_emulated PUBLIC invar_flags invar_cuda_headers ${ARG_USES})
endfunction()

# invar_cuda(USES target...): src/cuda by nvcc, for every architecture -> invar_cuda. Needs INVAR_NVCC. The runtime is linked
# statically and finds the driver when a device is opened, so the program starts on machines without one.
function(invar_cuda)
  cmake_parse_arguments(ARG "" "" "USES" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/cuda/*.cu)
  set(roots "$<TARGET_PROPERTY:invar_cuda,INCLUDE_DIRECTORIES>")
  set(objects "")
  foreach(source ${sources})
    get_filename_component(name ${source} NAME_WE)
    set(object ${CMAKE_BINARY_DIR}/cuda/${name}.o)
    add_custom_command(OUTPUT ${object}
      COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/cuda
      COMMAND sh ${CMAKE_SOURCE_DIR}/cmake/nvcc.sh ${object}.log
              ${INVAR_CCACHE_COMMAND} ${INVAR_NVCC} -x cu -std=c++20 -O3 -fmad=false --expt-relaxed-constexpr -DFMT_USE_CONSTEXPR=1
              -Xptxas -v
              -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90a,code=sm_90a
              -gencode arch=compute_120,code=sm_120 -gencode arch=compute_120,code=compute_120
              -Xcompiler -ffp-contract=off,-fPIC "-I$<JOIN:${roots},;-I>" -MD -MF ${object}.d -c ${source} -o ${object}
      DEPENDS ${source} DEPFILE ${object}.d COMMAND_EXPAND_LISTS VERBATIM)
    list(APPEND objects ${object})
  endforeach()
  set_source_files_properties(${objects} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
  add_library(invar_cuda STATIC EXCLUDE_FROM_ALL ${objects} ${CMAKE_SOURCE_DIR}/src/cuda/weight_packing.cpp
              ${CMAKE_SOURCE_DIR}/src/cuda/cuda_backend.cpp ${CMAKE_SOURCE_DIR}/src/cuda/device_support.cpp)
  set_target_properties(invar_cuda PROPERTIES LINKER_LANGUAGE CXX)
  get_filename_component(toolkit ${INVAR_NVCC} DIRECTORY)
  target_link_directories(invar_cuda PUBLIC ${toolkit}/../lib64)
  target_link_libraries(invar_cuda PUBLIC invar_flags invar_cuda_headers ${ARG_USES} cudart_static rt dl Threads::Threads)
endfunction()

# invar_no_cuda(USES target...): no device, with a sentence that says why.
function(invar_no_cuda)
  cmake_parse_arguments(ARG "" "" "USES" ${ARGN})
  add_library(invar_no_cuda STATIC ${CMAKE_SOURCE_DIR}/src/cuda/none/no_cuda.cpp)
  target_link_libraries(invar_no_cuda PUBLIC invar_flags invar_cuda_headers ${ARG_USES})
endfunction()

# The tests that ask a device and not the emulation, linked to the CUDA backend -> test_cuda_device, built on demand. It
# says that it skips where there is no device.
function(invar_device_tests)
  add_executable(test_cuda_device EXCLUDE_FROM_ALL
    tests/cuda_device/main.cpp tests/cuda/cuda_ops_test.cpp tests/cuda/cuda_ops_pass_test.cpp tests/cuda/device_test.cpp
    tests/cuda/cuda_attention_test.cpp tests/cuda/cuda_elements_test.cpp tests/cuda/cuda_recurrences_test.cpp
    tests/cuda/pass_graphs_test.cpp tests/cuda/preselection_test.cpp tests/cpu/linear_case.cpp tests/cpu/reference_ops.cpp
    src/generate/sampler.cpp)
  target_include_directories(test_cuda_device PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  target_link_libraries(test_cuda_device PRIVATE invar_cuda invar_cpu invar_generate_headers GTest::gtest)
endfunction()
