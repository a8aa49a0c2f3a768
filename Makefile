# What everybody types. `make` alone prints the list; PKG="qicore-http …" narrows a target to these packages,
# ARGS="…" goes to pytest, ON=3.13 picks the interpreter of test-isolated and RESOLUTION=lowest-direct (or highest)
# other dependencies for it than the locked ones.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)

# uv of this workspace: the one on PATH when it is new enough, else one fetched into .tools/.
export UV := $(CURDIR)/.tools/bin/uv
RUN := "$(UV)" run --frozen --no-sync
# The interpreter is the reader's own: none is downloaded.
export UV_PYTHON_DOWNLOADS ?= never
# An activated environment or a search path of the shell is not this workspace's.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME UV_PROJECT_ENVIRONMENT

# Test files run side by side, one on each processor; ARGS="-n 0" runs them one after the other.
SPREAD := --numprocesses logical --maxprocesses 4 --dist loadfile

PACKAGES := $(notdir $(patsubst %/,%,$(dir $(wildcard packages/*/pyproject.toml))))
ifneq ($(filter new,$(MAKECMDGOALS)),new)
UNKNOWN := $(filter-out $(PACKAGES),$(PKG))
ifneq ($(UNKNOWN),)
$(error no such package: $(UNKNOWN). There are: $(PACKAGES))
endif
endif

.DEFAULT_GOAL := help
.PHONY: help uv setup demo test check format bench bench-compare docs build test-isolated test-browser test-conformance \
	audit fuzz test-wheels api changelog release new clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

uv:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none was found." >&2; exit 1; }
	@"$(PYTHON)" scripts/get_uv.py

setup: uv ## Make the environment .venv with every package, editable, and every tool
	@"$(UV)" sync --quiet --frozen --all-packages --all-groups --all-extras

demo: uv ## Index real text, ask it two questions, write report.html
	@"$(UV)" run --quiet --frozen --package askdocs python -m askdocs.demo

test: setup ## Run the tests (PKG narrows, ARGS goes to pytest)
	@$(RUN) python -m pytest $(SPREAD) $(PKG:%=packages/%) $(ARGS)

check: setup ## Format, lint, mypy, pyright, import contract, lock file, workflows (PKG narrows)
	@$(RUN) python scripts/check.py $(PKG)

format: setup ## Format the code and mend what the linter can (PKG narrows)
	@$(RUN) ruff format $(or $(PKG:%=packages/%),.)
	@$(RUN) ruff check --fix $(or $(PKG:%=packages/%),.)

bench: setup ## Time against the peers; results, charts and ceilings go to benchmarks/results (PKG narrows)
	@set -e; for file in $(sort $(wildcard $(or $(PKG:qicore-%=benchmarks/bench_%*.py),benchmarks/bench_*.py))); do \
		$(RUN) python "$$file"; done
	@$(RUN) python scripts/bench_report.py

bench-compare: setup ## Say what moved between two revisions: BASE=v1 (HEAD=v2, RUNS=5, PKG narrows)
	@test -n "$(BASE)" || { echo "Say what to compare with: make bench-compare BASE=main" >&2; exit 2; }
	@$(RUN) python scripts/bench_compare.py "$(BASE)" $(HEAD) $(RUNS:%=--runs %) $(PKG:%=--package %)

docs: setup ## Build the site into site/ and follow its links
	@NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --strict --quiet
	@$(RUN) python scripts/check_links.py site
	@echo "The site is in site/index.html"

build: uv ## Build wheels and sdists into dist/ (PKG narrows)
	@set -e; for name in $(or $(PKG),$(PACKAGES)); do \
		"$(UV)" build --quiet --package "$$name" --out-dir dist; done
	@ls dist

test-isolated: uv ## Run each package's tests against its own dependencies only (PKG narrows, ON=3.13, RESOLUTION=lowest-direct)
	@"$(PYTHON)" scripts/isolated.py $(ON:%=--python %) $(RESOLUTION:%=--resolution %) $(PKG)

test-browser: setup ## Look at the pages that the examples write, in Chromium (ARGS goes to pytest)
	@$(RUN) python -m pytest tests-browser $(ARGS)

test-conformance: setup ## Try qicore-mcp with the protocol's own suite, reference server and inspector (ARGS goes to pytest)
	@$(RUN) python -m pytest tests-conformance $(ARGS)

audit: setup ## Look every locked package up in the OSV database of known vulnerabilities
	@$(RUN) python scripts/audit.py

fuzz: setup ## Try each parser with text that is nearly right: EXAMPLES=10000 of it, 200 otherwise
	@EXAMPLES=$(EXAMPLES) $(RUN) python -m pytest $(SPREAD) tests-fuzz $(ARGS)

test-wheels: uv ## Run each package's tests on the wheel of its sdist, outside the workspace (PKG narrows, DIST=dist)
	@"$(PYTHON)" scripts/wheels.py $(DIST:%=--dist %) $(PKG)

changelog: setup ## Turn the fragments of PKG into the section of its version
	@test -n "$(PKG)" || { echo "Say which package: make changelog PKG=qicore-x" >&2; exit 2; }
	@$(RUN) python scripts/changelog.py $(PKG)

api: setup ## Compare the public API with the last release, and say what step the version needs (PKG narrows)
	@$(RUN) python scripts/api.py $(PKG)

release: setup ## Prepare a release of PKG: make release PKG=qicore-x BUMP=minor (or major, patch, 1.2.3)
	@$(RUN) python scripts/release.py "$(PKG)" "$(BUMP)"

new: setup ## Start a package from the template: make new PKG=qicore-x DESC="One line on it"
	@$(RUN) python scripts/new_package.py "$(PKG)" "$(DESC)"

clean: ## Remove what was built; .tools and .venv stay
	@rm -rf dist site build demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage*
	@find packages testkit tests-integration scripts benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +
