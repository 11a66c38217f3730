# Everything to do with zaudio. `make` alone lists the targets; they need Python 3.11 or newer, make and PyPI alone.

PYTHON = python3
INPUT =
OP =
CHUNK =
N =
OUT = generated_data
BIND = tcp://127.0.0.1:5555
ENDPOINT = $(BIND)
ALLOW =
MINUTES = 10
JOBS = 2
ARGS =

VENV = .venv
ZAUDIO = $(VENV)/bin/python -P -m zaudio
# Two stamps, because `make farm` needs no development tools. Both are made again when pyproject.toml or pins change.
RUNTIME = $(VENV)/runtime.stamp
DEV = $(VENV)/development.stamp
BENCH_VENV = .venv-bench
BENCH = $(BENCH_VENV)/bench.stamp
TEST_RAW = generated_data/test.raw
SOAK = benchmarks/results/soak
# The test recording is made only when INPUT names no other.
RECORDING = $(if $(INPUT),,$(TEST_RAW))
WHAT = '$(or $(INPUT),$(TEST_RAW))' -o '$(OUT)' --overwrite \
	$(foreach op,$(OP),--op '$(op)') $(if $(CHUNK),--chunk '$(CHUNK)') $(ARGS)
ALLOWED = $(foreach module,$(ALLOW),--allow '$(module)')

export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help setup farm generate coordinator worker workers decrypt test test-all chaos reliability soak fuzz style check bench clean
.NOTPARALLEL: # two pips in one environment do each other harm

help: ## list the targets
	@echo "make TARGET [NAME=VALUE ...]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1	\2/p' Makefile | while IFS='	' read -r target text; do \
		printf '  %-12s %s\n' "$$target" "$$text"; done

setup: $(RUNTIME) ## make .venv with the package and its pinned dependencies
	@echo "zaudio is ready: $(VENV)/bin/zaudio --help"

farm: $(RUNTIME) $(RECORDING) ## run a job here: N=8 INPUT=take.wav OP=gain:db=-3 CHUNK=1MiB OUT=folder ARGS="..."
	@$(ZAUDIO) farm $(WHAT) $(if $(N),-n '$(N)')

generate: $(RUNTIME) ## make the test recording again, an hour of noise: ARGS="--seconds 60 --channels 2"
	@$(ZAUDIO) generate $(TEST_RAW) $(ARGS)

coordinator: $(RUNTIME) $(RECORDING) ## run a job with workers from elsewhere: BIND=tcp://127.0.0.1:5555, else as farm
	@$(ZAUDIO) coordinator $(WHAT) --bind '$(BIND)'

worker: $(RUNTIME) ## run one worker: ENDPOINT=tcp://127.0.0.1:5555 ALLOW=my_module ARGS="..."
	@$(ZAUDIO) worker '$(ENDPOINT)' $(ALLOWED) $(ARGS)

workers: $(RUNTIME) ## run several workers: N=4, else as worker
	@$(ZAUDIO) worker '$(ENDPOINT)' -n '$(or $(N),4)' $(ALLOWED) $(ARGS)

decrypt: $(RUNTIME) ## verify the result and write its audio to decrypted.raw: OUT=folder ARGS=--forward
	@$(ZAUDIO) decrypt '$(OUT)' --overwrite $(ARGS)

# Without -m, what pyproject.toml says. Real processes mostly wait, so two files at a time cost little more than one, those
# with most of them first. There are hundreds of them: where Python may not keep what it has compiled, as in many
# containers, each of them would compile the package again.
PYTEST = $(VENV)/bin/python -m compileall -q zaudio tests && $(VENV)/bin/python -m pytest
TESTS = $(PYTEST) -rs -n '$(JOBS)' --dist loadfile --no-loadscope-reorder

test: $(DEV) ## run the tests, in about three minutes: JOBS=4 at a time, ARGS="-k resume"
	@$(TESTS) $(ARGS)

test-all: $(DEV) ## run these and more of the same: other parameters, more faults, longer runs
	@$(TESTS) -m 'not chaos' $(ARGS)

chaos: $(DEV) ## run the faults that neither has time for, ARGS="-k disk"
	@$(PYTEST) -rs -m chaos $(ARGS)

reliability: $(DEV) ## write the table of docs/reliability.md again, from the tests' markers
	@$(VENV)/bin/python tests/reliability.py

# Faults need the development environment, the picture that of the benchmarks.
soak: $(DEV) $(BENCH) ## do MINUTES=10 of random faults: memory and descriptors must stay flat, a picture shows them
	@rm -f $(SOAK).json
	@status=0; $(VENV)/bin/python tests/chaos/soak.py --minutes '$(MINUTES)' --output $(SOAK).json $(ARGS) || status=$$?; \
	test ! -f $(SOAK).json || $(BENCH_VENV)/bin/python tests/chaos/soak_picture.py $(SOAK).json $(SOAK).png; exit $$status

# The fuzzer has an environment of its own too, and keeps its corpus and findings there.
FUZZ_VENV = .venv-fuzz
FUZZ = $(FUZZ_VENV)/fuzz.stamp
SECONDS = 60

fuzz: $(FUZZ) ## look for bytes that break the codec, the brains or readers of files: SECONDS=60 each
	@mkdir -p $(FUZZ_VENV)/findings
	@for target in codec coordinator worker files recordings pages metadata spools results; do \
		echo "fuzzing: $$target, $(SECONDS) s"; \
		$(FUZZ_VENV)/bin/python tests/fuzz/targets.py --seeds $(FUZZ_VENV)/corpus/$$target && \
		$(FUZZ_VENV)/bin/python tests/fuzz/targets.py $$target -max_total_time=$(SECONDS) -print_final_stats=1 \
			-verbosity=0 -artifact_prefix=$(CURDIR)/$(FUZZ_VENV)/findings/$$target- $(ARGS) \
			$(CURDIR)/$(FUZZ_VENV)/corpus/$$target || exit 1; \
	done

style: $(DEV) ## check format, lint and types
	@$(VENV)/bin/python -m ruff format --check .
	@$(VENV)/bin/python -m ruff check .
	@$(VENV)/bin/python -m mypy

check: style test ## check format, lint and types, then run the tests

# Benchmarks have an environment of their own, so that other engines do not get into the ordinary one. In ARGS, all
# benchmarks take --rounds, --touch, --markdown.
PEERS = $(BENCH_VENV)/peers.stamp
BENCH_RUN = $(BENCH_VENV)/bin/python benchmarks
BENCH_INPUT = '$(or $(INPUT),$(TEST_RAW))' $(if $(N),-n '$(N)')

.PHONY: bench-audio bench-batch bench-keys bench-limit bench-many bench-peers bench-render bench-scale bench-sealed \
	bench-seeing pictures profile

bench: $(BENCH) $(RECORDING) ## compare chunk sizes, 4 KiB to 16 MiB, and numbers of workers: N=2 INPUT=take.wav ARGS="--rounds 1"
	@$(BENCH_RUN)/chunk_sizes.py $(BENCH_INPUT) $(ARGS)

bench-limit: $(BENCH) $(RECORDING) ## compare with one process, openssl, cp and the bare cipher; start-up: N=2 INPUT=take.raw
	@$(BENCH_RUN)/limit.py $(BENCH_INPUT) $(ARGS)
	@$(BENCH_RUN)/startup.py $(ARGS)

bench-peers: $(PEERS) $(RECORDING) ## compare with ProcessPoolExecutor, joblib, Dask and Ray: N=2 INPUT=take.raw
	@$(BENCH_RUN)/peers.py $(BENCH_INPUT) $(ARGS)

bench-audio: $(BENCH) ## compare ops with memory with SoX and FFmpeg, over an hour of made speech: ARGS="--only biquads"
	@$(BENCH_RUN)/audio.py $(ARGS)

bench-batch: $(BENCH) ## measure 1,000 recordings of a second, an op of 50 ms, also over a line, 20 of three minutes: N=2
	@$(BENCH_RUN)/batch.py $(if $(N),-n '$(N)') $(ARGS)

bench-render: $(BENCH) ## compare files that play, an hour long, with SoX, FFmpeg and flac: N=2 ARGS="--only FLAC"
	@$(BENCH_RUN)/rendering.py $(if $(N),-n '$(N)') $(ARGS)

bench-sealed: $(BENCH) ## measure how long a sealed result takes as an input, per 100 GB: ARGS="--gb 8"
	@$(BENCH_RUN)/sealed.py $(ARGS)

bench-seeing: $(BENCH) $(RECORDING) ## compare jobs with 50 open pages, with a log of events, with neither: N=2 INPUT=take.raw ARGS="--readers 64"
	@$(BENCH_RUN)/pages.py $(BENCH_INPUT) $(ARGS)

# The browser's driver is a tool of development.
pictures: $(DEV) ## make the pictures of docs/seeing.md again, in a minute: needs chromium and chromium-driver
	@$(VENV)/bin/python benchmarks/scene.py $(ARGS)

bench-keys: $(BENCH) $(RECORDING) ## measure the processor time that keys cost, beside bare sockets: N=2 INPUT=take.raw
	@$(BENCH_RUN)/keys.py $(BENCH_INPUT) $(ARGS)

bench-many: $(BENCH) ## simulate 10 to 10,000 workers on the shipped Desk, and run 1,000 answering ones for real
	@$(BENCH_RUN)/many_workers.py $(ARGS)

bench-scale: bench-many ## do that, and measure 0.1 to 10 GB, 10 to 1,000,000 chunks, 1 to 1,000 workers, a costly op
	@$(BENCH_RUN)/scale.py $(if $(N),-n '$(N)') $(ARGS)
	@$(BENCH_RUN)/answering.py $(ARGS)
	@$(BENCH_RUN)/costly_op.py $(if $(N),-n '$(N)') $(ARGS)

profile: $(BENCH) $(RECORDING) ## show where the coordinator's time goes, by thread: N=2 INPUT=take.wav
	@$(BENCH_RUN)/profiling.py $(BENCH_INPUT) $(ARGS)

# A result is removed with its key: nothing else of a folder that OUT names.
OUTPUTS = result.raw encryption_key.bin encryption_iv.bin result.json
clean: ## remove environments, caches, measurements, the test recording, and the result in OUT=folder
	@rm -rf $(VENV) $(BENCH_VENV) $(FUZZ_VENV) build dist *.egg-info
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis benchmarks/results
	@find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
	@rm -f $(TEST_RAW)
	@for name in $(OUTPUTS) $(OUTPUTS:=.part) decrypted.raw decrypted.raw.part result.journal result.commit \
		result.commit.part; do rm -f '$(OUT)'/$$name; done
	@test '$(OUT)' = generated_data || rmdir '$(OUT)' 2>/dev/null || true

$(TEST_RAW): | $(RUNTIME)
	@echo "generating $@: an hour of noise, 635 MB"
	@$(ZAUDIO) generate --quiet $@

$(RUNTIME): pyproject.toml constraints.txt
	@$(call environment)
	@echo "installing zaudio and its dependencies into $(VENV)"
	@$(VENV)/bin/python -m pip install -qq -c constraints.txt -e '.[dsp,plot]'
	@touch $@

$(DEV): pyproject.toml constraints.txt
	@$(call environment)
	@echo "installing zaudio, its dependencies and the development tools into $(VENV)"
	@$(call groups)
	@$(VENV)/bin/python -m pip install -qq -c constraints.txt --group dev -e '.[dsp,plot]'
	@touch $(RUNTIME) $@

$(BENCH): VENV = $(BENCH_VENV)
$(BENCH): pyproject.toml constraints.txt benchmarks/constraints.txt
	@$(call environment)
	@echo '*' > $(BENCH_VENV)/.gitignore
	@echo "installing zaudio and the tools of its benchmarks into $(BENCH_VENV)"
	@$(call groups)
	@$(BENCH_VENV)/bin/python -m pip install -qq -c constraints.txt -c benchmarks/constraints.txt --group bench -e '.[dsp,plot]'
	@touch $@

$(FUZZ): VENV = $(FUZZ_VENV)
$(FUZZ): pyproject.toml constraints.txt
	@$(call environment)
	@echo "installing zaudio and a fuzzer into $(FUZZ_VENV)"
	@$(call groups)
	@$(FUZZ_VENV)/bin/python -m pip install -qq -c constraints.txt --group fuzz -e '.[dsp]'
	@touch $@

$(PEERS): $(BENCH)
	@echo "installing joblib, Dask and Ray into $(BENCH_VENV)"
	@$(BENCH_VENV)/bin/python -m pip install -qq -c constraints.txt -c benchmarks/constraints.txt joblib distributed ray
	@touch $@

# An environment that cannot run pip is half made, or its Python is gone: it is made again.
define environment
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "zaudio needs Python 3.11 or newer; name one with: make PYTHON=python3.12" >&2; exit 1; }; \
$(VENV)/bin/python -m pip --version >/dev/null 2>&1 || { \
	echo "making $(VENV)"; $(PYTHON) -m venv --clear $(VENV); }
endef

# The pip that a Python brings may be too old for dependency groups.
groups = $(VENV)/bin/python -m pip install -qq -c constraints.txt pip
