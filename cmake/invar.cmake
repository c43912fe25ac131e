# The few build functions of the project. Decides compiler flags (the arithmetic depends on them: no contraction, no
# fast-math) and how a folder becomes a library, a test program or a fuzz target. What uses what is in CMakeLists.txt.

add_library(invar_flags INTERFACE)
target_compile_options(invar_flags INTERFACE
  -ffp-contract=off        # a fused multiply-add is used exactly where the definition writes fma
  -fno-fast-math -Wall -Wextra -Wshadow -Wno-unused-parameter -Wno-psabi
  -Wno-missing-field-initializers)  # designated initialisers leave the rest at its default on purpose
target_include_directories(invar_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
if(INVAR_SANITIZE)
  target_compile_options(invar_flags INTERFACE -fsanitize=${INVAR_SANITIZE} -fno-omit-frame-pointer -g)
  target_link_options(invar_flags INTERFACE -fsanitize=${INVAR_SANITIZE})
  if(INVAR_SANITIZE MATCHES "undefined")
    target_compile_options(invar_flags INTERFACE -fno-sanitize-recover=undefined)
  endif()
endif()
if(INVAR_FUZZ)
  target_compile_options(invar_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

find_program(INVAR_CCACHE ccache)
set(INVAR_CCACHE_COMMAND "")
if(INVAR_CCACHE)
  set(INVAR_CCACHE_COMMAND ${INVAR_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${INVAR_CCACHE})
endif()

# The large headers that most files read, read once for the libraries and once for each program's own (2 to 5 s of every file
# otherwise). ccache keeps whole compilations instead and would miss with them, so it is one or the other.
set(precompile ON)
if(INVAR_CCACHE)
  set(precompile OFF)
endif()
option(INVAR_PRECOMPILE "precompile large headers; on where there is no ccache" ${precompile})
set(INVAR_LARGE_HEADERS <nlohmann/json.hpp> <fmt/format.h> <tl/expected.hpp> <algorithm> <filesystem> <functional> <map> <memory>
    <optional> <span> <string> <string_view> <vector>)

# invar_precompile(TARGET FIRST HEADERS...): TARGET uses what FIRST compiled, whose flags are the same.
function(invar_precompile target first)
  if(NOT INVAR_PRECOMPILE)
    return()
  elseif(target STREQUAL first)
    target_precompile_headers(${target} PRIVATE ${ARGN})
  else()
    target_precompile_headers(${target} REUSE_FROM ${first})
  endif()
endfunction()

# Instruction sets are per file: NAME_avx2.cpp, NAME_avxvnni.cpp, NAME_avx512.cpp and NAME_amx.cpp are the only places where
# they are switched on, so that nothing else in the program can execute an instruction the machine lacks. Such a file must not
# instantiate templates or inline functions that other files share (the linker would keep one copy, perhaps the wrong one).
set(INVAR_AVX2_FLAGS -mavx2 -mfma -mf16c)
set(INVAR_AVXVNNI_FLAGS ${INVAR_AVX2_FLAGS} -mavxvnni)
set(INVAR_AVX512_FLAGS -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx2 -mfma -mf16c
                       -mprefer-vector-width=512)
set(INVAR_AMX_FLAGS ${INVAR_AVX512_FLAGS} -mamx-tile -mamx-int8)

# Fuzzers read files and compute nothing: their kernels go without instrumentation, which clang takes a minute a file for.
if(INVAR_FUZZ)
  foreach(flags INVAR_AVX2_FLAGS INVAR_AVXVNNI_FLAGS INVAR_AVX512_FLAGS INVAR_AMX_FLAGS)
    if(DEFINED ${flags})
      list(APPEND ${flags} -O1 -fno-sanitize=all)
    endif()
  endforeach()
endif()

function(invar_isa_flags)
  foreach(source ${ARGN})
    if(source MATCHES "_(avx2|avxvnni|avx512|amx)\\.cpp$")
      set_source_files_properties(${source} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)  # made with other flags
    endif()
    if(source MATCHES "_avx2\\.cpp$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${INVAR_AVX2_FLAGS}")
    elseif(source MATCHES "_avxvnni\\.cpp$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${INVAR_AVXVNNI_FLAGS}")
    elseif(source MATCHES "_avx512\\.cpp$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${INVAR_AVX512_FLAGS}")
    elseif(source MATCHES "_amx\\.cpp$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${INVAR_AMX_FLAGS}")
    endif()
  endforeach()
endfunction()

# invar_module(NAME USES target...): src/NAME/**.cpp -> static library invar_NAME.
function(invar_module name)
  cmake_parse_arguments(ARG "" "" "USES" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cpp)
  if(sources)
    invar_isa_flags(${sources})
    add_library(invar_${name} STATIC ${sources})
    target_link_libraries(invar_${name} PUBLIC invar_flags ${ARG_USES})
    invar_precompile(invar_${name} invar_base ${INVAR_LARGE_HEADERS})
  else()
    add_library(invar_${name} INTERFACE)
    target_link_libraries(invar_${name} INTERFACE invar_flags ${ARG_USES})
  endif()
endfunction()

# invar_emulated_cuda(USES target...): src/cuda as plain C++, its kernels on the emulation of simt.h -> invar_cuda_emulated.
function(invar_emulated_cuda)
  cmake_parse_arguments(ARG "" "" "USES" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/cuda/*.cpp ${CMAKE_SOURCE_DIR}/src/cuda/*.cu
       ${CMAKE_SOURCE_DIR}/src/cuda/emulation/*.cpp)
  file(GLOB cuda_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/cuda/*.cu)
  set_source_files_properties(${cuda_sources} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-xc++")
  add_library(invar_cuda_emulated STATIC ${sources})
  target_link_libraries(invar_cuda_emulated PUBLIC invar_flags ${ARG_USES})
endfunction()

# invar_cuda(USES target...): src/cuda by nvcc, for every architecture -> invar_cuda. Needs INVAR_NVCC. The runtime is linked
# statically and finds the driver when a device is opened, so the program starts on machines without one.
function(invar_cuda)
  cmake_parse_arguments(ARG "" "" "USES" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/cuda/*.cu)
  file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/cuda/*.cuh ${CMAKE_SOURCE_DIR}/src/cuda/*.h
       ${CMAKE_SOURCE_DIR}/src/arithmetic/*.h ${CMAKE_SOURCE_DIR}/src/ops/*.h ${CMAKE_SOURCE_DIR}/src/state/*.h
       ${CMAKE_SOURCE_DIR}/src/base/*.h ${CMAKE_SOURCE_DIR}/src/formats/*.h ${CMAKE_SOURCE_DIR}/src/formats/*/*.h)
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
              -Xcompiler -ffp-contract=off,-fPIC -I ${CMAKE_SOURCE_DIR}/src -c ${source} -o ${object}
      DEPENDS ${source} ${headers} VERBATIM)
    list(APPEND objects ${object})
  endforeach()
  set_source_files_properties(${objects} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
  add_library(invar_cuda STATIC EXCLUDE_FROM_ALL ${objects} ${CMAKE_SOURCE_DIR}/src/cuda/weight_packing.cpp
              ${CMAKE_SOURCE_DIR}/src/cuda/cuda_backend.cpp ${CMAKE_SOURCE_DIR}/src/cuda/device_support.cpp)
  set_target_properties(invar_cuda PROPERTIES LINKER_LANGUAGE CXX)
  get_filename_component(toolkit ${INVAR_NVCC} DIRECTORY)
  target_link_directories(invar_cuda PUBLIC ${toolkit}/../lib64)
  target_link_libraries(invar_cuda PUBLIC invar_flags ${ARG_USES} cudart_static rt dl Threads::Threads)
endfunction()

# The tests that ask a device and not the emulation, linked to the CUDA backend -> test_cuda_device, built on demand. It
# says that it skips where there is no device.
function(invar_device_tests)
  add_executable(test_cuda_device EXCLUDE_FROM_ALL
    tests/cuda_device/main.cpp tests/cuda/cuda_ops_test.cpp tests/cuda/cuda_ops_pass_test.cpp tests/cuda/device_test.cpp
    tests/cuda/pass_graphs_test.cpp tests/cuda/preselection_test.cpp tests/cpu/linear_case.cpp tests/cpu/reference_ops.cpp
    src/generate/sampler.cpp)
  target_include_directories(test_cuda_device PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  target_link_libraries(test_cuda_device PRIVATE invar_cuda invar_cpu GTest::gtest)
endfunction()

# invar_app(FOLDER USES target...): the command line, compiled once for all programs.
function(invar_app folder)
  cmake_parse_arguments(ARG "" "" "USES" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${folder}/*.cpp)
  add_library(invar_app OBJECT ${sources})
  target_link_libraries(invar_app PUBLIC invar_flags ${ARG_USES})
  invar_precompile(invar_app invar_app <CLI/CLI.hpp> ${INVAR_LARGE_HEADERS})
  target_compile_options(invar_app PRIVATE $<$<CONFIG:Release>:-O1>)  # command lines: a quarter less to compile, nothing to compute
endfunction()

# invar_program(NAME BACKEND target): the command line with the devices it can open (cuda/cuda_backend.h).
function(invar_program name)
  cmake_parse_arguments(ARG "" "BACKEND" "" ${ARGN})
  add_executable(${name})
  target_link_libraries(${name} PRIVATE invar_app ${ARG_BACKEND})
endfunction()

# invar_tests(FOLDER [MODULE]): tests/FOLDER/**.cpp -> program test_FOLDER, one CTest entry.
# A test program links the module of its folder (or MODULE) and everything below it. Tests whose name has "Sweep" or "Exhaustive"
# are labelled slow.
function(invar_tests folder)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/${folder}/*.cpp)
  if(NOT sources)
    return()
  endif()
  invar_isa_flags(${sources})
  add_executable(test_${folder} ${sources})
  set(module ${folder})
  if(ARGC GREATER 1)
    set(module ${ARGV1})
  endif()
  target_link_libraries(test_${folder} PRIVATE invar_${module} GTest::gtest_main)
  invar_precompile(test_${folder} test_base <gtest/gtest.h> ${INVAR_LARGE_HEADERS})
  target_include_directories(test_${folder} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  target_compile_definitions(test_${folder} PRIVATE
    INVAR_TEST_DATA="${CMAKE_SOURCE_DIR}/tests/data"
    INVAR_MODELS="${CMAKE_SOURCE_DIR}/models"
    INVAR_SHARED_DATA="${CMAKE_SOURCE_DIR}/../shared/data")
  add_test(NAME ${folder} COMMAND test_${folder})
  set_tests_properties(${folder} PROPERTIES TIMEOUT 1800)
endfunction()

# fuzz/NAME.cpp -> program fuzz_NAME, linked with everything but the command line; fuzz_programs is all of them.
function(invar_fuzz_targets)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/fuzz/*.cpp)
  add_custom_target(fuzz_programs)
  foreach(source ${sources})
    get_filename_component(name ${source} NAME_WE)
    add_executable(fuzz_${name} ${source})
    target_link_libraries(fuzz_${name} PRIVATE invar_proof invar_make -fsanitize=fuzzer)
    add_dependencies(fuzz_programs fuzz_${name})
  endforeach()
endfunction()
