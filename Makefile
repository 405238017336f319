# Everything a person or CI does here, each target setting up what it needs.
#
#   make setup          a virtual environment with what trainyard needs to run
#   make demo           ... and the quickstart experiment, to the end
#   make test           ... and what developers need, then the tests
#   make bench          ... and the measurements of benchmarks/, and their page
#   make check          ... format, lint, types, import directions
#   make fuzz           ... 20,000 mutated specs, each of which must be planned or refused
#   make chaos          ... hundreds of trials under random kills, and the long tests
#
# PYTHON=python3.12 make setup    builds on another Python (3.11 or newer)

SHELL = /bin/sh
.DEFAULT_GOAL = help

PYTHON ?= python3
PYTEST_ARGS ?=
VENV = .venv
BIN = $(VENV)/bin
UV = $(BIN)/uv
# Compiled now, in parallel, or every worker process would do it again: half of a cold start.
UV_INSTALL = $(UV) pip install --quiet --compile-bytecode --python $(BIN)/python

# Compiled at set-up, too: where Python may write no bytecode, every start would do it again.
PACKAGES = experiments workers orchestrator dashboards trainyard

# A stamp says that a set of requirements is installed; it is older than what it stands
# for as soon as the requirements or the package's own facts change.
BOOTSTRAPPED = $(VENV)/.bootstrapped
RUNTIME = $(VENV)/.runtime-installed
DEVELOPMENT = $(VENV)/.development-installed

DEMO_HOME = $(CURDIR)/.demo
DEMO_SPEC = experiments/recipes/quickstart.yaml

# How many mutants, of which seed: make fuzz MUTANTS=1000 SEED=7
MUTANTS ?= 20000
SEED ?= 1

# How many trials are trained under random kills, on which database (sqlite, postgresql, both),
# and killed when: make chaos TRIALS=40 DATABASE=sqlite SEED=7
TRIALS ?= 500
DATABASE ?= both

# Which of benchmarks/*.py to run: make bench BENCH="digits_grid ..."
BENCH ?= cold_start digits_grid lenet_mnist resnet_cifar fused_equals_plain noop metrics queue report verdicts

.PHONY: help setup demo test fuzz chaos bench bench-page check format docs requirements hooks clean

help:
	@echo 'make setup          install trainyard and what it needs into $(VENV)'
	@echo 'make demo           train the quickstart experiment, rank its variants, write its report'
	@echo 'make test           run the tests   (PYTEST_ARGS="-k queue" for some of them)'
	@echo 'make fuzz           plan 20,000 mutated specs  (MUTANTS=1000 SEED=7 for others)'
	@echo 'make chaos          kill everything at random  (TRIALS=40 DATABASE=sqlite SEED=7 for less)'
	@echo 'make bench          measure, and keep the figures in benchmarks/results  (BENCH="noop ...")'
	@echo 'make bench-page     write docs/benchmarks.md from the figures that are kept'
	@echo 'make check          format, lint, types, import directions'
	@echo 'make format         mend what ruff can mend by itself'
	@echo 'make docs           write the pages of docs/ that follow from the tables'
	@echo 'make hooks          run make check before every git commit'
	@echo 'make requirements   pin the newest allowed versions'
	@echo 'make clean          remove all that these targets made, $(VENV) and the demo included'

setup: $(RUNTIME)
	@echo 'trainyard is installed: $(BIN)/trainyard --help. Next: make demo'

demo: $(RUNTIME)
	@TRAINYARD_HOME="$${TRAINYARD_HOME:-$(DEMO_HOME)}"; export TRAINYARD_HOME; \
	echo "Training $(DEMO_SPEC); its results will lie in $$TRAINYARD_HOME"; \
	$(BIN)/trainyard run $(DEMO_SPEC) && \
	$(BIN)/trainyard leaderboard quickstart && \
	echo && \
	$(BIN)/trainyard report quickstart && \
	echo && \
	echo 'Look further:' && \
	echo "  export TRAINYARD_HOME='$$TRAINYARD_HOME'" && \
	echo '  $(BIN)/trainyard trials quickstart    one row a trial' && \
	echo '  $(BIN)/trainyard mlflow               every curve and model, in the browser'

test: $(DEVELOPMENT)
	@$(BIN)/python -m pytest -q $(PYTEST_ARGS)

fuzz: $(DEVELOPMENT)
	@$(BIN)/python -m tests.fuzz.campaign --count $(MUTANTS) --seed $(SEED)

# The tests that take too long for `make test`, then the figures of benchmarks/results/chaos_*.json.
chaos: $(DEVELOPMENT)
	@$(BIN)/python -m pytest -q -s -m chaos $(PYTEST_ARGS)
	@$(BIN)/python -m tests.chaos.campaign --trials $(TRIALS) --database $(DATABASE) --seed $(SEED)

bench: $(DEVELOPMENT)
	@for name in $(BENCH); do $(BIN)/python -m benchmarks.$$name || exit 1; done
	@$(BIN)/python -m benchmarks.page

bench-page: $(DEVELOPMENT)
	@$(BIN)/python -m benchmarks.page

check: $(DEVELOPMENT)
	$(BIN)/ruff format --check --quiet
	$(BIN)/ruff check --quiet
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports --no-logo

format: $(DEVELOPMENT)
	$(BIN)/ruff check --fix --quiet || true
	$(BIN)/ruff format --quiet
	$(BIN)/ruff check

docs: $(RUNTIME)
	@$(BIN)/python -m trainyard.handbook

hooks: $(DEVELOPMENT)
	$(BIN)/pre-commit install

# One resolution for every platform and Python, without the address it came from.
COMPILE = $(UV) pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 \
	--fork-strategy fewest --no-annotate --no-emit-index-url --custom-compile-command 'make requirements'

requirements: $(BOOTSTRAPPED)
	$(COMPILE) --output-file requirements/runtime.txt
	$(COMPILE) --group development --constraint requirements/runtime.txt \
		--output-file requirements/development.txt
	@echo 'Pinned. Next: make check test'

$(BOOTSTRAPPED): requirements/bootstrap.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		found=$$($(PYTHON) --version 2>/dev/null || echo 'not to be found'); \
		echo "trainyard needs Python 3.11 or newer; '$(PYTHON)' is $$found." >&2; \
		echo "Name another one: make setup PYTHON=python3.12" >&2; \
		exit 1; }
	@echo 'Making $(VENV) with $(PYTHON)'
	@$(PYTHON) -m venv $(VENV) || { \
		rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment. On Debian and Ubuntu, install" >&2; \
		echo "its other half (apt-get install python3-venv) and try again." >&2; \
		exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/bootstrap.txt
	@touch $@

$(RUNTIME): $(BOOTSTRAPPED) requirements/runtime.txt pyproject.toml
	@echo 'Installing what trainyard needs (5 GB, most of it torch)'
	@$(UV_INSTALL) -r requirements/runtime.txt
	@$(UV_INSTALL) --no-deps --editable .
	@$(BIN)/python -m compileall -q $(PACKAGES)
	@touch $@

$(DEVELOPMENT): $(RUNTIME) requirements/development.txt
	@echo 'Installing what developers need'
	@$(UV_INSTALL) -r requirements/development.txt
	@touch $@

clean:
	rm -rf $(VENV) $(DEMO_HOME) build dist *.egg-info
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
