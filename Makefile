# make demo    the main job from nothing: own environment with the runtime's three dependencies, a picture in, poses out
# make test    own environment with everything, all tests, in two processes (WORKERS=4 for more)
# make check   lint, format, types
# make lint-fix
# make soak    10 minutes of streams with faults: nothing may grow (SOAK_ARGS="threads", "kills", "signals", "redact")
# make offline the runtime's tests with every address but this machine's refused
# make matrix  the built package in empty environments, on every Python here, lowest and newest versions (downloads)
# make interop  what supervision, pycocotools, huggingface_hub and OpenVINO Model API make of our output, in .venv-interop
# make docs    the documentation site, out/site/index.html, strictly: a warning or a broken link is an error
# make fuzz    damaged and hostile files by the ten thousand, about an hour; FUZZ_ARGS="--share 0.1" for less
# make test-docs  every block of the documentation that needs no camera, GPU or data set, the slow ones too
#
# PYTHON chooses the interpreter that makes the environments: make test PYTHON=python3.12

PYTHON ?= python3
DEMO := .venv-demo
VENV := .venv
WORKERS ?= 2
INTEROP := .venv-interop
# In the environment and not as an option, so that the versions also hold where pip builds the package.
CONSTRAINED = PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1

# `make` alone tells what there is.
.PHONY: help demo test check lint-fix docs test-docs matrix interop fuzz soak offline clean

help:
	@sed -n 's/^# make /make /p' Makefile

# A stamp is newer than all that its environment was made from; otherwise the environment is brought up to date.
# The demo installs a real wheel, so every file that goes into it counts.
PACKAGED := $(shell find sdk train convert -type f -not -path '*/__pycache__/*')

$(DEMO)/stamp: pyproject.toml constraints.txt README.md $(PACKAGED)
	test -x $(DEMO)/bin/python || $(PYTHON) -m venv $(DEMO)
	$(CONSTRAINED) $(DEMO)/bin/python -m pip install --quiet .
	touch $@

$(VENV)/stamp: pyproject.toml constraints.txt
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(CONSTRAINED) $(VENV)/bin/python -m pip install --quiet --editable ".[dev]"
	touch $@

demo: $(DEMO)/stamp
	$(DEMO)/bin/boir predict demos/people.jpg --overlay out/people_overlay.jpg --keypoints
	@echo "the overlay is out/people_overlay.jpg"

# A file's tests stay in one process, which keeps what its fixtures made; two processes fill two cores.
test: $(VENV)/stamp
	$(VENV)/bin/python -m pytest --numprocesses $(WORKERS) --dist loadfile $(PYTEST_ARGS)

check: $(VENV)/stamp
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy sdk convert

lint-fix: $(VENV)/stamp
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

docs: $(VENV)/stamp
	$(VENV)/bin/python -m sphinx --builder html --fail-on-warning --keep-going --quiet docs out/site
	$(VENV)/bin/python -m tests.docs.links out/site

test-docs: $(VENV)/stamp
	BOIR_SLOW_DOCS=1 $(VENV)/bin/python -m pytest tests/docs $(PYTEST_ARGS)

fuzz: $(VENV)/stamp
	$(VENV)/bin/python -m fuzz $(FUZZ_ARGS)

matrix: $(VENV)/stamp
	$(VENV)/bin/python -m matrix $(MATRIX_ARGS)

# Newest releases on purpose, so no constraints. --no-deps: see interop/requirements.txt.
$(INTEROP)/stamp: pyproject.toml interop/requirements.txt
	test -x $(INTEROP)/bin/python || $(PYTHON) -m venv $(INTEROP)
	$(INTEROP)/bin/python -m pip install --quiet --requirement interop/requirements.txt
	$(INTEROP)/bin/python -m pip install --quiet --no-deps --editable .
	touch $@

interop: $(INTEROP)/stamp
	$(INTEROP)/bin/python -m pytest interop $(PYTEST_ARGS)

soak: $(VENV)/stamp
	PYTHONPATH=sdk:train:convert:. $(VENV)/bin/python -m soak $(SOAK_ARGS)

offline: $(VENV)/stamp
	PYTHONPATH=. $(VENV)/bin/python -m pytest -p tests.support.no_network tests/sdk tests/trust $(PYTEST_ARGS)

clean:
	rm -rf $(DEMO) $(VENV) $(INTEROP) out build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
