# Every target sets up what it needs; `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROJECTS := pyproject.toml server_aggregator/pyproject.toml lab/pyproject.toml
DATA ?=
export TACTFUL_DATA := $(abspath $(or $(DATA),$(TACTFUL_DATA),$(wildcard ../shared/datasets)))

.DEFAULT_GOAL := help
.PHONY: caches wheels sbom test-pythons walks help demo audit test lint format bench caps-campaign privacy-campaign constraints interop dap-campaign attacks fuzz test-postgres clean test-clusters

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/run.stamp ## a complete training on real data: two aggregators, real devices, report.html (2 minutes)
	@$(BIN)/tactful-lab demo --out out/demo $(DEMO)

audit: $(VENV)/run.stamp ## the demo, then what an auditor makes of its evidence: report.html (4 minutes)
	@$(BIN)/tactful-lab demo --out out/demo --evidence out/evidence $(DEMO)
	@$(BIN)/tactful audit --full --evidence out/evidence --registry --out out/audit

test: $(VENV)/dev.stamp ## every test
	@$(BIN)/python -m pytest -n auto --dist worksteal -q $(TESTS)

lint: $(VENV)/dev.stamp ## format, style, types and floors
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -I .ci/check_constraints.py

format: $(VENV)/dev.stamp ## put the code in shape
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/bench.stamp ## measure speed and size, as ratios in one run
	@$(BIN)/python benchmarks/startup.py
	@$(BIN)/python benchmarks/vdaf_bench.py
	@$(BIN)/python benchmarks/upload_bench.py
	@$(BIN)/tactful-lab round --clients 10 --length 65536 --rounds 3
	@$(BIN)/tactful-lab round --clients 10 --length 65536 --rounds 3 --vdaf pine64
	@$(BIN)/python benchmarks/caps_bench.py $(CAPS)
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python benchmarks/ranking_bench.py
	@$(BIN)/python benchmarks/privacy_bench.py
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python benchmarks/simulation_bench.py

interop: $(VENV)/dev.stamp ## the npm client @divviup/dap reports to our pair (needs node and npm)
	@mkdir -p out/interop && cd out/interop && npm install --silent --no-save --no-package-lock @divviup/dap@0.9.1
	@TACTFUL_INTEROP=$(abspath out/interop) $(BIN)/python -m pytest -q tests/interop

caps-campaign: $(VENV)/dev.stamp ## many random lives against the slow recount of caps, N=200000
	@$(BIN)/python tests/campaigns/caps_campaign.py $(or $(N),200000)

privacy-campaign: $(VENV)/dev.stamp ## false alarms over N=200 audits; with the extra crosscheck, other accountants too
	@HYPOTHESIS_PROFILE=campaign TACTFUL_EVERY_ROW=1 $(BIN)/python -m pytest -q tests/sdk/privacy
	@$(BIN)/python -c "import dp_accounting, opendp" 2>/dev/null && $(BIN)/python tests/campaigns/accountant_crosscheck.py || echo "crosscheck: pip install 'tactful[crosscheck]'"
	@$(BIN)/python tests/campaigns/audit_campaign.py $(or $(N),200)
dap-campaign: $(VENV)/dev.stamp ## many schedules of faults for the pair, 10,000 hostile reports, N=2000
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python tests/campaigns/dap_campaign.py $(or $(N),2000)

attacks: $(VENV)/dev.stamp ## known attacks against a real pair and device; fails if any succeeds
	@$(BIN)/python tests/campaigns/attacks

fuzz: $(VENV)/dev.stamp ## every decoder under coverage-guided fuzzing, SECONDS=300 (extra fuzz: atheris)
	@mkdir -p out/fuzz/corpus
	@if $(BIN)/python -c "import atheris" 2>/dev/null; then \
	  $(BIN)/python tests/campaigns/decoder_fuzz.py out/fuzz/corpus -artifact_prefix=out/fuzz/ \
	    -max_total_time=$(or $(SECONDS),300) -timeout=10 -rss_limit_mb=8192 -max_len=4096 -print_final_stats=1; \
	else echo "fuzz: atheris is not installed; $(BIN)/python -m pip install 'atheris>=2.3' (Linux, macOS)"; fi

test-postgres: $(VENV)/dev.stamp ## the datastore's contract and some faults on a PostgreSQL server of its own
	@.ci/postgres.sh $(BIN)/python -m pytest -q tests/server_aggregator/datastore/test_datastore_contract.py tests/server_aggregator/jobs/test_worker.py
	@.ci/postgres.sh $(BIN)/python tests/campaigns/dap_campaign.py $(or $(N),40)

test-clusters: $(VENV)/dev.stamp ## simulations on Ray and on Dask, in an environment of their own
	@$(PYTHON) -m venv out/clusters
	@out/clusters/bin/python -m pip install -q -e . -e server_aggregator -e 'lab[ray,dask]' pytest hypothesis
	@out/clusters/bin/python -m pytest -q tests/lab/simulation/test_cohorts.py -k cluster

wheels: $(VENV)/dev.stamp ## build the three distributions into dist/
	@rm -rf dist && for folder in . server_aggregator lab; do \
	  $(BIN)/python -m build --no-isolation --outdir dist $$folder >/dev/null || exit 1; done; ls -l dist

sbom: $(VENV)/dev.stamp ## a CycloneDX list of the pinned dependencies: dist/sbom.json
	@mkdir -p dist && $(PYTHON) -m venv out/sbom && out/sbom/bin/python -m pip install -q 'cyclonedx-bom>=4'
	@out/sbom/bin/cyclonedx-py requirements constraints.txt --of JSON -o dist/sbom.json

test-pythons: $(VENV)/dev.stamp ## run the README program on every interpreter from 3.11 on that is here
	@$(BIN)/python .ci/test_pythons.py

walks: $(VENV)/dev.stamp ## how many files one call of the API enters, beside the targets
	@$(BIN)/python benchmarks/call_paths.py

caches: $(VENV)/dev.stamp ## what each cache of the device saves (5 minutes)
	@$(BIN)/python benchmarks/cache_bench.py

constraints: $(VENV)/dev.stamp ## pin every dependency again, hashed and host-free
	@$(BIN)/python .ci/pin.py

clean: ## remove what was built, not the environment
	rm -rf build dist out .mypy_cache .pytest_cache .ruff_cache .hypothesis

# The environment is built again only when the pins or the project file change.
$(VENV)/run.stamp: constraints.txt $(PROJECTS) .ci/setup.sh
	@PYTHON=$(PYTHON) sh .ci/setup.sh constraints.txt $(VENV) run

$(VENV)/dev.stamp: constraints-dev.txt $(PROJECTS) .ci/setup.sh
	@PYTHON=$(PYTHON) sh .ci/setup.sh constraints-dev.txt $(VENV) dev

$(VENV)/bench.stamp: $(VENV)/dev.stamp constraints-bench.txt
	@PYTHON=$(PYTHON) sh .ci/setup.sh constraints-bench.txt $(VENV) bench
