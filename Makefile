# Everything a person or CI runs. Each target works after `git clone` on a fresh Debian machine (root, Python 3.11+) and
# does its own set-up; what it makes is kept in ~/.cache/sessionstore (or $SESSIONSTORE_CACHE) and used again.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export SESSIONSTORE_CACHE ?= $(HOME)/.cache/sessionstore
# Not installed into the environment, which clones share: each clone's own code is what runs in it.
export PYTHONPATH := $(CURDIR)/operator:$(CURDIR)
unexport PYTHONHOME VIRTUAL_ENV

LOCKS := $(sort $(filter-out requirements/bench.txt,$(wildcard requirements/*.txt)))
VENV := $(SESSIONSTORE_CACHE)/venv-$(shell { python3 --version; cat $(LOCKS) requirements/venv.sh; } | sha256sum | cut -c1-12)
BENCH_VENV := $(VENV)-bench-$(shell sha256sum <requirements/bench.txt | cut -c1-12)
BIN := $(VENV)/bin
PYTHON := $(BIN)/python
SESSIONSTORE := $(BIN)/sessionstore
PYTEST := $(PYTHON) -m pytest --ignore=tests/bench --keep-cluster
TESTS ?= tests
CLUSTER := $(PYTHON) -m tests.cluster
# kubectl and helm on the PATH, and the kubeconfig of the test cluster.
WITH_TOOLS := tools=$$($(CLUSTER) env) && eval "$$tools"

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

.PHONY: demo
demo: venv ## show the whole line on a kind cluster: migrate, share, scale, kill, continue
	$(WITH_TOOLS) && $(PYTHON) examples/demo.py $(ARGS)

.PHONY: test
test: venv packages ferretdb ## run all tests, with small counts; what CI runs (TESTS=path ARGS='-k word' for some)
	$(PYTEST) $(TESTS) $(ARGS)

.PHONY: test-long
test-long: venv packages ferretdb openclaw ## run all tests with the full counts of kills, rounds and examples
	SESSIONSTORE_LONG=1 $(PYTEST) $(TESTS) $(ARGS)

.PHONY: test-quick
test-quick: venv packages ferretdb ## run the tests that need no cluster
	$(PYTEST) $(TESTS) -m 'not kind' $(ARGS)

.PHONY: lint
lint: venv ## check format, rules, types, imports, shell scripts, and that nothing generated has drifted
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy tests/cluster tests/kind/conftest.py tests/conftest.py
	$(BIN)/lint-imports
	for script in .ci/run $(wildcard requirements/*.sh tests/cluster/*.sh tests/openclaw/*.sh charts/*.sh); do bash -n $$script; done
	@$(MAKE) --no-print-directory drift

# A chart carries its own copy: Helm reads nothing outside of a chart's directory.
CRD_DIRECTORIES := crds charts/sessionstore/files

.PHONY: drift
drift: venv ## check that the CRD, the reference pages and the install manifest are what they are generated from
	$(SESSIONSTORE) crds --check $(CRD_DIRECTORIES:%=%/sessionstores.yaml)
	$(SESSIONSTORE) crds --docs --check docs/reference/sessionstore.md
	$(PYTHON) -m tests.docs.library_reference --check
	$(WITH_TOOLS) && helm lint --quiet charts/sessionstore && charts/render.sh --check

.PHONY: crds
crds: venv ## generate the CustomResourceDefinition and its reference page from the models
	for directory in $(CRD_DIRECTORIES); do $(SESSIONSTORE) crds -o $$directory; done
	$(SESSIONSTORE) crds --docs -o docs/reference

.PHONY: reference
reference: venv ## generate the session library's reference page from its docstrings
	$(PYTHON) -m tests.docs.library_reference

.PHONY: manifests
manifests: venv ## render the chart, with its defaults, to manifests/install.yaml
	$(WITH_TOOLS) && charts/render.sh > manifests/install.yaml.new
	mv manifests/install.yaml.new manifests/install.yaml

.PHONY: bench
bench: packages ## print measurements next to other libraries; nothing is asserted about them (ARGS='-k wire' for some)
	@requirements/venv.sh $(BENCH_VENV) bench
	@tests/cluster/packages.sh node:nodejs npm:npm
	$(BENCH_VENV)/bin/python -m pytest tests/bench -q -s $(ARGS)

.PHONY: setup
setup: venv ## start Docker where none runs; get kind, kubectl, helm and a node image
	@$(CLUSTER) setup

.PHONY: images
images: venv ## build the images of the operator, the tests' Redis and the example gateway
	$(CLUSTER) images

.PHONY: cluster
cluster: venv ## create the kind cluster, or find it, and load the images
	$(CLUSTER) up

.PHONY: clean-cluster
clean-cluster: venv ## delete the kind cluster
	$(CLUSTER) down

.PHONY: lock
lock: ## write requirements/*.txt anew from pyproject.toml (ARGS=--upgrade for newer versions)
	requirements/lock.sh $(ARGS)

.PHONY: venv
venv: ## create the Python environment from the locks
	@requirements/venv.sh $(VENV)

.PHONY: ferretdb
ferretdb: ## build the MongoDB-wire server that tests run (FerretDB on PostgreSQL; about 5 minutes, once)
	@tests/cluster/ferretdb.sh

.PHONY: openclaw
openclaw: ## install the OpenClaw that tests of the way back run (npm packages; a few minutes, once)
	@tests/cluster/packages.sh npm:npm
	@tests/openclaw/install.sh $(SESSIONSTORE_CACHE)/openclaw 2026.7.1-2 2026.9.6

# Redis, FerretDB, and strace, which kills a writer at a system call, are what tests without a cluster need besides Python.
.PHONY: packages
packages:
	@tests/cluster/packages.sh redis-server:redis-server strace:strace
