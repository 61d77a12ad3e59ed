# SPDX-License-Identifier: BSD-3-Clause
# Thin front of meson: "make help" lists what there is.
BUILD ?= build
NINJA = ninja -C $(BUILD) --quiet

.PHONY: all setup demo test test-kernel bench scale clean help

all:
	@scripts/setup build
	@scripts/configure $(BUILD)
	@$(NINJA)

setup:
	@scripts/setup all

demo: setup
	@$(MAKE) --no-print-directory all
	@scripts/demo $(BUILD)

test: setup
	@scripts/test

# ROW="text" measures the rows with that in their names only.
bench: all
	@scripts/setup guest || echo "bench: goes on without QEMU"
	@scripts/setup guest-arm64 || echo "bench: goes on without QEMU for Arm"
	@$(NINJA) bench/bench_micro
	@bench/run.py $(BUILD) $(if $(ROW),--only "$(ROW)")

scale: all
	@$(NINJA) bench/bench_scale
	@mkdir -p $(BUILD)/bench
	@$(BUILD)/bench/bench_scale --json $(BUILD)/bench/scale.json

test-kernel: all
	@scripts/test-kernels

clean:
	rm -rf build build-*

help:
	@echo "make         build $(BUILD)/nestor and $(BUILD)/libnestor.so"
	@echo "make demo    set up, build, and run the main job: a Linux guest's I/O behind a nested IOMMU"
	@echo "make test    set up, build, and run every test; ends with \"N passed, N failed\""
	@echo "make bench   what things cost, beside QEMU and the least possible; ROW=\"text\": only rows so named"
	@echo "make scale   how costs grow with devices, PASIDs, cached pages and virtual processors"
	@echo "make test-kernel  ask the software host and Linux on x86_64 and arm64 (in QEMU) the same questions"
	@echo "make setup   only get what is missing: packages, QEMU, guest kernel"
	@echo "make clean   remove the build directories (the cache of \"make setup\" stays)"
