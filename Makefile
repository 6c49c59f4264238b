# Every target sets up what it needs: `make quickstart` on a fresh clone is enough.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
TORCH_INDEX ?=

# OpenMP's long busy waiting costs a factor when another job shares the cores (docs/decisions.md, 23).
export OMP_WAIT_POLICY ?= PASSIVE
export GOMP_SPINCOUNT  ?= 1000

.PHONY: setup quickstart test check docs bench proof clean

setup: $(READY)

LOOPS := $(addprefix src/danlu/blocks/,loops.c steps.c loops.h)

$(READY): pyproject.toml constraints.txt $(LOOPS)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Danlu needs Python 3.11 or newer; set PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(BIN)/pip install --quiet --index-url $(TORCH_INDEX) torch)
	$(BIN)/pip install --quiet $(if $(TORCH_INDEX),,-c constraints.txt) -e '.[dev]'
	@touch $@

quickstart: setup
	$(BIN)/danlu assets get movie-snippets minilm
	$(BIN)/danlu run recipes/review_sentiment.yaml
	$(BIN)/danlu predict review-sentiment "A warm, funny and moving film." "Dull, predictable and far too long."

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: setup check
	$(BIN)/danlu assets get movie-snippets minilm
	$(BIN)/pytest -n 2 --dist loadfile

docs: setup
	$(BIN)/python docs/reference.py

bench: setup
	$(BIN)/pip install --quiet -c constraints.txt -e '.[bench]'
	$(BIN)/python benchmarks/run.py

proof: setup
	$(BIN)/pytest --override-ini addopts="-v --strict-markers --import-mode=importlib -m proof"
	$(BIN)/python benchmarks/resume_exact.py --steps 50
	$(BIN)/python benchmarks/resume_exact.py --steps 50 --ranks 2
	$(BIN)/python benchmarks/registry_writers.py
	$(BIN)/python benchmarks/registry_writers.py --kills 200
	$(BIN)/python benchmarks/serve_swaps.py
	! $(BIN)/python benchmarks/serve_swaps.py --requests 5000 --fault route
	! $(BIN)/python benchmarks/serve_swaps.py --requests 5000 --fault drop
	$(BIN)/python benchmarks/alias_history.py

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
