# `make table` reproduces the comparison table, `make test` runs the tests, `make lab` opens
# JupyterLab.  Each sets everything up first: it needs Python 3.11 or later and make, no more.

PYTHON ?= python3
BIN := .venv/bin
RUN := $(BIN)/python
STAMP := .venv/.set-up
SEEDS ?= 1000
TEST_WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup table test test-full lab report swarm full-results bench lint lock clean

help:
	@echo "make table      reproduce the essay's comparison table (results/table)"
	@echo "make test       run the tests (make test-full: with the long ones)"
	@echo "make lab        open the notebooks in JupyterLab"
	@echo "make report     build the HTML report (results/report)"
	@echo "make swarm SEEDS=1000   seeded faults against Raft and Multi-Paxos, 100,000 damaged inputs"
	@echo "                        against the parsers; SEED=n replays one"
	@echo "make full-results  run the full presets whose result in data/full is missing or old (up to twenty minutes each on two cores)"
	@echo "make bench      run the benchmarks"
	@echo "make lint       ruff, mypy, import contracts"

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" sh .ci/set-up

table: $(STAMP)
	@$(BIN)/consensus-lab table

test: $(STAMP)
	@$(RUN) -m pytest -n $(TEST_WORKERS) -m "not full"

test-full: $(STAMP)
	@$(RUN) -m pytest -n $(TEST_WORKERS)

lab: $(STAMP)
	@$(BIN)/jupyter lab --notebook-dir=notebooks $(if $(filter 0,$(shell id -u)),--allow-root)

report: $(STAMP)
	@$(BIN)/consensus-lab report

swarm: $(STAMP)
	@$(RUN) -m tests.swarm $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))
	@$(if $(SEED),,$(RUN) -m tests.swarm.parsers)

full-results: $(STAMP)
	@$(RUN) -m consensus_lab.experiments.full_results

bench: $(STAMP)
	@for file in benchmarks/*.py; do echo "== $$file"; $(RUN) $$file || exit 1; done

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# The lock pins every version with its hashes; it names packages, never where they come from.
lock: $(STAMP)
	@$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-annotate --extra dev --no-emit-package consensus-lab \
	  pyproject.toml -o requirements.lock

clean:
	rm -rf .venv results build dist
