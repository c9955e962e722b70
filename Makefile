# Two commands do all the set-up: `make dev` runs Gifster, `make test` tests it.
.PHONY: help dev test test-all check lint docs audit format bench pictures clients chaos decoders hostile demo screenshots constraints clean
.DEFAULT_GOAL := help

PORT ?= 8000
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
CLIENTS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/gifster/clients
OSV := https://api.osv.dev
BIN := $(VENV)/bin
# Any pip from Python 3.11's on can do this: it reads no extras and no groups, only locked versions.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps
LOCK := $(VENV)/lock/bin/uv pip compile --quiet --universal --python-version 3.11 \
	--fork-strategy fewest --generate-hashes --no-annotate --no-header --no-emit-package pip \
	pyproject.toml --extra server --group build

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' Makefile

dev: $(VENV)/.run ## Run everything on this machine (PORT=8000), reloading changed code; Ctrl-C stops it
	@exec $(BIN)/gifster dev --watch --port $(PORT)

test: $(VENV)/.dev ## Run all tests, and list the slowest (ARGS="tests/jobs" for one room's)
	@$(BIN)/python -m pytest --durations=20 $(ARGS)

test-all: $(VENV)/.dev ## Run all tests on all servers with every generated example, as .ci/run does
	@CI=true $(BIN)/python -m pytest --durations=20 $(ARGS)

check: lint ## Check style, types, imports, and run the tests that start no processes
	@$(BIN)/python -m pytest -n logical -m "not process" --durations=5 $(ARGS)

lint: $(VENV)/.dev ## Check style, types, the direction of imports, and that public names are described
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m docs.building names

docs: $(VENV)/.docs ## Build the docs site, which site/index.html begins; it can be read offline
	@$(BIN)/python -m docs.building
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@$(BIN)/python -m docs.building check
	@echo "the docs are in site/index.html"

audit: $(VENV)/.dev ## Look for known vulnerabilities in the versions that constraints*.txt name
	@$(BIN)/python -c 'import requests; requests.head("$(OSV)", timeout=10)' 2>/dev/null \
		|| { echo "audit: not done, $(OSV) cannot be reached from here"; exit 0; } \
		&& $(BIN)/pip-audit --vulnerability-service osv --osv-url $(OSV)/v1/query --disable-pip \
			--progress-spinner off -r constraints.txt -r constraints-dev.txt -r constraints-docs.txt

format: $(VENV)/.dev ## Format the code
	$(BIN)/ruff format --quiet .
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## Measure all, in over an hour, and write docs/performance.md (ARGS="--quick relay"; ARGS=--help)
	$(BIN)/python -m bench $(if $(DIR),--folder $(DIR)) $(ARGS)

bench-%: $(VENV)/.dev  # one of its sections
	$(BIN)/python -m bench $(if $(DIR),--folder $(DIR)) $(ARGS) $*

pictures: $(VENV)/.dev ## Try the pictures of a folder, and compare them with Chromium (DIR=FOLDER, ARGS="--all")
	@$(BIN)/python -m bench.pictures $(DIR) $(ARGS)

clients: ## Install clients of Tenor, GIPHY and tus for the tests of the API, outside this folder (needs Node)
	@mkdir -p $(CLIENTS)
	@cp tests/api/dropin/clients/package.json tests/api/dropin/clients/package-lock.json $(CLIENTS)
	@npm --prefix $(CLIENTS) ci --ignore-scripts --legacy-peer-deps --no-audit --no-fund --silent
	@for name in giphpy others maubot; do \
		$(PYTHON) -m venv $(CLIENTS)/$$name && \
		$(CLIENTS)/$$name/bin/python -m pip --disable-pip-version-check install --quiet --no-deps \
			--require-hashes --requirement tests/api/dropin/clients/$$name.txt && \
		cp tests/api/dropin/clients/$$name.txt $(CLIENTS) || exit 1; done
	@mkdir -p $(CLIENTS)/direct
	@cp tests/api/direct/clients/package.json tests/api/direct/clients/package-lock.json $(CLIENTS)/direct
	@npm --prefix $(CLIENTS)/direct ci --ignore-scripts --no-audit --no-fund --silent

chaos: $(VENV)/.dev ## Kill, starve and cut off everything under a stream of uploads (ARGS="--only kills")
	@$(BIN)/python -m chaos $(ARGS)

decoders: $(VENV)/.dev ## Give the image engine bombs, and thousands of damaged images (ARGS="--seed 2")
	@$(BIN)/python -m chaos.decoders $(ARGS)

hostile: $(VENV)/.dev ## Send ten thousand hostile requests, and attack connections, on both databases (ARGS="--seed 2")
	@$(BIN)/python -m chaos.hostile $(ARGS)

screenshots: $(VENV)/.dev ## Take the pictures of pages in docs/images, with sample GIFs
	@$(BIN)/python -m docs.building.screenshots

demo: $(VENV)/.run ## Make sample GIFs and upload them to a running `make dev` (PORT=8000)
	@$(BIN)/gifster demo --port $(PORT)

constraints: ## Lock the newest versions of all dependencies (KEEP=1 changes no version that fits)
	@rm -rf $(VENV)/lock && $(PYTHON) -m venv $(VENV)/lock
	@$(VENV)/lock/bin/pip --disable-pip-version-check install --quiet uv
	@$(if $(KEEP),,rm -f constraints.txt constraints-dev.txt)
	@$(LOCK) --output-file constraints.txt
	@$(LOCK) --group dev --constraint constraints.txt --output-file constraints-dev.txt \
		$$(sed -nE 's/^([a-z0-9.-]+)==.*/--no-emit-package \1/p' constraints.txt)
	@$(LOCK) --group docs --constraint constraints-dev.txt --output-file constraints-docs.txt \
		--constraint constraints.txt \
		$$(sed -nE 's/^([a-z0-9.-]+)==.*/--no-emit-package \1/p' constraints.txt)
	@rm -rf $(VENV)/lock

clean: ## Remove the virtual environment (var/, your data, stays)
	rm -rf $(VENV)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "gifster needs Python 3.11 or newer, and no python3 here is: set PYTHON=/path/to/python" >&2; exit 1; }
	@echo "making a virtual environment with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) has no working venv module (on Debian: apt install python3-venv)" >&2; rm -rf $(VENV); exit 1; }

$(VENV)/.run: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing what gifster needs"
	@$(PIP) --require-hashes --requirement constraints.txt
	@rm -rf gifster.egg-info  # an old one would say what an old release needs
	@$(PIP) --no-build-isolation --no-index --editable .
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml constraints.txt constraints-dev.txt
	@echo "installing what gifster and its tests need"
	@$(PIP) --require-hashes --requirement constraints.txt --requirement constraints-dev.txt
	@rm -rf gifster.egg-info  # an old one would say what an old release needs
	@$(PIP) --no-build-isolation --no-index --editable .
	@touch $@ $(VENV)/.run

$(VENV)/.docs: $(VENV)/.run constraints-docs.txt
	@echo "installing what builds the docs"
	@$(PIP) --require-hashes --requirement constraints-docs.txt
	@touch $@
