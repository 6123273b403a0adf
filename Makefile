# Two commands do everything: `make screen` runs the embedded campaign, `make test` the tests.
# Both set up .venv on a fresh machine and leave it alone when it is up to date: `make screen` with
# all that the commands of ionbridge ask for, `make test` with what tests, types and pages need, too.

PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.ionbridge-installed
DEV_STAMP := $(VENV)/.ionbridge-dev-installed
OUT ?= results/screen

.PHONY: screen test lint docs constraints clean

screen: $(STAMP)
	$(VENV)/bin/ionbridge screen --out $(OUT) --renew
	@echo "Ranked table: $(OUT)/ranked.csv    Report: $(OUT)/report.html"

test: $(DEV_STAMP)
	$(VENV)/bin/python -m pytest -n 2
	@echo "Tests passed."

lint: $(DEV_STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# The site, without a network; a broken reference fails.
docs: $(DEV_STAMP)
	$(VENV)/bin/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "Documentation: docs/_build/html/index.html"

# Pins all that is installed here. Local labels of a version (+cpu) name no other code.
constraints: $(DEV_STAMP)
	{ printf '%s\n' '# All that was tested together, made by "make constraints". Install torch first: other torch' \
		'# versions bring gigabytes of CUDA packages.' && \
		$(VENV)/bin/python -m pip freeze --exclude-editable | grep '==' | sed 's/+[A-Za-z0-9.]*$$//'; } > constraints.tmp
	mv constraints.tmp constraints.txt
	touch $(STAMP) $(DEV_STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3"; exit 1; }
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	$(VENV)/bin/python -m pip install --quiet -c constraints.txt torch
	$(VENV)/bin/python -m pip install --quiet -c constraints.txt -e '.[all]'
	touch $(STAMP)

$(DEV_STAMP): $(STAMP)
	$(VENV)/bin/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $(DEV_STAMP)

clean:
	rm -rf $(VENV) results
