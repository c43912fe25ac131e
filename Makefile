# The two commands of the project, thin wrappers over the CMake presets (CMakePresets.json).
#   make run    installs what is missing, builds, and asks the demonstration model a question
#   make test   installs what is missing, builds, and runs every test
# Others: make build | check (installs what dev, tsan, fuzz and lint need) | dev | tsan | fuzz | lint | clean
.PHONY: all build run test check dev tsan fuzz lint clean

QUESTION ?= My name is Mia and my favourite colour is green. What is the capital of France?

all: build

build:
	@tools/install_dependencies.sh build
	@cmake --preset release -DINVAR_TESTS=OFF >/dev/null
	@cmake --build --preset release

run: build
	build/release/invar run --temperature 0 "$(QUESTION)"

test:
	@tools/install_dependencies.sh test
	@cmake --preset release -DINVAR_TESTS=ON >/dev/null
	@cmake --build --preset release
	@ctest --preset release

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
