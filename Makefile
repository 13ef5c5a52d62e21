# What there is to do here: `make` lists it. Options are passed on: make up ARGS="--port 9000"

PYTHON ?= python3
ARGS ?=
export PYTHON

.PHONY: help
help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 16

.PHONY: up
up: runtime  ## Run Wrapup with all that it needs, until Ctrl-C
	@exec .venv/bin/wrapup up $(ARGS)

.PHONY: test
test: dev  ## Run all tests
	@.venv/bin/python -m pytest -n 2 $(ARGS)

.PHONY: faults
faults: dev  ## Torment real processes, and check the promise from outside (45 minutes; ARGS="--seed 7 --minutes 10")
	@.venv/bin/python -m tests.faults.campaign $(ARGS)

.PHONY: check
check: dev  ## Check style, types, the direction of imports, and dependencies
	.venv/bin/python -m ruff check
	.venv/bin/python -m ruff format --check
	.venv/bin/python -m mypy
	.venv/bin/lint-imports
	.venv/bin/python -m deptry .

.PHONY: bench-intake
bench-intake: dev  ## Measure intake against the echo ceiling and the usual way (20 minutes; a quiet machine)
	@.venv/bin/python -m tests.benchmarks.bench_intake --crowded 1000000 $(ARGS)

.PHONY: bench-delivery
bench-delivery: dev  ## Measure delivery against stock Celery and others (12 minutes; a quiet machine)
	@.venv/bin/python -m tests.benchmarks.bench_delivery $(ARGS)

.PHONY: bench-parts
bench-parts: dev  ## Measure what each part of a delivery costs (10 seconds)
	@.venv/bin/python -m tests.benchmarks.bench_parts $(ARGS)

.PHONY: bench-backlog
bench-backlog: dev  ## Drain a large backlog, and claim among 5,000,000 finished rows (15 minutes; 10 GB of disk)
	@.venv/bin/python -m tests.benchmarks.bench_backlog $(ARGS)

.PHONY: bench-pages
bench-pages: dev  ## Measure lists, counts and the trail at 10,000 and 1,000,000 dispositions (10 minutes; ARGS=--five-million)
	@.venv/bin/python -m tests.benchmarks.bench_pages $(ARGS)

.PHONY: bench-neighbours
bench-neighbours: dev  ## Measure what accounts notice of others that hang or have much to send (5 minutes)
	@.venv/bin/python -m tests.benchmarks.bench_neighbours $(ARGS)

.PHONY: format
format: dev  ## Bring the code into shape
	.venv/bin/python -m ruff check --fix
	.venv/bin/python -m ruff format

.PHONY: lock
lock:  ## Lock the newest versions of all dependencies, by their hashes (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv: install it, then run this again." >&2; exit 1; }
	$(COMPILE) requirements/build.in pyproject.toml --output-file requirements/runtime.txt
	$(COMPILE) requirements/build.in pyproject.toml --extra dev --constraint requirements/runtime.txt \
		--output-file requirements/dev.txt

# Without annotations and headers a lock file says what is installed, and no address where it came from.
COMPILE = uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate

# The environment, in .venv: instant, and offline, once it is there.
.PHONY: runtime dev
runtime dev:
	@sh requirements/install $@
