# The commands of a newcomer and of CI. Everything happens in .venv; nothing is installed beside it.
PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/pip --disable-pip-version-check
EXTRAS := train,neural,tune,ray,image
# A process for each core, at most four; a file's tests stay together, in their order, so that they share what they made.
# What is skipped says why.
TESTS := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder -rs

.PHONY: demo test check bench lowest clean
demo: $(VENV)/.train
	$(VENV)/bin/luban demo

test: $(VENV)/.test
	$(VENV)/bin/python -m pytest $(TESTS) $(PYTEST)

check: $(VENV)/.check
	$(VENV)/bin/ruff format --check src tests benchmarks
	$(VENV)/bin/ruff check src tests benchmarks
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m pytest $(TESTS) $(PYTEST)

bench: $(VENV)/.test
	$(VENV)/bin/python -m benchmarks

# The lowest versions that pyproject.toml allows, in a venv of their own, on the tests of what a bundle needs.
LOWEST := .venv-lowest
lowest: $(VENV)/.test
	$(PYTHON) -m venv $(LOWEST)
	$(VENV)/bin/python tests/lowest.py > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/pip --disable-pip-version-check install --quiet -c $(LOWEST)/constraints.txt -e '.[$(EXTRAS),test]'
	$(LOWEST)/bin/python -m pytest $(TESTS) tests/checks tests/features tests/tasks tests/bundle tests/models tests/test_lifecycle.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.train: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet -c constraints.txt -e '.[train]'
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet -c constraints.txt -e '.[$(EXTRAS),test]'
	touch $@

$(VENV)/.check: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet -c constraints.txt -e '.[$(EXTRAS),test,check]'
	touch $@

clean:
	rm -rf $(VENV) build dist
