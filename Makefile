# Works with make and Python 3.11 or later; everything else comes from the lock file.
#   PYTHON=python3.12 make test    another interpreter
#   TORCH=cuda make test           PyTorch's CUDA build instead of the CPU one

PYTHON ?= python3
TORCH ?= cpu
ARGS ?=
BIN := $(if $(filter Windows_NT,$(OS)),.venv/Scripts,.venv/bin)
SOURCES = $(wildcard core/src metalhead/src packages/*/src integrations/*/src)
IMPORTS = $(notdir $(patsubst %/__init__.py,%,$(wildcard $(addsuffix /*/__init__.py,$(SOURCES)))))

# Nothing of the surrounding Python set-up may leak into the environment or into what runs in it.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP
export PYTHONNOUSERSITE := 1
export TORCH

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench notebooks docs lock clean

help: ## what there is to make
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

setup: ## the environment in .venv, from the lock file (the others do this first)
	@$(PYTHON) -E -s tools/set_up.py

demo: setup ## run the main experiment; the result lands in runs/
	$(BIN)/torchflux run dan $(ARGS)

# A process for each core, one thread in each: more threads would only wait for each other. A file's tests share what is compiled.
test: export OMP_NUM_THREADS = 1
test: setup ## every test (ARGS="-k chain" for some)
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

lint: setup ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(SOURCES) tools

bench: setup ## side by side with the peers
	$(BIN)/python benchmarks/core.py $(ARGS)
	$(BIN)/python benchmarks/zygote.py $(ARGS)
	$(BIN)/python benchmarks/diffeq.py
	$(BIN)/python benchmarks/mcmc.py
	$(BIN)/python benchmarks/optlayers.py
	$(BIN)/python benchmarks/physics.py
	$(BIN)/python benchmarks/metalhead.py
	$(BIN)/python benchmarks/metalhead_images.py

notebooks: setup ## run the notebooks and write them with their outputs (ARGS=NAME for one)
	$(BIN)/python tools/run_notebooks.py $(ARGS)

docs: setup ## the API pages, into site/
	$(BIN)/pdoc --output-directory site $(IMPORTS)

lock: setup ## write the lock files anew (UPGRADE=1: with the newest versions)
	$(BIN)/python -E -s tools/lock.py $(if $(UPGRADE),--upgrade)

clean: ## remove all that make has made, the environment too
	rm -rf .venv site .pytest_cache .mypy_cache .ruff_cache
