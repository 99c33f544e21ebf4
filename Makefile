# make setup | demo | test | test-all | lint | format | docs | golden | parity | table
# Works from any folder (make -C path/to/mmcnn demo). Needs Python 3.11 or 3.12 and, the first time, a network.
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done || true)
BIN := .venv/bin
STAMP := .venv/.ready

.PHONY: setup demo test test-all lint format docs golden parity table clean
setup: $(STAMP)

$(STAMP): constraints.txt setup.py pyproject.toml mmcnn/version.py tools/setup_venv.sh
	@bash tools/setup_venv.sh "$(PYTHON)"
	@touch $@

demo: setup
	@$(BIN)/python tools/train.py configs/yolov4_cspdarknet53_narrow.py --data demo --img-size 160 --epochs 30

test: setup
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

test-all: setup
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal -m 'not campaign and not real_weights'

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup
	PYTHONPATH=$(CURDIR) $(BIN)/zensical build --clean --strict

golden: setup
	$(BIN)/python -m pytest tests/models/backbones -k golden --update-golden

parity: setup
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal tests/parity tests/weights/sources/test_ultralytics.py \
	  tests/weights/test_hostile_files.py tests/weights/test_hostile_kinds.py -m 'slow or not slow' --write-parity

table: setup
	$(BIN)/python -m mmcnn.zoo.measure
	$(BIN)/python -m mmcnn.zoo.sizes
	$(BIN)/python tools/model_zoo.py costs --into docs/costs.md
	$(BIN)/python tools/model_zoo.py --into docs/networks.md --plot docs/zoo.png

clean:
	rm -rf .venv .cache build site *.egg-info .hypothesis .pytest_cache .ruff_cache
