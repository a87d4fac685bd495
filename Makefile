# Each target makes the environment that it needs; only python3 (3.11 or newer) and pip must be installed.

PYTHON ?= python3
VENV := .venv
NEWEST := .venv-newest
INTEGRATIONS := .venv-integrations
STAMP := $(VENV)/.installed
NEWEST_STAMP := $(NEWEST)/.installed
INTEGRATIONS_STAMP := $(INTEGRATIONS)/.installed
# One thread for each worker: tiny models are not faster with more.
WORKERS := OMP_NUM_THREADS=1
# A worker for each core. The tests of a file share fixtures; the last files are short, so that no worker waits long.
PYTEST_OPTIONS := -n auto --dist loadfile --no-loadscope-reorder

.PHONY: install demo demo-train test test-newest test-integrations style

install: $(STAMP)

$(STAMP): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade "pip>=25"
	$(VENV)/bin/python -m pip install --quiet --editable ".[intel,neural-compressor,search,demo,dev]"
	touch $@

# measures the starter checkpoint and asks it questions; results in outputs/demo
demo: $(STAMP)
	$(VENV)/bin/python recipes/demo/demo.py

# trains a model on two cores in a few minutes, then measures it and asks it questions
demo-train: $(STAMP)
	$(VENV)/bin/python recipes/demo/train_demo.py

test: $(STAMP)
	$(WORKERS) $(VENV)/bin/python -m pytest $(PYTEST_OPTIONS)

# the core alone, with the newest transformers 5
test-newest: $(NEWEST_STAMP)
	$(WORKERS) $(NEWEST)/bin/python -m pytest $(PYTEST_OPTIONS)

$(NEWEST_STAMP): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet --upgrade "pip>=25"
	$(NEWEST)/bin/python -m pip install --quiet --editable ".[search,dev]"
	touch $@

# libraries that use our models, in an environment of their own
test-integrations: $(INTEGRATIONS_STAMP)
	$(WORKERS) $(INTEGRATIONS)/bin/python -m pytest $(PYTEST_OPTIONS) tests/integrations

$(INTEGRATIONS_STAMP): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(INTEGRATIONS)
	$(INTEGRATIONS)/bin/python -m pip install --quiet --upgrade "pip>=25"
	$(INTEGRATIONS)/bin/python -m pip install --quiet --editable ".[intel,integrations,dev]"
	touch $@

style: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
