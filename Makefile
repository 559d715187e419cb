# Two commands matter: `make run` (a cloud on this machine) and `make test` (everything that must hold).

SHELL := /bin/bash
IMAGES := .build/images
CARGO := cargo
export CARGO_TERM_COLOR ?= auto

.PHONY: help setup build images test run stop clean-host lab bench deny
help:
	@echo "make run         install what is missing, build, start a cloud here, show a container and a VM talking"
	@echo "make stop        stop controld and agentd; what they started goes on running"
	@echo "make clean-host  remove everything that agentd owns on this host, and nothing else"
	@echo "make test        formatting, lints, unit, property and multi-host tests; needs root"
	@echo "make lab         run make run inside an emulated stock Debian node, print the transcript"
	@echo "make bench       the numbers, beside their peers'"
	@echo "make deny        licences and advisories of the dependencies (needs cargo-deny)"

setup:
	scripts/install-packages build run test

build: setup
	$(CARGO) build --locked --workspace --bins

images: setup $(IMAGES)/container.tar $(IMAGES)/vm.qcow2
$(IMAGES)/container.tar: tests/images/container-image.sh
	mkdir -p $(IMAGES)
	tests/images/container-image.sh $@
$(IMAGES)/vm.qcow2: tests/images/vm-image.sh
	mkdir -p $(IMAGES)
	tests/images/vm-image.sh $@

# One feature selection for every step, so that each dependency is compiled once per kind.
test:
	@[ "$$(id -u)" = 0 ] || { echo "make test: the tests make namespaces and start daemons: run as root" >&2; exit 1; }
	$(MAKE) images
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) test --locked --workspace

run:
	scripts/run

stop:
	scripts/stop

clean-host:
	scripts/clean-host

lab:
	scripts/install-packages build run lab
	scripts/lab/lab

bench: setup
	scripts/install-packages bench
	$(CARGO) build --locked --release --bins -p controld -p agentd
	benches/run

deny:
	$(CARGO) deny --locked check
