# Six verbs. Each makes the environment it needs; python3 (3.11 or newer) and pip are all that must be there.

PYTHON ?= python3
VENV := .venv
NEWEST := .venv-newest
STAMP := $(VENV)/.installed
NEWEST_STAMP := $(NEWEST)/.installed
# A worker a core, each with one thread: tiny models gain nothing from more. A file's tests share what they set up.
WORKERS := OMP_NUM_THREADS=1
# Files in their own order, in which the last ones are short, so that no worker waits long for the other.
PYTEST_OPTIONS := -n auto --dist loadfile --no-loadscope-reorder

.PHONY: install demo demo-train test test-newest style

install: $(STAMP)

$(STAMP): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade "pip>=25"
	$(VENV)/bin/python -m pip install --quiet --editable ".[intel,neural-compressor,search,demo,dev]"
	touch $@

# the starter checkpoint, measured and asked; results in outputs/demo
demo: $(STAMP)
	$(VENV)/bin/python recipes/demo/demo.py

# the main job on two cores in a few minutes: training, and the same with what came out
demo-train: $(STAMP)
	$(VENV)/bin/python recipes/demo/train_demo.py

test: $(STAMP)
	$(WORKERS) $(VENV)/bin/python -m pytest $(PYTEST_OPTIONS)

# the core alone, with the newest transformers 5 that there is
test-newest: $(NEWEST_STAMP)
	$(WORKERS) $(NEWEST)/bin/python -m pytest $(PYTEST_OPTIONS)

$(NEWEST_STAMP): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet --upgrade "pip>=25"
	$(NEWEST)/bin/python -m pip install --quiet --editable ".[search,dev]"
	touch $@

style: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
