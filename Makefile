# make check        all that must hold before a change is taken (CI runs this)
# make test         the tests alone
# make bench        every figure of the project, beside its peers: about 40 minutes
# make bench-quick  the same with small numbers: two minutes
# make fuzz         the property tests with many more cases (CASES=20000)
# make install      into $(PREFIX) (/usr/local): the program, units, manual pages, completions

CARGO  ?= cargo
PREFIX ?= /usr/local
CASES  ?= 20000
NEXTEST := $(shell $(CARGO) nextest --version 2>/dev/null)
DENY    := $(shell $(CARGO) deny --version 2>/dev/null)

.PHONY: check fmt lint doc deny test bench bench-quick readiness-matrix bench-build fuzz build install units clean

check: fmt lint doc deny test

fmt:
	$(CARGO) fmt --check

lint:
	$(CARGO) clippy --locked --all-targets -- --deny warnings
	$(CARGO) clippy --locked --no-default-features --features app --lib --example counter -- --deny warnings

doc:
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --locked --no-deps --lib --features app

deny:
ifdef DENY
	$(CARGO) deny --offline check bans licenses sources
else
	@echo "cargo-deny is not installed: tests/tidy checks sources, licences and unused dependencies"
endif

test:
ifdef NEXTEST
	$(CARGO) nextest run --locked
	$(CARGO) test --locked --doc --features app
else
	$(CARGO) test --locked
endif

fuzz:
	PROPTEST_CASES=$(CASES) $(CARGO) test --locked --release --lib

bench: bench-build
	python3 bench/run.py

bench-quick: bench-build
	python3 bench/run.py --quick

# Runtime × situation: what showed readiness, and whether it was true (an hour; STARTS=20 for less).
readiness-matrix: bench-build
	python3 bench/matrix.py --starts $(or $(STARTS),200)

# The program alone, as it is installed: examples bring features of tokio along that it does without.
bench-build:
	$(CARGO) build --locked --release --example server --example load
	$(CARGO) build --locked --release --bin handover

build:
	$(CARGO) build --locked --release

install: build
	install -D -m 0755 target/release/handover $(DESTDIR)$(PREFIX)/bin/handover
	target/release/handover man $(DESTDIR)$(PREFIX)/share/man/man1
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	target/release/handover completions bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/handover
	target/release/handover completions zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_handover
	target/release/handover completions fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/handover.fish
	$(MAKE) units

units:
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	for unit in handover@.service handover@.socket; do \
		sed 's|/usr/local/bin/|$(PREFIX)/bin/|' "systemd/$$unit" > "$(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit" || exit 1; \
	done

clean:
	$(CARGO) clean
