# One name per command. `make run` and `make test` need Python 3.11+ and make, nothing else.
PYTHON ?= python3
VENV := .venv
WORKERS ?= 4

.PHONY: help run install test check soak clean

help:
	@echo "make run      install, then run scheduler, admin and info daemon here"
	@echo "make test     install, then run the whole suite"
	@echo "make check    lint, types, unit and WSGI tests: under a minute"
	@echo "make install  .venv with everything in it"
	@echo "make soak     the long kill and fault runs"

run: install
	@exec $(VENV)/bin/cloud_scheduler

install: $(VENV)/.installed

$(VENV)/.installed: setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("cloudsched needs Python 3.11 or newer, this is %d.%d: make PYTHON=python3.11 ..." % sys.version_info[:2])'
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test,check]'
	@touch $@

test: install check
	@echo all

clean:
	rm -rf $(VENV) build dist *.egg-info
