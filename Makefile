# The front door. CI calls the same targets that people call.
.DEFAULT_GOAL := help
.PHONY: help demo serve test test-all coverage lint format docs bench prove chaos mutants clean

BIN := .venv/bin
# One process more than CI has cores, because many tests wait; and with bytecode, wherever it is
# switched off, because many start processes.
PYTEST = OMP_NUM_THREADS=1 PYTHONHASHSEED=random PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 3 --dist worksteal -q

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The stamps are younger than what they were made from: a second run does nothing.
.venv/.installed: pyproject.toml constraints.txt tools/env.sh
	@tools/env.sh all,dev
	@touch $@

.venv/.installed-docs: .venv/.installed
	@tools/env.sh all,dev,docs
	@touch $@

demo: .venv/.installed ## Train on real rows, forget people, compare with never having seen them
	@$(BIN)/expunge demo

serve: .venv/.installed ## Try the service: a small home with a model and a key, on port 8000
	@$(BIN)/python tools/serve.py $(ARGS)

test: .venv/.installed ## All tests but the slow ones
	@$(PYTEST) -m 'not slow'

test-all: .venv/.installed ## All tests
	@$(PYTEST)

coverage: .venv/.installed ## All tests but the slow ones, with the lines that none of them runs
	@$(BIN)/coverage erase
	@OMP_NUM_THREADS=1 $(BIN)/coverage run -m pytest -n 2 -q -m 'not slow'
	@$(BIN)/coverage combine -q && $(BIN)/coverage report

lint: .venv/.installed ## Style, types, layers, and whether the drawn tree is true
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports >.import-linter.log 2>&1 || { cat .import-linter.log; exit 1; }
	@$(BIN)/python tools/tree.py --check
	@echo 'lint: clean'

format: .venv/.installed ## Format the code, redraw the tree
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .
	@$(BIN)/python tools/tree.py

docs: .venv/.installed-docs ## Build the pages of docs/ into site/
	@$(BIN)/mkdocs build --quiet --strict
	@echo "The pages are in site/index.html."

bench: .venv/.installed ## Run one benchmark: make bench NAME=exact
	@test -f 'benchmarks/$(NAME).py' || { \
	  echo "Name one: make bench NAME=…, of: $$(grep -l __main__ benchmarks/*.py | xargs -n 1 basename -s .py | xargs)" >&2; exit 2; }
	@$(BIN)/python benchmarks/$(NAME).py $(ARGS)

prove: .venv/.installed ## The long proofs, 300 cases each; prints how many ran
	@EXPUNGE_EXAMPLES=$${EXPUNGE_EXAMPLES:-300} $(PYTEST) -m prove --timeout 0

chaos: .venv/.installed ## Kill servers, workers, database, broker and disk at random, 200 times
	@cd tests && OMP_NUM_THREADS=1 ../$(BIN)/python -m chaos.run $(ARGS)

mutants: .venv/.installed ## Break our rules one by one; the named tests must fail
	@$(BIN)/python tools/mutants.py

clean: ## Remove the environment and all that was generated
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .import-linter.log .coverage* site build dist src/*.egg-info
	@find src tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
