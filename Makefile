# One name per command. `make run` and `make test` need Python 3.11 or newer and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 4

.PHONY: help run install contract lint test test-openstack check bench manuals peers soak clean

help:
	@echo "make run      install, then run scheduler, admin and info daemon here"
	@echo "make test     install, then run the whole suite"
	@echo "make test-openstack  install real OpenStack services, then run the suite against them"
	@echo "make check    lint, types, unit and WSGI tests: under a minute"
	@echo "make bench    figures measured against named limits; never fails on them. ONLY='reads ...', JSON=1, QUICK=1"
	@echo "make soak     the long kill and fault runs"
	@echo "make manuals  man pages and shell completions into build/manuals/share"
	@echo "make install  .venv with everything in it"
	@echo "make contract the JSON of the contract, after a change of its YAML"

run: install contract
	@exec $(BIN)/cloud_scheduler

install: $(VENV)/.installed

$(VENV)/.installed: setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("cloudsched needs Python 3.11 or newer, and this is %d.%d: try make PYTHON=python3.11" % sys.version_info[:2])'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,check]'
	@touch $@

# The JSON of the contract, again after its YAML has changed; an installation has made it once.
contract: install
	@$(BIN)/python contrib/contract.py

lint: install contract
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy

check: lint
	@$(BIN)/python -m pytest -q -n $(WORKERS) -m "not slow and not real"

# The programs that tests of kind `real` speak to; without them those tests skip, which CI does not allow.
PEERS := promtool pg_ctlcluster munin-node chromium mandoc zsh systemd-analyze systemd-sysusers \
    qemu-system-x86_64 busybox cpio jq buildah mmdebstrap /boot/vmlinuz-*-cloud-amd64
peers:
	@command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] || exit 0; \
	for each in $(PEERS); do command -v $$each >/dev/null || [ -e $$each ] && continue; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	        prometheus postgresql munin-node chromium mandoc zsh systemd \
	        qemu-system-x86 busybox-static cpio jq buildah mmdebstrap linux-image-cloud-amd64 >/dev/null || true; exit 0; done

test: lint peers
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m "not openstack"

# Real Keystone, Placement, Glance and Nova, half a gigabyte of them, in an environment of their own.
OPENSTACK := .venv-openstack
test-openstack: install
	@PYTHON=$(PYTHON) tests/nova/install.sh $(OPENSTACK)
	@$(BIN)/python -m pytest -m openstack tests/test_cloud_contract.py tests/nova

bench: install
	@command -v wrk >/dev/null || ! command -v apt-get >/dev/null || [ "$$(id -u)" != 0 ] || \
	    { apt-get update -qq && apt-get install -y -qq --no-install-recommends wrk >/dev/null; } || true
	@$(BIN)/python -m tests.bench $(if $(JSON),--json) $(if $(QUICK),--quick) $(ONLY)

manuals: install
	@$(BIN)/python contrib/manuals.py build/manuals

soak: install
	@CLOUDSCHED_SOAK=1 $(BIN)/python -m pytest -m slow tests/test_kill.py tests/test_failover.py tests/test_contract_fuzz.py

clean:
	rm -rf $(VENV) $(OPENSTACK) build dist *.egg-info
