# make demo    the main job from nothing: own environment with the runtime's three dependencies, a picture in, poses out
# make test    own environment with everything, all tests
# make check   lint, format, types
# make lint-fix
#
# PYTHON chooses the interpreter that makes the environments: make test PYTHON=python3.12

PYTHON ?= python3
DEMO := .venv-demo
VENV := .venv
# In the environment and not as an option, so that the versions also hold where pip builds the package.
CONSTRAINED = PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1

# `make` alone tells what there is.
.PHONY: help demo test check lint-fix clean

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

test: $(VENV)/stamp
	$(VENV)/bin/python -m pytest $(PYTEST_ARGS)

check: $(VENV)/stamp
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy sdk convert

lint-fix: $(VENV)/stamp
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:
	rm -rf $(DEMO) $(VENV) out build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
