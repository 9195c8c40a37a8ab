# Two targets do everything on a fresh machine: `make claims` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

# whatever the shell says, modules are compiled once, and not by each of the many processes that the tests start
export PYTHONDONTWRITEBYTECODE :=

# glibc keeps freed memory for the next tensor: to give it back and ask for it again is half of a run's time in the kernel
export MALLOC_TRIM_THRESHOLD_ := 4000000000
export MALLOC_MMAP_THRESHOLD_ := 2000000000

# shapes are checked while the tests run, in the modules that handle tensors
SHAPES := models.graphs,models.transformer,models.training,circuits,beartype.beartype

TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests -n 2 --dist worksteal -rs --jaxtyping-packages=$(SHAPES)

.PHONY: claims page screenshots gate-example test test-long test-all matrices check bench mutants steady coverage laws docs wheel example clean

claims: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest claims -n 2

page: $(INSTALLED)
	$(BIN)/python -m figures page --out=claims.html

screenshots: page
	$(BIN)/python -m tests.screenshots

# the real diff of docs/gate.md: a copy of the shipped checkpoint with half of one head's W_Q, judged against the whole
gate-example: $(INSTALLED)
	$(BIN)/python -m tests.gate_example

test: check
	@echo "== tests of the instrument, on two processes"
	$(TESTS) -m "not long"

test-long: $(INSTALLED)
	@echo "== the long tests of the instrument, on two processes"
	$(TESTS) -m long

test-all: test test-long
	@echo "== faults planted in the instrument"
	$(BIN)/python -m tests.mutants --passed
	@echo "== verdicts under other seeds"
	$(BIN)/python -m tests.steadiness --count 2 --out=runs/steadiness-sample
	$(MAKE) matrices

matrices: $(INSTALLED)
	@echo "== the claims on the shipped checkpoint, with controls and gauges"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest claims -n 2 --claims-controls --claims-gauge

bench: $(INSTALLED)
	$(BIN)/python -m pytest benchmarks --benchmark-quiet -q

mutants: $(INSTALLED)
	$(BIN)/python -m tests.mutants

steady: $(INSTALLED)
	$(BIN)/python -m tests.steadiness --out=studies/steadiness --into=docs/instrument.md

coverage: $(INSTALLED)
	$(BIN)/python -m tests.coverage

laws: $(INSTALLED)
	$(BIN)/python -m studies laws --into=docs/laws.md
	$(BIN)/python -m studies laws --confirmed --into=README.md

docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

# without .venv: whoever wants the library alone need not wait for torch
wheel:
	rm -rf dist
	$(PYTHON) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist packaging/verdicts

# another project, as a user of the library has it: in an environment of its own, with the wheel and nothing of ours
example: wheel
	@echo "== the example, on the wheel of verdicts, in build/example"
	rm -rf build/example build/induction
	$(PYTHON) -m venv build/example
	build/example/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	build/example/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --find-links dist ./examples/induction
	cp -r examples/induction build/induction
	cd build/induction && ../example/bin/python -m pytest -n 2 --claims-controls --claims-gauge --claims-json=out.json
	cd build/induction && ../example/bin/python -m pytest -q --claims-baseline=out.json --claims-page=claims.html --claims-markdown=out.md \
		--claims-json=again.json --claims-bundle=again.bundle
	cd build/induction && ../example/bin/python -m verdicts page again.json --bundle again.bundle --out again.html && cmp claims.html again.html
	cd build/induction && ../example/bin/python -m verdicts history out.json again.json > history.txt
	cd build/induction && ../example/bin/python -m pytest -q --claims-accept

check: $(INSTALLED)
	@echo "== style and types"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(INSTALLED): pyproject.toml constraints.txt
	@echo "== making a virtual environment in .venv with $(PYTHON)"
	$(PYTHON) -m venv .venv
	@echo "== installing torch, as constraints.txt says (the largest part, some 200 MB)"
	$(BIN)/pip install --disable-pip-version-check --progress-bar off -c constraints.txt torch
	@echo "== installing the project and what its tests need"
	$(BIN)/pip install --disable-pip-version-check --progress-bar off -c constraints.txt -e '.[dev]'
	@touch $(INSTALLED)

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks build *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
