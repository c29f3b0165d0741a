# Three commands: `make demo`, `make test` and `make docs`. Each sets up everything it needs by itself.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test docs setup lint types imports tests clean

demo: setup
	$(BIN)/structformer demo --out out/demo

test: setup browser lint docs tests types imports

setup: $(VENV)/.ready

# The stamp is newer than what it was made from, so a repeated call does nothing.
$(VENV)/.ready: pyproject.toml setup.py constraints.txt Makefile $(wildcard structformer/ops/*.cpp structformer/ops/*.h)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "structformer needs Python 3.11 or newer; name one with make PYTHON=/path/to/python"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "set-up 1/3: torch"
	@$(PIP) --upgrade pip "setuptools>=77" wheel
	@$(PIP) torch
	@echo "set-up 2/3: torch-scatter, compiled against it (3 to 5 minutes)"
	@$(MAKE) --no-print-directory scatter
	@echo "set-up 3/3: structformer and its kernels"
	@$(PIP) --editable ".[test,bench,docs]"
	@$(BIN)/python -c 'from structformer.ops import compiled; compiled.available() or \
		print("WARNING: no C++ compiler with OpenMP: attention on the CPU runs on slower paths.")'
	@touch $@

# Only the lack of a compiler is forgiven; a failed build is an error.
.PHONY: scatter
scatter:
	@if $(BIN)/python -c 'import torch_scatter' 2>/dev/null; then :; \
	elif command -v $${CXX:-c++} >/dev/null 2>&1; then \
		$(PIP) --no-build-isolation torch-scatter; \
	else \
		echo "WARNING: no C++ compiler ($${CXX:-c++}) found: torch-scatter is not built."; \
		echo "         structformer runs on its pure-torch path. Install a compiler (Debian: apt-get install g++),"; \
		echo "         then: rm $(VENV)/.ready && make setup"; \
	fi

# Reports are tested in a real browser. Without it those tests skip, and say why.
.PHONY: browser
browser:
	@if command -v chromium >/dev/null 2>&1 && command -v chromedriver >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		echo "set-up: Chromium, to test reports in"; \
		{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
			chromium chromium-driver >/dev/null; } || \
			echo "WARNING: Chromium could not be installed: tests in the browser are skipped."; \
	else \
		echo "WARNING: no Chromium: tests in the browser are skipped. On Debian: apt-get install chromium chromium-driver"; \
	fi

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:
	$(BIN)/basedpyright

imports:
	$(BIN)/lint-imports

# Two processes of one thread each: small tests gain nothing from threads inside an operation.
tests:
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --durations=15 --cov --cov-report=term:skip-covered

# Warnings are errors. Pages with pictures are run; the pictures are kept until the page or the library changes.
docs: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -q -W --keep-going -E -b html docs out/docs
	@echo "documentation: out/docs/index.html"

clean:
	rm -rf $(VENV) out build docs/pictures docs/notebooks *.egg-info
