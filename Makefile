# Each target does its own set-up on a fresh machine that has Python >= 3.11 and make.
PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
	$(p) -c 'import sys; sys.version_info >= (3, 11) and print("$(p)")' 2>/dev/null)))
BIN := .venv/bin
STAMP := .venv/.installed
SITE := docs/_build/html
ARGS ?=

.PHONY: help run study sweep search report bench results test test-all docs lint format types clean

help:
	@echo 'make run [ARGS="optimizer=gd num_steps=300"]   one optimizer on one problem, into a new folder below runs/'
	@echo 'make study ARGS=study=rectification             a question or a grid of runs, as far as it is not done'
	@echo 'make sweep ARGS=...                             lanes of a run, as far as they are not done'
	@echo 'make search ARGS=papers                         learning rates at which a grid reaches the edge'
	@echo 'make report ARGS=runs/papers_small              a page and figures of what is below a folder'
	@echo 'make bench [ARGS="cost memory"]                 measure speed, memory and accuracy, and print them'
	@echo 'make results WHAT=papers_small                  measure, and keep the results in results/ as data'
	@echo '  ARGS=--help says what each of these can be given'
	@echo 'make test | test-all        the tests without | with the slow ones'
	@echo 'make docs                   build the documentation into docs/_build/html, notebooks included'
	@echo 'make lint | format | types  ruff check, rewrite with ruff, pyright'
	@echo 'make clean                  remove what make and Python leave behind (runs/ stays)'

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "rodflow needs Python >= 3.11; name it with make PYTHON=..." >&2; exit 1; }
	test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@

run study sweep search report bench: $(STAMP)
	$(BIN)/python -m experiments $@ $(ARGS)

results: $(STAMP)
	$(BIN)/python -m experiments results $(WHAT) $(ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 $(ARGS)

test-all: $(STAMP)
	$(BIN)/python -m pytest -n 2 -m "" $(ARGS)

docs: $(STAMP)
	$(BIN)/sphinx-build --fail-on-warning --nitpicky --quiet docs $(SITE)
	@echo "open $(SITE)/index.html"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)
	$(BIN)/pyright

clean:
	rm -rf .venv .pytest_cache .ruff_cache build dist docs/_build *.egg-info
	find rodflow experiments tests -name __pycache__ -type d -prune -exec rm -rf {} +
