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

# LOCKED=1 installs the versions of the lock files, each with its hash checked, as .ci/run does;
# otherwise pip takes the newest within the ranges of pyproject.toml, on any system.
LOCK := requirements$(if $(filter cpu,$(ACCELERATOR)),,-$(ACCELERATOR))-lock.txt
LOCKS := requirements-lock.txt requirements-cuda12-lock.txt requirements-dev-lock.txt \
	requirements-build-lock.txt
PIP_INSTALL = $(BIN) -m pip install $(PIP_FLAGS)
ifdef LOCKED
install = $(PIP_INSTALL) --require-hashes -r requirements-build-lock.txt && \
	$(PIP_INSTALL) --require-hashes --no-build-isolation -r $(2) && \
	$(PIP_INSTALL) --no-deps --no-build-isolation -e .
else
install = $(PIP_INSTALL) -e ".$(1)"
endif

INSTALLED := $(VENV)/.installed-$(ACCELERATOR)$(if $(LOCKED),-locked)
INSTALLED_DEV := $(INSTALLED)-dev
INSTALLED_PARITY := $(INSTALLED)-parity
INSTALLED_DOCS := $(INSTALLED)-docs
INSTALLED_SUPPLY := $(INSTALLED)-supply

.PHONY: help demo test parity lint format types notebooks docs docs-serve bench fuzz \
	lock audit sbom clean
.DEFAULT_GOAL := help

help:  ## list the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(INSTALLED)  ## search, train and evaluate on real handwritten digits, offline, in minutes
	$(BIN) launch/demo.py

test: $(INSTALLED_DEV)  ## run the tests; PYTEST_ARGS="-k name" picks some
	$(BIN) -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile $(PYTEST_ARGS)

parity: $(INSTALLED_PARITY)  ## compare with CLIPModel and ONNX Runtime (installs torch and them)
	$(BIN) -m pytest tests/parity tests/inference/export/test_onnx.py $(PYTEST_ARGS)

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

# For every supported Python and system at once. LOCK_ARGS= keeps the versions that still fit.
LOCK_ARGS ?= --upgrade
UV_COMPILE = $(BIN) -m uv pip compile --quiet --universal --python-version=3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command="make lock" \
	$(LOCK_ARGS)
lock: $(INSTALLED_SUPPLY)  ## renew the lock files: the newest versions within the ranges, with hashes
	$(UV_COMPILE) pyproject.toml -o requirements-lock.txt
	$(UV_COMPILE) pyproject.toml --extra=cuda12 -c requirements-lock.txt -o requirements-cuda12-lock.txt
	$(UV_COMPILE) pyproject.toml --extra=dev --extra=docs --extra=onnx --extra=supply \
		-c requirements-lock.txt -o requirements-dev-lock.txt
	$(UV_COMPILE) --group=build -c requirements-dev-lock.txt -o requirements-build-lock.txt

audit: $(INSTALLED_SUPPLY)  ## ask for known vulnerabilities of what is locked, over the internet
	$(BIN) .ci/audit.py $(LOCKS) $(AUDIT_ARGS)

SBOM = dist/dpl_jax-$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml).cdx.json
sbom: $(INSTALLED_SUPPLY)  ## write the bill of materials of a release, dist/*.cdx.json (CycloneDX)
	@mkdir -p dist
	$(BIN) -W ignore -m cyclonedx_py requirements --pyproject=pyproject.toml --mc-type=library \
		--output-reproducible -o $(SBOM) requirements-lock.txt
	@echo "The bill of materials is $(SBOM)."

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

$(INSTALLED): pyproject.toml $(if $(LOCKED),$(LOCKS)) | $(VENV)/.created
	@test -z "$(LOCKED)" -o -f $(LOCK) || { echo "There is no $(LOCK): without LOCKED, pip takes what" \
		"fits pyproject.toml." >&2; exit 1; }
	@echo "Installing dpl_jax into $(VENV) for $(ACCELERATOR). The first time this takes some minutes."
	$(call install,$(if $(filter cpu,$(ACCELERATOR)),,[$(ACCELERATOR)]),$(LOCK))
	@touch $@

$(INSTALLED_DEV): $(INSTALLED)
	$(call install,[dev],requirements-dev-lock.txt)
	@touch $@

$(INSTALLED_PARITY): $(INSTALLED_DEV)
	$(PIP_INSTALL) $(TORCH_INSTALL)
	@touch $@

$(INSTALLED_DOCS): $(INSTALLED)
	$(call install,[docs],requirements-dev-lock.txt)
	@touch $@

$(INSTALLED_SUPPLY): $(INSTALLED)
	$(call install,[supply],requirements-dev-lock.txt)
	@touch $@
