# The tasks of this project. `make help` lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RUNS   := $(VENV)/.runs
STAMP  := $(VENV)/.installed
COMPILED := $(wildcard zone_ledger/book/*.p*) $(wildcard zone_ledger/*ing.py) zone_ledger/placement.py $(wildcard tegcore/*/*_sum.p*) $(wildcard tegcore/dynamics/splitting.p*) $(wildcard tegsim/policies/*_sum.p*)

.DEFAULT_GOAL := help
.PHONY: testbed docs install-host fuzz airlock-histories help install demo test test-all test-long check lint types crash sim load scale deb vm-image vm-test vm-test-all vagrant-box vagrant-zone bench-book bench-ledger bench-physics bench-oom bench-idle bench-waiting claims claims-quick clean

help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(RUNS): pyproject.toml setup.py $(COMPILED)
	@$(PYTHON) -c 'import sys; sys.exit("TEG needs Python 3.11 or newer: try make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	@$(PYTHON) install/environment.py $(VENV)
	@touch $@

$(STAMP): $(RUNS)
	@$(PYTHON) install/environment.py $(VENV) dev sim
	@touch $@

install: $(STAMP) ## make the virtual environment in .venv, with what a change needs

demo: $(RUNS) ## bring up the whole stack on this host and run twelve jobs; installs what runs, and no more
	@$(BIN)/tegctl demo

test: $(STAMP) ## run the tests that take seconds each: as any user, in ten minutes
	$(BIN)/pytest

test-all: $(STAMP) ## the same, and those marked slow, and the short ones in virtual machines
	$(BIN)/pytest -m "not vm and not long"
	$(MAKE) vm-test

test-long: $(STAMP) ## by hand: all that takes longer, for hours; PAGE=FILE (build/long.md) names the commit and what came of it
	$(BIN)/python tests/long.py $(or $(PAGE),build/long.md)

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(STAMP)
	$(BIN)/mypy

check: lint types test ## style, types and the quick tests; .ci/run is what a change must pass

docs: $(STAMP) ## make the diagrams and tables in docs/reference from the code
	$(BIN)/python -m docs.diagrams
	$(BIN)/python -m docs.tables

recordings: $(STAMP) ## print what docs/reference/money.md shows anew, by a real stack; SECTIONS names some: thirteen minutes
	$(BIN)/python -m docs.recordings $(SECTIONS)

fuzz: $(STAMP) ## draw what comes in through each door for SECONDS (60) each; DOORS names some of them
	PYTHONPATH=.:tests:tests/property $(BIN)/python tests/fuzz.py $(or $(SECONDS),60) $(DOORS)

airlock-histories: $(STAMP) ## put the airlock through 10,000 random histories of a host's memory
	TEG_HISTORIES=10000 $(BIN)/pytest -q -m "not vm" tests/property/test_pressure.py

sim: $(STAMP) ## run small clusters under faults: SEEDS of them from FIRST on; SCENARIO names what is run
	$(BIN)/python -m tegsim --seeds $(or $(SEEDS),20) --first $(or $(FIRST),1) --scenario $(or $(SCENARIO),swarm)

scale: $(STAMP) ## run a cluster of HOSTS hosts in zones, checked throughout; interrupted, it goes on; OUT=docs/scale adds it there
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tegsim.scale --hosts $(or $(HOSTS),1000) $(if $(OUT),--out $(OUT))

load: $(STAMP) ## run ordinary load on a small zone for simulated hours, a line of JSON a run; LOAD="--help" says what may be asked
	$(BIN)/python -m tegsim.load $(LOAD)

crash: $(STAMP) ## kill the ledger under load, 200 times
	TEG_KILLS=200 $(BIN)/pytest -m "not vm" tests/crash/test_ledger_kill.py

deb: $(STAMP) ## make a Debian package of this tree in build/
	$(BIN)/python install/deb.py build

install-host: deb ## install that package on this Debian 12 host (root); starts nothing
	apt-get install --yes --no-install-recommends --reinstall "./$$(ls -t build/teg_*.deb | head -1)"
	@echo 'TEG is installed. Protect this host alone: systemctl start tegd. A zone: docs/howto/install.md.'

vm-image: $(STAMP) ## make the image of the guest that vm-test runs in (root; once)
	PYTHONPATH=tests $(BIN)/python -m vm.image

vagrant-box: $(STAMP) ## make a box of the image for Vagrant, and add it (vagrant/README.md)
	vagrant/box "$$(PYTHONPATH=tests $(BIN)/python -m vm.image)" build

vagrant-zone: deb ## make what each machine of vagrant/ holds, for TEG_HOSTS hosts, in build/zone
	vagrant/prepare build/zone $(or $(TEG_HOSTS),2) build/teg_*.deb

testbed: $(STAMP) ## run a zone on three virtual machines: work that moves, lost machines, clocks; PAGE=FILE keeps the result
	TEG_TESTBED_PAGE=$(PAGE) $(BIN)/pytest -v -m vm tests/testbed

vm-test: $(STAMP) ## run the tests that need a machine of their own, in QEMU: each kind of promise, in ten minutes
	$(BIN)/pytest -m "vm and not vm_long" tests/vm

vm-test-all: $(STAMP) ## the same, and the ones that take long: half an hour
	$(BIN)/pytest -m vm tests/vm

bench-book: $(STAMP) ## measure the book: ns a command, growth with the zone, rivals
	$(BIN)/python -m bench.book

bench-ledger: $(STAMP) ## measure the ledger: orders a second, round trips, recovery, auctions
	$(BIN)/python -m bench.ledger

bench-physics: $(STAMP) ## measure field, agents and governor, settling and herd; THERMAL=DIR adds real series
	$(BIN)/python -m bench.physics $(if $(THERMAL),--thermal $(THERMAL))

bench-oom: $(STAMP) ## run out-of-memory scenarios in a guest; KIT=DIR names them, OOMBAR_WORK the folder of its image
	$(BIN)/python -m bench.oom $(KIT) $(SCENARIOS) $(OOM)

bench-idle: $(STAMP) ## measure what an idle stack costs a host
	$(BIN)/python -m bench.idle

bench-waiting: $(STAMP) ## measure how soon who waits starts when slots come free, also with parts started anew
	PYTHONPATH=tests $(BIN)/python -m bench.waiting

claims: $(STAMP) ## measure the paper's claims into docs/claims; TRACES=DIR names trace files, CLAIMS some of them
	$(BIN)/python -m tegsim.claims $(CLAIMS) $(if $(TRACES),--traces $(TRACES))

claims-quick: $(STAMP) ## the same in minutes: few seeds, small worlds
	$(BIN)/python -m tegsim.claims --quick $(CLAIMS) $(if $(TRACES),--traces $(TRACES))

clean: ## remove the environment and all that was built
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
