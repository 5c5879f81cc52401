# SPDX-License-Identifier: GPL-2.0-only
#
# What people type. "make help" lists it; everything that takes more than a line is in scripts/.
# Everything built is under build/. The module's own build is in Kbuild.

K	?= 6.1
T	?=
TIME	?=
N	?= 60
SEED	?=
CASES	?=
ROUNDS	?=
BRIEF	?=
V	?=
PREFIX	?= /usr/local
DESTDIR	?=

build	:= $(CURDIR)/build
# The running kernel, unless K says which: what install is about.
running	= $(if $(filter file,$(origin K)),local,$(K))
# Only if it was asked for: make has one of its own.
compiler = $(if $(filter command%,$(origin CC)),CC=$(CC))
source	= $(shell scripts/kernel source | sed 's/^source=//')

MAKEFLAGS += --no-print-directory
quiet	:= $(if $(V),,@)
silent	:= $(if $(V),,-s)

.PHONY: help
help: ## Show this
	@echo "evq: make TARGET [K=KERNEL] [T=PATTERN] [V=1]"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 16
	@echo
	@echo "K is one of $$(scripts/kernel --list | tr '\n' ' ')(default 6.1). T chooses tests: PROGRAM or PROGRAM:TEST,"
	@echo "with * for anything. V=1 shows more. A single command in the guest: scripts/vm --help."

.PHONY: all
all: module userspace selftests ## Build everything

.PHONY: setup
setup:
	@scripts/setup build source $(K)

.PHONY: module
module: setup ## Build build/K/evq.ko; CC=clang for clang's opinion (6.1)
	$(quiet)scripts/module $(K) $(compiler)

.PHONY: samples
samples: setup ## Build the modules that use evq.ko: samples, and those for tests
	$(quiet)scripts/module $(K) --in module/samples --in selftests/kernel \
		$(if $(filter debug,$(K)),--in selftests/kunit) $(compiler)

.PHONY: userspace
userspace: setup ## Build libevq and the evq command in build/userspace
	$(quiet)$(MAKE) $(silent) -C userspace O=$(build)/userspace PREFIX=$(PREFIX)

.PHONY: selftests
selftests: setup userspace ## Build the tests in build/selftests
	$(quiet)mkdir -p $(build)/selftests
	$(quiet)$(MAKE) $(silent) -C selftests OUTPUT=$(build)/selftests KSRC=$(source)

.PHONY: demo
demo: module userspace ## Boot a virtual machine and show evq at work
	@scripts/vm --kernel $(K) -- scripts/demo

.PHONY: check
check: module samples selftests ## Run the tests in a virtual machine
	@scripts/check --kernel $(K) $(if $(V),--verbose) $(if $(T),--only '$(T)')

.PHONY: coverage
coverage: K := debug
coverage: module samples selftests ## Run the tests on the debug kernel and say which lines of the module ran
	@scripts/coverage

.PHONY: soak
soak: module samples selftests ## Everything at once for TIME seconds (1800): nothing may wear out
	@scripts/soak --kernel $(K) $(if $(SEED),--seed $(SEED)) $(TIME)

.PHONY: mutate
mutate: module samples selftests ## Make N mistakes (60) in the module, chosen by SEED: do the tests notice?
	@scripts/mutate --kernel $(K) $(if $(SEED),--seed $(SEED)) $(N)

.PHONY: bench
bench: module ## Compare evq with what programs use today; CASES=patterns, ROUNDS=N, BRIEF=1
	@scripts/bench --kernel $(K) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(BRIEF),--brief) $(CASES)

.PHONY: shell
shell: module userspace ## A root shell in the same machine, evq loaded
	@scripts/vm --kernel $(K) -- bash -i || [ $$? -lt 96 ] # what the last command in a shell returned is no error

.PHONY: fuzz
fuzz: selftests ## Run programs at random on the debug kernel; TIME=seconds, SEED=, REPRO=file
	@scripts/fuzz --kernel $(if $(filter file,$(origin K)),debug,$(K)) --time $(or $(TIME),300) \
		$(if $(SEED),--seed $(SEED)) $(if $(REPRO),--repro $(REPRO))

.PHONY: lint
lint: ## Check style, types and interfaces
	@scripts/lint

.PHONY: model
model: ## Check models of the protocols with spin, and that they can fail
	@scripts/model

.PHONY: test-vm
test-vm: ## Test the virtual machine's own verdicts
	@scripts/test-vm --kernel $(K)

.PHONY: install
install: ## Install module and user space; DESTDIR and PREFIX are honoured
	$(quiet)scripts/module $(running)
	$(quiet)headers=$$(eval "$$(scripts/kernel $(running))" && echo "$$headers") && \
	$(MAKE) -s -C "$$headers" M=$(build)/$(running) INSTALL_MOD_DIR=updates \
		$(if $(DESTDIR),INSTALL_MOD_PATH=$(DESTDIR) DEPMOD=true) modules_install
	$(quiet)$(MAKE) -C userspace O=$(build)/userspace PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) install

.PHONY: uninstall
uninstall: ## Remove what install installed
	$(quiet)release=$$(eval "$$(scripts/kernel $(running))" && echo "$$release") && \
	rm -f "$(DESTDIR)/lib/modules/$$release/updates/evq.ko" && \
	$(if $(DESTDIR),true,depmod "$$release")
	$(quiet)aside=$$(mktemp -d) && trap 'rm -rf "$$aside"' EXIT && \
	$(MAKE) -s -C userspace O=$(build)/userspace PREFIX=$(PREFIX) DESTDIR="$$aside" install && \
	cd "$$aside" && find . ! -type d -printf '%P\0' | sed -z 's,^,$(DESTDIR)/,' | xargs -0 rm -f

.PHONY: clean
clean: ## Remove everything built
	$(quiet)rm -rf $(build)

.PHONY: distclean
distclean: clean ## ... and the cache of kernels, which all checkouts share
	$(quiet)scripts/kernel --forget
