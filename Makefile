# Each target does its own set-up on a fresh machine that has Python >= 3.11 and make.
PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
	$(p) -c 'import sys; sys.version_info >= (3, 11) and print("$(p)")' 2>/dev/null)))
BIN := .venv/bin
STAMP := .venv/.installed
ARGS ?=

.PHONY: help run study report test test-all lint format types bench clean

help:
	@echo 'make run [ARGS="optimizer=gd num_steps=300"]   the main job, into a new folder below runs/'
	@echo 'make study ARGS=experiment=rectification         a study of another kind, as far as it is not done'
	@echo 'make report ARGS=runs/papers_small               a page and figures of what is below a folder'
	@echo 'make test | test-all        the tests without | with the slow ones'
	@echo 'make lint | format | types  ruff check, rewrite with ruff, pyright'
	@echo 'make bench                  print the numbers that the README quotes'
	@echo 'make clean                  remove what make and Python leave behind (runs/ stays)'

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "rodflow needs Python >= 3.11; name it with make PYTHON=..." >&2; exit 1; }
	test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@

run: $(STAMP)
	$(BIN)/python -m experiments run $(ARGS)

study: $(STAMP)
	$(BIN)/python -m experiments study $(ARGS)

report: $(STAMP)
	$(BIN)/python -m experiments report $(ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 $(ARGS)

test-all: $(STAMP)
	$(BIN)/python -m pytest -n 2 -m "" $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)
	$(BIN)/pyright

bench: $(STAMP)
	$(BIN)/python -m experiments bench $(ARGS)

clean:
	rm -rf .venv .pytest_cache .ruff_cache build dist *.egg-info
	find rodflow experiments tests -name __pycache__ -type d -prune -exec rm -rf {} +
