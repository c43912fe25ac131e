# The two commands of the project, thin wrappers over the CMake presets (CMakePresets.json).
#   make run    installs what is missing, builds, and asks the demonstration model a question
#   make test   installs what is missing, builds, and runs every test
# Others: make build | dev | tsan | fuzz | lint | clean
.PHONY: all build run test dev tsan fuzz lint clean dependencies

QUESTION ?= My name is Mia and my favourite colour is green. What is the capital of France?

all: build

dependencies:
	@tools/install_dependencies.sh

build: dependencies
	@cmake --preset release >/dev/null
	@cmake --build --preset release

run: build
	build/release/invar run --temperature 0 "$(QUESTION)"

test: build
	@ctest --preset release

dev: dependencies
	@cmake --preset dev >/dev/null
	@cmake --build --preset dev
	@ctest --preset dev

tsan: dependencies
	@cmake --preset tsan >/dev/null
	@cmake --build --preset tsan --target test_cpu test_generate
	@ctest --preset tsan -R '^(cpu|generate)$$'

fuzz: dependencies
	@cmake --preset fuzz >/dev/null
	@cmake --build --preset fuzz

lint: dependencies
	@tools/lint.sh

clean:
	@rm -rf build
