# The few build functions of the project. Decides compiler flags (the arithmetic depends on them: no contraction, no
# fast-math) and how a folder becomes a library, a test program or a fuzz target. What uses what is in CMakeLists.txt.

add_library(invar_flags INTERFACE)
target_compile_options(invar_flags INTERFACE
  -ffp-contract=off        # a fused multiply-add is used exactly where the definition writes fma
  -fno-fast-math -Wall -Wextra -Wshadow -Wno-unused-parameter -Wno-psabi
  -Wno-missing-field-initializers)  # designated initialisers leave the rest at its default on purpose
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

# Without ccache a build is made to cost little as a whole: the large headers that most files read are read once, for the libraries and
# once for the test programs (a quarter of what a file takes; only what nearly all read pays: with JSON among them every file takes longer),
# and several light files are compiled at once (invar_light). ccache keeps whole compilations instead and would miss with either.
set(whole ON)
if(INVAR_CCACHE)
  set(whole OFF)
endif()
option(INVAR_PRECOMPILE "precompile large headers; on where there is no ccache" ${whole})
option(INVAR_UNITY "compile several light files at once; on where there is no ccache" ${whole})
set(INVAR_LARGE_HEADERS <fmt/core.h> <tl/expected.hpp> <algorithm> <filesystem> <functional> <map> <memory>
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

# Instruction sets are per file: NAME_avx2.cpp, NAME_avxvnni.cpp, NAME_avx512.cpp, NAME_avx512vbmi.cpp and NAME_amx.cpp are the
# only places where they are switched on, so that nothing else in the program can execute an instruction the machine lacks. Such a
# file must not instantiate templates or inline functions that other files share (the linker would keep one copy, perhaps the
# wrong one).
set(INVAR_AVX2_FLAGS -mavx2 -mfma -mf16c)
set(INVAR_AVXVNNI_FLAGS ${INVAR_AVX2_FLAGS} -mavxvnni)
set(INVAR_AVX512_FLAGS -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx2 -mfma -mf16c
                       -mprefer-vector-width=512)
set(INVAR_AVX512VBMI_FLAGS ${INVAR_AVX512_FLAGS} -mavx512vbmi)
set(INVAR_AMX_FLAGS ${INVAR_AVX512_FLAGS} -mamx-tile -mamx-int8)

# Fuzzers read files and compute nothing: their kernels go without instrumentation, which clang takes a minute a file for.
if(INVAR_FUZZ)
  foreach(flags INVAR_AVX2_FLAGS INVAR_AVXVNNI_FLAGS INVAR_AVX512_FLAGS INVAR_AVX512VBMI_FLAGS INVAR_AMX_FLAGS)
    if(DEFINED ${flags})
      list(APPEND ${flags} -O1 -fno-sanitize=all)
    endif()
  endforeach()
endif()

function(invar_isa_flags)
  foreach(source ${ARGN})
    if(source MATCHES "_(avx2|avxvnni|avx512|avx512vbmi|amx)\\.cpp$")
      set_source_files_properties(${source} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)  # made with other flags
    endif()
    if(source MATCHES "_avx2\\.cpp$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${INVAR_AVX2_FLAGS}")
    elseif(source MATCHES "_avxvnni\\.cpp$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${INVAR_AVXVNNI_FLAGS}")
    elseif(source MATCHES "_avx512\\.cpp$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${INVAR_AVX512_FLAGS}")
    elseif(source MATCHES "_avx512vbmi\\.cpp$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${INVAR_AVX512VBMI_FLAGS}")
    elseif(source MATCHES "_amx\\.cpp$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${INVAR_AMX_FLAGS}")
    endif()
  endforeach()
endfunction()

# invar_headers(NAME): #include "NAME/..." for whoever links invar_NAME_headers, as every user of invar_NAME does, and for nobody else:
# the folder that the compiler searches holds one link, to src/NAME, so an include that USES does not allow finds no file.
function(invar_headers name)
  set(folder ${CMAKE_BINARY_DIR}/include/${name})
  file(MAKE_DIRECTORY ${folder})
  file(CREATE_LINK ${CMAKE_SOURCE_DIR}/src/${name} ${folder}/${name} SYMBOLIC)
  add_library(invar_${name}_headers INTERFACE)
  target_include_directories(invar_${name}_headers INTERFACE ${folder})
endfunction()

# invar_light(TARGET SOURCES...): SOURCES are most of TARGET's and read, decide and write text. In a release build they are compiled with
# -O1, since a fifth to a third of what a file takes went into making that faster, and where INVAR_UNITY is on several of them at once,
# which halves the rest: they read the same large headers. The other sources of TARGET stay with -O3, alone.
function(invar_light target)
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
  get_target_property(heavy ${target} SOURCES)
  list(REMOVE_ITEM heavy ${ARGN})
  if(heavy)
    set_property(SOURCE ${heavy} APPEND PROPERTY COMPILE_OPTIONS $<$<CONFIG:Release>:-O3>)
    set_property(SOURCE ${heavy} PROPERTY SKIP_UNITY_BUILD_INCLUSION ON)
  endif()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${INVAR_UNITY} UNITY_BUILD_BATCH_SIZE 8)
endfunction()

# invar_module(NAME [LIGHT] [HEAVY file...] USES target...): src/NAME/**.cpp -> static library invar_NAME. LIGHT: invar_light() for all files
# but those named after HEAVY (paths below src/NAME, or folders of it), in which a program spends time.
function(invar_module name)
  cmake_parse_arguments(ARG "LIGHT" "" "HEAVY;USES" ${ARGN})
  invar_headers(${name})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cpp)
  if(sources)
    invar_isa_flags(${sources})
    add_library(invar_${name} STATIC ${sources})
    target_link_libraries(invar_${name} PUBLIC invar_flags invar_${name}_headers ${ARG_USES})
    invar_precompile(invar_${name} invar_base ${INVAR_LARGE_HEADERS})
    if(ARG_LIGHT)
      foreach(heavy ${ARG_HEAVY})
        if(NOT EXISTS ${CMAKE_SOURCE_DIR}/src/${name}/${heavy})
          message(FATAL_ERROR "CMakeLists.txt calls src/${name}/${heavy} HEAVY, but there is no such file or folder")
        endif()
        list(FILTER sources EXCLUDE REGEX "/src/${name}/${heavy}(/|$)")
      endforeach()
      invar_light(invar_${name} ${sources})
    endif()
  else()
    add_library(invar_${name} INTERFACE)
    target_link_libraries(invar_${name} INTERFACE invar_flags invar_${name}_headers ${ARG_USES})
  endif()
endfunction()

# invar_app(USES target...): the command line but for main.cpp -> invar_app, for the programs and their tests.
function(invar_app)
  cmake_parse_arguments(ARG "" "" "USES" ${ARGN})
  invar_headers(app)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/app/*.cpp)
  list(REMOVE_ITEM sources ${CMAKE_SOURCE_DIR}/src/app/main.cpp)
  add_library(invar_app STATIC ${sources})
  target_link_libraries(invar_app PUBLIC invar_flags invar_app_headers ${ARG_USES})
  invar_precompile(invar_app invar_base ${INVAR_LARGE_HEADERS})
  invar_light(invar_app ${sources})
endfunction()

# invar_program(NAME BACKEND target): the command line with the devices it can open (cuda/cuda_backend.h).
function(invar_program name)
  cmake_parse_arguments(ARG "" "BACKEND" "" ${ARGN})
  add_executable(${name} ${CMAKE_SOURCE_DIR}/src/app/main.cpp)
  target_link_libraries(${name} PRIVATE invar_app ${ARG_BACKEND})
endfunction()

# invar_tests(NAME [MODULE]): tests/NAME/**.cpp -> program test_NAME, one CTest entry.
# A test program links the module of its folder (or MODULE) and everything below it. What the variable SLOW_NAME fits (a gtest filter) is
# a CTest entry of its own, NAME_slow, labelled slow; everything else is labelled fast.
function(invar_tests folder)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/${folder}/*.cpp)
  if(NOT sources)
    return()
  endif()
  list(APPEND sources ${CMAKE_SOURCE_DIR}/tests/main.cpp)
  invar_isa_flags(${sources})
  add_executable(test_${folder} ${sources})
  set(module ${folder})
  if(ARGC GREATER 1)
    set(module ${ARGV1})
  endif()
  target_link_libraries(test_${folder} PRIVATE invar_${module} GTest::gtest)
  invar_precompile(test_${folder} test_base <gtest/gtest.h> ${INVAR_LARGE_HEADERS})
  target_include_directories(test_${folder} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  target_compile_definitions(test_${folder} PRIVATE
    INVAR_TEST_DATA="${CMAKE_SOURCE_DIR}/tests/data"
    INVAR_MODELS="${CMAKE_SOURCE_DIR}/models"
    INVAR_SHARED_DATA="${CMAKE_SOURCE_DIR}/../shared/data")
  add_test(NAME ${folder} COMMAND test_${folder} --gtest_filter=-${SLOW_${folder}})
  set_tests_properties(${folder} PROPERTIES TIMEOUT 1800 LABELS fast)
  if(SLOW_${folder})
    add_test(NAME ${folder}_slow COMMAND test_${folder} --gtest_filter=${SLOW_${folder}})
    set_tests_properties(${folder}_slow PROPERTIES TIMEOUT 1800 LABELS slow)
  endif()
endfunction()

# tests/speed/NAME.cpp -> program speed_NAME, built on demand and in no test run: it prints what things cost on this machine.
function(invar_speed_programs module)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/speed/*.cpp)
  foreach(source ${sources})
    get_filename_component(name ${source} NAME_WE)
    add_executable(speed_${name} EXCLUDE_FROM_ALL ${source} ${CMAKE_SOURCE_DIR}/tests/main.cpp)
    target_include_directories(speed_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
    target_link_libraries(speed_${name} PRIVATE invar_${module} GTest::gtest)
  endforeach()
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
