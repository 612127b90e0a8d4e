# Every task of the project by its name; `make` alone lists them.
# Needs only make, git and Python 3.11 to 3.13. The environment lies in $(VENV): made by the first
# task that needs it, updated when pyproject.toml changes.

VENV ?= .venv
BIN := $(VENV)/bin/python
PIP_FLAGS ?= -qq --disable-pip-version-check

# The first Python found that fits; name another one with PYTHON=/path/to/python3.12.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	"$$python" -c '$(FITS)' 2>/dev/null && echo "$$python" && break; done)

# cuda12, cuda13 or cpu.
ACCELERATOR := $(or $(ACCELERATOR),$(shell nvidia-smi -L >/dev/null 2>&1 && echo cuda12 || echo cpu))

# What pip installs for `make parity`. Where that takes a CUDA build of torch, name the CPU build in
# the way PyTorch's own installation page gives for the system: TORCH_INSTALL='torch==2.13.0 ...'.
TORCH_INSTALL ?= -e ".[parity]"

INSTALLED := $(VENV)/.installed-$(ACCELERATOR)
INSTALLED_DEV := $(VENV)/.installed-$(ACCELERATOR)-dev
INSTALLED_PARITY := $(VENV)/.installed-parity
INSTALLED_DOCS := $(VENV)/.installed-docs

.PHONY: help demo test parity lint format types notebooks docs docs-serve bench fuzz clean
.DEFAULT_GOAL := help

help:  ## list the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(INSTALLED)  ## search, train and evaluate on real handwritten digits, offline, in minutes
	$(BIN) launch/demo.py

test: $(INSTALLED_DEV)  ## run the tests; PYTEST_ARGS="-k name" picks some
	$(BIN) -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile $(PYTEST_ARGS)

parity: $(INSTALLED_PARITY)  ## compare with CLIPModel and ONNX Runtime (installs torch and them)
	$(BIN) -m pytest tests/parity tests/export/test_onnx.py $(PYTEST_ARGS)

lint: $(INSTALLED_DEV)  ## check style and formatting
	$(BIN) -m ruff check .
	$(BIN) -m ruff format --check .

format: $(INSTALLED_DEV)  ## format the code and mend what can be mended
	$(BIN) -m ruff check --fix .
	$(BIN) -m ruff format .

TYPED := dpl_jax launch configs recipes
types: $(INSTALLED_DEV)  ## check the type annotations
	$(BIN) -m mypy $(sort $(dir $(wildcard $(TYPED:=/*.py))))

notebooks: $(INSTALLED_DEV)  ## run the notebooks again and store their outputs
	$(BIN) -m nbconvert --to notebook --execute --inplace \
		--ExecutePreprocessor.record_timing=False notebooks/*.ipynb

docs: export NO_MKDOCS_2_WARNING := 1
docs: $(INSTALLED_DOCS)  ## build the documentation, build/site/index.html
	$(BIN) -m mkdocs build --strict

docs-serve: $(INSTALLED_DOCS)  ## show the documentation on a local port while it is written
	$(BIN) -m mkdocs serve

bench: $(INSTALLED)  ## measure speed; BENCH_ARGS names what
	$(BIN) -m benchmarks $(BENCH_ARGS)

FUZZ_ARGS ?= --inputs=100000
fuzz: $(INSTALLED_DEV)  ## feed mutated files to every parser; FUZZ_ARGS="--inputs=1000"
	$(BIN) -m tests.hostile.fuzz $(FUZZ_ARGS)

clean:  ## remove the environment, caches and build leftovers; runs/ stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.created:
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 was found. Install one, or name it:" \
		"make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c '$(FITS)' || { echo "$(PYTHON) is not a Python 3.11, 3.12 or 3.13." \
		"Name another one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) lacks the venv module." \
		"Install it (on Debian and Ubuntu: apt install python3-venv), then run make again." >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	@touch $@

$(INSTALLED): pyproject.toml | $(VENV)/.created
	@echo "Installing dpl_jax into $(VENV) for $(ACCELERATOR). The first time this takes some minutes."
	$(BIN) -m pip install $(PIP_FLAGS) -e "$(if $(filter cpu,$(ACCELERATOR)),.,.[$(ACCELERATOR)])"
	@touch $@

$(INSTALLED_DEV): $(INSTALLED)
	$(BIN) -m pip install $(PIP_FLAGS) -e ".[dev]"
	@touch $@

$(INSTALLED_PARITY): $(INSTALLED_DEV)
	$(BIN) -m pip install $(PIP_FLAGS) $(TORCH_INSTALL)
	@touch $@

$(INSTALLED_DOCS): $(INSTALLED)
	$(BIN) -m pip install $(PIP_FLAGS) -e ".[docs]"
	@touch $@
