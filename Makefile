# Perennial. `make` alone lists what there is.

PYTHON ?=
CONFIG ?= config/demo.yaml
DATA   ?=
PORT   ?= 8080
DAYS   ?=
BACKEND ?=

PY := .venv/bin/python
STACK := $(PY) -m deploy.local.stack
WITHIN_LOCK := .venv/bin/uv pip compile -c requirements.txt --generate-hashes --no-header --no-annotate --quiet
# What CatBoost and Feast ask for and the scoring service never imports: pictures, and the types of SQLAlchemy.
NOT_SERVED := matplotlib plotly graphviz pillow fonttools kiwisolver contourpy cycler pyparsing narwhals mypy mypy-extensions librt pathspec ast-serialize types-greenlet

# Tests that run on files and on servers, unchanged.
ON_SERVERS := tests/ledger tests/registry tests/store tests/decision tests/serving

.DEFAULT_GOAL := help
.PHONY: help demo serve stop status env browser test test-compose docs proofs lint types format lock secrets clean distclean

help: ## this list
	@echo 'make WORD [CONFIG=$(CONFIG)] [DATA=file of past events] [PORT=$(PORT)] [DAYS=days to play] [PYTHON=/path/to/python3.11]'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: env ## start Airflow and run the whole pipeline on simulated payments, or on DATA
	@$(PY) -m deploy.local.demo --config $(CONFIG) --port $(PORT) $(if $(DATA),--data $(DATA)) $(if $(DAYS),--days $(DAYS))

serve: env ## answer scores of the champion at http://127.0.0.1:8000
	$(PY) -m ml serve --config $(CONFIG)

stop: ## stop what `make demo` started, for every deployment
	@if [ -x $(PY) ]; then $(STACK) stop-all; else echo 'nothing was running'; fi

status: ## say what runs, and where
	@if [ -x $(PY) ]; then $(STACK) status --config $(CONFIG); else echo 'not installed; make env'; fi

env: ## make .venv with exactly the packages of requirements.txt
	@PYTHON='$(PYTHON)' sh deploy/local/setup.sh

browser: ## install Debian's Chromium, in which the tests look at the pages, unless there is one (as root)
	@[ -n "$$CHROMIUM" ] || which chromium chromium-browser google-chrome 2>/dev/null | grep -q . || { apt-get update -q && apt-get install -q -y --no-install-recommends chromium; }

test: env browser lint types ## lint, types and all tests; BACKEND=postgres: tests of what a server keeps, on PostgreSQL and Redis
	$(PY) -m pytest -n 3 $(if $(filter postgres,$(BACKEND)),--backend postgres $(ON_SERVERS))

docs: env ## write the documentation as a site to var/site; a link that leads nowhere is an error
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

proofs: env ## what tests leave out or run thinner: two hundred kills, more planted defects, a storm of triggers, the error rates of gate and detector
	$(PY) -m pytest -n 2 --proofs tests/test_kills.py tests/test_planted_defects.py tests/decision/test_loop.py tests/test_older_home.py tests/artifacts/test_writes.py tests/lake/test_object_store.py tests/registry/test_machines.py tests/features/test_spark.py tests/serving/test_killed.py tests/monitoring/test_cut_off.py tests/dags/test_storm.py tests/dags/test_browser.py
	$(PY) -m benchmarks.gate_errors
	$(PY) -m benchmarks.drift_errors

test-compose: env ## build docker-compose.yaml, start it, run the pipeline through it, break it (a Docker engine, or root on Debian)
	$(PY) -m pytest --compose -p no:cacheprovider -s -v tests/compose

lint: env ## style and common mistakes
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: env ## static types
	$(PY) -m mypy

format: env ## bring the code into form
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

lock: env ## compile requirements.in into requirements.txt, with hashes, and what of it the images carry
	.venv/bin/uv pip compile requirements.in --generate-hashes --no-header -o requirements.txt
	sed '/^# -- development/,$$d' requirements.in | $(WITHIN_LOCK) - -o deploy/images/requirements-airflow.txt
	$(WITHIN_LOCK) deploy/images/requirements-serving.in $(NOT_SERVED:%=--no-emit-package %) -o deploy/images/requirements-serving.txt

secrets: ## write the secrets of docker-compose.yaml to .env, readable for you alone
	@$(if $(wildcard $(PY)),$(PY),python3) -m deploy.compose.secrets_file

clean: ## stop everything and delete var/ and caches; .venv stays
	@if [ -x $(PY) ]; then $(STACK) stop-all; fi
	rm -rf var .pytest_cache .mypy_cache .ruff_cache .hypothesis catboost_info
	find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## clean, and delete .venv
	rm -rf .venv
