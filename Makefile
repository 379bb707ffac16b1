PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet -c constraints.txt

.PHONY: demo test check fix docs up

demo: .venv/worker            ## draw a first picture
	$(BIN)/easel imagine "a red apple"

up: .venv/worker              ## run everything on this machine
	$(BIN)/easel up

test: .venv/dev               ## the whole test suite
	$(BIN)/pytest -n 2 --dist worksteal

check: .venv/dev              ## format, lint, types, walls
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: .venv/dev                ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/worker             ## draw the pictures of the documentation again
	$(BIN)/python docs/draw.py

.venv/worker: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) --upgrade pip
	$(PIP) --progress-bar on -e '.[worker]'
	touch $@

.venv/dev: .venv/worker
	$(PIP) --group dev
	touch $@
