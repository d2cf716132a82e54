# wstap: the developer's commands. `make demo` and `make test` do all set-up themselves.

SHELL := /bin/bash
.DEFAULT_GOAL := build

# Installing packages and tapping processes need root; everything else does not.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
PEERS := target/peers
# How long `make fuzz` takes.
SECONDS := 60

BUILD_PACKAGES := clang gcc libc6-dev libelf-dev libssl-dev make pkg-config zlib1g-dev

.PHONY: attack build test-browsers deps-release release soak static kernel-matrix demo test test-crate test-install test-roots test-stacks bench fuzz check deps deps-test deps-bench lint fmt doc clean

build: deps
	cargo build --release

## One file without dynamic libraries, for containers and other machines.
STATIC_TARGET := $(shell uname -m)-unknown-linux-gnu
static: deps
	LIBBPF_SYS_LIBRARY_PATH=/usr/lib/$$(gcc -print-multiarch) RUSTFLAGS="-C target-feature=+crt-static" \
		cargo build --release --features static --bin wstap --target $(STATIC_TARGET)

## What is handed out, in target/release-files: one static binary, packages for Debian and Red Hat,
## man pages, completions, checksums and a bill of materials. Two runs are meant to give the same bytes; the
## release workflow compares them.
RELEASE := target/release-files
# When all is put together, no more copies are made: each crate is as fast as it was compiled (Cargo.toml says
# which are). lld, which Rust brings along for x86-64, makes one function of those with the same code, and packs
# the list of addresses that are set at start.
BY_LLD := -C link-arg=-Wl,--icf=all,-z,pack-relative-relocs
SMALLER := -C opt-level=s -C strip=symbols $(if $(filter x86_64,$(shell uname -m)),$(BY_LLD))
PACKAGERS := cargo-deb@3.8.0 cargo-generate-rpm@0.21.1 cargo-sbom@0.10.0
release: export SOURCE_DATE_EPOCH := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null),0)
release: deps deps-release
	LIBBPF_SYS_LIBRARY_PATH=/usr/lib/$$(gcc -print-multiarch) \
	RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=$(CURDIR)=/wstap --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo" \
		cargo rustc --locked --profile dist --features static --bin wstap --target $(STATIC_TARGET) -- $(SMALLER)
	cargo run --locked --example pages target/stage
	deploy/package target/$(STATIC_TARGET)/dist/wstap $(RELEASE)

deps-release:
	@dpkg -s jq >/dev/null 2>&1 || { $(SUDO) apt-get update -q && \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends jq; }
	@for packager in $(PACKAGERS); do \
		command -v $${packager%@*} >/dev/null || cargo install --locked $$packager || exit; \
	done

## The main job on a real wss workload: server, client, tap, table.
demo: deps
	cargo build --release --bin wstap --example demo
	$(SUDO) target/release/examples/demo target/release/wstap

## Everything that must hold: format, lints, documentation, all tests.
test: deps deps-test check test-crate
	cargo test --workspace
	$(MAKE) fuzz SECONDS=10

## Feeds hostile input to the decoder, the protocol rules and the ELF planner.
fuzz: deps
	cargo run --release --manifest-path fuzz/Cargo.toml --target-dir target --bin mutate -- --seconds $(SECONDS)

## The figures: cost to the target, rates, memory, start, decoding, scraping. Needs a quiet machine.
bench: deps deps-test deps-bench
	cargo build --release --benches
	$(SUDO) env PATH="$$PATH" cargo bench --bench tap
	cargo bench --bench decode
	cargo bench --bench export
	cargo bench --bench replay

## For comparison in the benchmarks: bpftrace, and a Rust program with OpenSSL linked into it.
deps-bench:
	@dpkg -s bpftrace >/dev/null 2>&1 || { $(SUDO) apt-get update -q && \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends bpftrace; }
	cargo build --release --manifest-path benches/vendored/Cargo.toml --target-dir target/vendored

check: fmt lint doc

fmt:
	cargo fmt --all --check

lint:
	cargo clippy --workspace --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --workspace --no-deps --document-private-items

deps:
	@missing=$$(for p in $(BUILD_PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		echo "installing: $$missing"; \
		$(SUDO) apt-get update -q && \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing; \
	fi

## Real peers for the tests: Python, Node.js, Go, Rust and C with their WebSocket and TLS libraries,
## nginx, HAProxy, nghttpx, kamailio, Prometheus. tests/peers/Makefile has the rules.
MAKE_PEERS := $(MAKE) -f tests/peers/Makefile PEERS=$(PEERS)
deps-test: deps
	$(MAKE_PEERS) all

## Debian's kernels from 5.10 (which must be refused) to the newest, under software emulation.
KERNELS := target/kernels
KERNEL_PACKAGES := busybox-static cpio file qemu-system-x86
kernel-matrix: static
	$(MAKE_PEERS) static
	@missing=$$(for p in $(KERNEL_PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		$(SUDO) apt-get update -q && $(SUDO) apt-get install -y -q --no-install-recommends $$missing; \
	fi
	tests/kernels/fetch $(KERNELS) bullseye bookworm bookworm-backports trixie sid
	tests/kernels/run $(KERNELS) target/$(STATIC_TARGET)/release/wstap $(PEERS)/wss_pair_static

## What `make release` made, in bare roots of Debian 12 and 13 and of Alpine, in one that holds nothing else, and
## as an image: docs/results/roots.md has what it showed last. Then what README says, done by the book in a bare
## root.
ROOT_PACKAGES := buildah curl debootstrap e2fsprogs iproute2 python3-pip qemu-utils
test-roots: release
	$(MAKE_PEERS) static
	@missing=$$(for p in $(ROOT_PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		$(SUDO) apt-get update -q && $(SUDO) apt-get install -y -q --no-install-recommends $$missing; \
	fi
	$(SUDO) env PATH="$$PATH" tests/release/roots target/roots $(RELEASE) bookworm trixie alpine empty
	$(SUDO) tests/release/image $(PEERS)/wss_pair_static
	$(SUDO) tests/release/roots target/roots $(RELEASE) readme

## The crates as they would be published: packed, unpacked elsewhere, and compiled there.
test-crate: deps
	tests/release/crate check

## The same with `cargo install`, from the sources and from what was packed: what is installed must start.
test-install: deps
	tests/release/crate install

## Tests that are too large for `make test`: browsers, other runtimes, every ELF image installed.
## docs/results/stacks.md has what it showed last.
SURVEYED := /usr/bin /usr/sbin /usr/lib $(PEERS)
test-stacks: deps
	$(MAKE_PEERS) heavy
	$(SUDO) env PATH="$$PATH" WSTAP_STACKS=1 \
		cargo test --test integration heavy_ -- --nocapture --test-threads 1
	cargo run --release -p wstap-symbols --example survey -- $(SURVEYED)

## The page in five browsers at a time, one of them stopped. docs/results/page.md has what it showed last.
test-browsers: deps deps-test
	$(SUDO) env PATH="$$PATH" WSTAP_BROWSERS=1 \
		cargo test --test integration heavy_five_browsers -- --nocapture --test-threads 1

## What neighbours and targets can do to wstap, for longer than in the tests: docs/results/attacks.md
## has the last result.
attack: deps deps-test
	$(SUDO) env PATH="$$PATH" WSTAP_LONG=1 cargo test --test integration -- --include-ignored --nocapture \
		writing:: hostile:: started:: scale:: fibers::

## A Go server under load, tapped and let go fifty times: docs/results/soak.md has the last result.
MINUTES := 10
soak: build
	$(MAKE_PEERS) soak
	$(SUDO) python3 tests/soak.py target/release/wstap $(PEERS)/go/soak --minutes $(MINUTES)

clean:
	cargo clean
