# One entry for people and CI. Needs only Python >= 3.11, git, make and the package registries.
PYTHON ?= python3
VENV   ?= .venv
PY     := $(VENV)/bin/python
MONITORS := build/monitors
CLUSTER ?= auto

export PYTHONPATH := operator
# What is compiled is kept: tests start dozens of interpreters, and pytest rewrites every test module.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 20

$(VENV)/.ready: requirements-dev.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Riskladder needs Python 3.11 or newer: set PYTHON=/path/to/python3" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Riskladder needs Python 3.11 or newer, $$($(PYTHON) --version 2>&1) found: set PYTHON=/path/to/python3" >&2; exit 2; }
	@echo "==> Making the virtual environment in $(VENV): once, about a minute"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --require-hashes --disable-pip-version-check -r requirements-dev.lock & \
	  pid=$$!; seconds=0; trap 'kill $$pid 2>/dev/null' EXIT; trap 'exit 130' INT TERM; \
	  while sleep 1; kill -0 $$pid 2>/dev/null; do seconds=$$((seconds + 1)); \
	    if [ $$((seconds % 5)) -eq 0 ]; then echo "    … installing what it needs, $$seconds s so far"; fi; done; \
	  wait $$pid
	@$(PY) -m pip install --quiet --no-deps --no-build-isolation --disable-pip-version-check --editable .
	@touch $@

.PHONY: venv
venv: $(VENV)/.ready ## Make the virtual environment from the lock file

.PHONY: demo
demo: venv ## A breach scales a model to zero, people restore it. ARGS="--short" the stop alone, ARGS="--keep" stays until Ctrl-C
	@$(PY) -m demo --check-options $(ARGS)
	@$(PY) -m tests.cluster run --cluster $(CLUSTER) -- $(PY) -m demo $(ARGS)

.PHONY: demo-console
demo-console: venv ## A breach stops a model; three people see it on pages, and decide there, until Ctrl-C
	@$(PY) -m demo --check-options --console $(ARGS)
	@$(PY) -m tests.cluster run --cluster $(CLUSTER) -- $(PY) -m demo --console $(ARGS)

.PHONY: demo-rollback
demo-rollback: venv ## A breach rolls a real Deployment back, until people let another revision in
	@$(PY) -m demo --check-options --action Rollback $(ARGS)
	@$(PY) -m tests.cluster run --cluster $(CLUSTER) -- $(PY) -m demo --action Rollback $(ARGS)

.PHONY: demo-lock
demo-lock: venv ## Other clients write on a contained model, the lock is removed and reinstated: watch it hold
	@$(PY) -m demo --check-options --lock $(ARGS)
	@$(PY) -m tests.cluster run --cluster $(CLUSTER) -- $(PY) -m demo --lock $(ARGS)

.PHONY: demo-monitors
demo-monitors: venv ## A metric stops a model through real Prometheus and Alertmanager, and its recovery is heard
	@$(PY) -m demo.monitors --check-options $(ARGS)
	@$(PY) -m tests.cluster run --cluster $(CLUSTER:auto=local) -- $(PY) -m demo.monitors $(ARGS)

.PHONY: test
test: venv ## Everything: unit and property tests, a real control plane, and a real node where this machine can have one
	@$(PY) -m pytest --cluster=$(CLUSTER) --numprocesses=auto $(ARGS)

.PHONY: unit
unit: venv ## Unit and property tests only: some forty seconds on two cores, no cluster
	@$(PY) -m pytest tests/unit --numprocesses=logical $(ARGS)

.PHONY: olm
olm: venv ## OLM itself installs the bundle on a real node, and removes it; once it is built, `make test` does so, too
	@RISKLADDER_OLM=1 $(PY) -m pytest --cluster=$(CLUSTER) tests/node/test_olm.py $(ARGS)

.PHONY: check
check: venv ## Format, lint, types, layers, generated files up to date, links of the site
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports
	@$(PY) -m riskladder.generate --check
	@$(MAKE) --no-print-directory docs

.PHONY: format
format: venv ## Format and fix what can be fixed
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

.PHONY: generate
generate: venv ## Write the CRDs, RBAC rules, lock, components and API reference from their sources in the code
	@$(PY) -m riskladder.generate

$(MONITORS)/.ready: requirements-samples.lock | venv
	@echo "==> Making the virtual environment of the monitors in $(MONITORS): once, 1.6 GB"
	@$(VENV)/bin/uv venv --quiet --allow-existing --python $(PY) $(MONITORS)
	@$(VENV)/bin/uv pip sync --quiet --python $(MONITORS)/bin/python --require-hashes requirements-samples.lock
	@touch $@

.PHONY: screenshots
screenshots: venv ## Every page of the console with real data, at three widths, light and dark, in build/screenshots
	@$(PY) -m tests.console.screenshots

.PHONY: samples
samples: $(MONITORS)/.ready ## Run Evidently, NannyML and fairlearn, and keep what they write as samples of the tests
	@DO_NOT_TRACK=1 NML_DISABLE_USAGE_LOGGING=1 OMP_NUM_THREADS=1 PYTHONPATH=. $(MONITORS)/bin/python -m tests.monitors.make_samples

.PHONY: bench
bench: venv ## How fast, against a floor, in one run
	@$(PY) -m tests.cluster run --cluster $(CLUSTER:auto=local) -- $(PY) -m bench $(ARGS)

.PHONY: bench-node
bench-node: venv ## What a client sees of a containment on a real node: when it gets its last answer
	@$(PY) -m bench.node $(ARGS)

.PHONY: lock
lock: venv ## Pin every dependency by hash
	@$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --output-file requirements.lock pyproject.toml
	@$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --extra monitor --extra report --group dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml
	@$(VENV)/bin/uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-emit-package nvidia-nccl-cu12 --group samples \
	  --output-file requirements-samples.lock

.PHONY: docs
docs: venv ## The site of docs/, in build/docs/site; a link that leads nowhere is an error
	@$(PY) .ci/site/stage.py build/docs
	@$(VENV)/bin/zensical build --strict --config-file build/docs/mkdocs.yml

.PHONY: docs-serve
docs-serve: venv ## Show the site of docs/ until Ctrl-C
	@$(PY) .ci/site/stage.py build/docs
	@$(VENV)/bin/zensical serve --config-file build/docs/mkdocs.yml

.PHONY: version
version: venv ## Write VERSION=1.2.0 wherever the version is written
	@PYTHONPATH=operator:.ci $(PY) -m release.versions $(VERSION)

.PHONY: release
release: venv ## Everything that is released as VERSION=1.2.0, of the commit checked out, into dist
	@PYTHONPATH=operator:.ci:. $(PY) -m release $(if $(IMAGE),--image $(IMAGE)) $(ARGS) $(VERSION)

.PHONY: clean
clean: ## Remove the virtual environment and caches of the work tree
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
