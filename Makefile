# Every target works in .venv, which is made from requirements.lock on first use.
# The demo and the tests use servers of their own: nobody's cluster, profile or provider key is touched.
PYTHON ?= python3
BIN := .venv/bin
ISOLATED := env -u TEMPORAL_ADDRESS -u TEMPORAL_NAMESPACE -u TEMPORAL_API_KEY -u TEMPORAL_PROFILE \
	-u TEMPORAL_CONFIG_FILE -u GEMINI_API_KEY -u GOOGLE_API_KEY -u GOOGLE_GEMINI_BASE_URL \
	-u GAPLESS_GEMINI_API_KEY -u GAPLESS_GEMINI_BASE_URL -u GAPLESS_ENCRYPTION_KEY -u GAPLESS_LINK_HEADERS

.DEFAULT_GOAL := help
.PHONY: help demo test matrix check bench bench-links clean format lock

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

demo: .venv/.installed ## Audit a real documentation site, with an agent beside it and a worker killed on the way
	@$(ISOLATED) $(BIN)/python -m gapless_cli.demo

test: .venv/.installed ## Run the tests on a Temporal server of their own
	@$(ISOLATED) $(BIN)/python -m pytest --numprocesses 4 --dist worksteal $(ARGS)

matrix: .venv/.installed ## Play the fault matrix: 292 cases, about 6 minutes
	@$(ISOLATED) $(BIN)/python -m pytest -m matrix --numprocesses 2 tests/faults/test_matrix.py $(ARGS)

check: .venv/.installed ## Format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.installed ## Measure, and print what was measured: about 20 minutes
	@for name in billed_creates throughput waiting polls history; do \
		printf '\n# %s\n' $$name; $(ISOLATED) $(BIN)/python bench/$$name.py || exit; done

bench-links: .venv/.installed ## Measure the link audit beside other link checkers: about 15 minutes
	@$(ISOLATED) $(BIN)/python bench/links $(ARGS)

format: .venv/.installed ## Format the code and mend what can be mended by machine
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: .venv/.installed ## Renew requirements.lock from pyproject.toml
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--no-emit-find-links --upgrade --quiet --extra dev --output-file requirements.lock pyproject.toml
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--no-emit-find-links --upgrade --quiet --output-file bench/peers/requirements.txt bench/peers/requirements.in
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--no-emit-find-links --upgrade --quiet --output-file bench/links/requirements.txt bench/links/requirements.in

clean: ## Remove what was installed and built here
	rm -rf .venv .cache dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache gapless-report

.venv/.installed: requirements.lock pyproject.toml
	@echo "Setting up .venv (once, about a minute)" >&2
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Gapless needs Python 3.11 or newer; name one with make PYTHON=python3.12")'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
