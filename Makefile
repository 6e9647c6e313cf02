# SPDX-License-Identifier: MIT
# The few words a person types; `make list` names them. CMakeLists.txt is the build itself.

BUILD ?= build
PREFIX ?= /usr/local
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
CMAKE_FLAGS ?=
FUZZ_SECONDS ?= 10
MAKEFLAGS += --no-print-directory

# $(call build,FOLDER,FLAGS) configures, quietly but for notices, and builds.
build = cmake -S . -B $(1) --log-level=NOTICE $(CMAKE_FLAGS) $(2) >/dev/null && \
        cmake --build $(1) --parallel $(JOBS)

.PHONY: all demo test check site bench asan tsan fuzz headers format install deb clean list

all: ## build the libraries and the command into build/
	@$(call build,$(BUILD),-DEVENKEEL_TESTS=OFF)

demo: ## train the book's BN-LeNet on Fashion-MNIST, ten epochs, and evaluate it
	@tools/setup demo
	@$(MAKE) all
	@mkdir -p $(BUILD)/demo
	$(BUILD)/evenkeel train --data fashion-mnist --out $(BUILD)/demo/bn-lenet.safetensors
	$(BUILD)/evenkeel eval $(BUILD)/demo/bn-lenet.safetensors

test: ## build and run every test
	@tools/setup test
	@$(call build,$(BUILD),-DEVENKEEL_TESTS=ON)
	@tests/run --build $(BUILD)

check: ## style, include directions, headers alone, static analysis: under a minute
	@tools/setup ci
	@tools/check

site: ## the documents, the header and the command's help as a site, build/site/index.html
	@tools/setup test
	@$(MAKE) all
	@docs/site/build.py --evenkeel $(BUILD)/evenkeel --out $(BUILD)/site
	@docs/site/links.py $(BUILD)/site
	@echo $(BUILD)/site/index.html

bench: ## the speed tables, PyTorch's beside ours where it is installed: quiet machine, some minutes
	@tools/setup test
	@$(MAKE) all
	@cmake --build $(BUILD) --target bench_programs
	bench/run.py --evenkeel $(BUILD)/evenkeel
	bench/predict.py --evenkeel $(BUILD)/evenkeel
	$(BUILD)/bench/bench_norm
	bench/process.py --evenkeel $(BUILD)/evenkeel
	bench/watched.py --evenkeel $(BUILD)/evenkeel

asan: ## the tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@tools/setup test
	@$(call build,build/asan,-DEVENKEEL_TESTS=ON "-DEVENKEEL_SANITIZE=address;undefined" "-DEVENKEEL_KERNELS=avx2;neon")
	@EVENKEEL_TEST_QUICK=1 tests/run --build build/asan

# Where threads meet. The rest starts none, or runs the same trainings again, slowly.
THREADED = test_base test_help test_predictor test_train test_skip test_exact_fit test_optimizer test_input test_data_stream test_golden_ \
           kernels/bits kernels/test_plain_norm

tsan: ## the tests that start threads under ThreadSanitizer
	@tools/setup test
	@$(call build,build/tsan,-DEVENKEEL_TESTS=ON -DEVENKEEL_SANITIZE=thread "-DEVENKEEL_KERNELS=avx2;neon")
	@EVENKEEL_TEST_QUICK=1 tests/run --build build/tsan $(THREADED)

fuzz: ## each fuzz target for FUZZ_SECONDS (10) from its corpus
	@tools/setup ci
	@$(call build,build/fuzz,-DCMAKE_C_COMPILER=clang -DEVENKEEL_FUZZ=ON "-DEVENKEEL_SANITIZE=address;undefined" -DEVENKEEL_KERNELS=)
	@tools/fuzz build/fuzz $(FUZZ_SECONDS)

headers: ## compile each public header alone, as C11 and as C++17
	@tools/check-headers

format: ## rewrite the C sources the way clang-format wants them
	@tools/setup ci
	@clang-format-14 -i $$(git ls-files '*.c' '*.h' '*.cpp' '*.hpp')

install: ## install into PREFIX (/usr/local), below DESTDIR; builds where nothing is built: root need not
	@test -f $(BUILD)/cmake_install.cmake || $(MAKE) all
	@cmake --install $(BUILD) --prefix "$(PREFIX)"

deb: ## Debian packages into build/deb, compiled from the start out of a copy (minutes), and what lintian says of them
	@tools/setup deb
	@packaging/deb build/deb
	@lintian --allow-root --fail-on error,warning build/deb/*.changes

clean: ## remove build/, or BUILD
	@rm -rf "$(BUILD)"

list: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 12
