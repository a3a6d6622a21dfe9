# Two commands do everything on a fresh machine with Python 3.11+ and make:
#   make demo    the whole path live: RunEngine -> 0MQ -> processor -> Tiled, with a report
#   make test    lint, import contracts and all tests
# and one makes the weights in models/weights again, in some hours:
#   make train
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test lint types bench train clean

demo: $(READY)
	$(BIN)/operando demo

test: lint
	$(BIN)/pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(READY)
	$(BIN)/basedpyright

bench: $(READY)
	$(BIN)/operando bench pipeline

# the weights that are shipped; `make train TRAINED=DIR` keeps checkpoints and logs in DIR, from
# which an interrupted training goes on with: operando train dual-unet --out DIR/dual-unet --resume
TRAINED ?= build/trained

train: $(READY)
	$(BIN)/operando train dual-unet --out $(TRAINED)/dual-unet --pools $(TRAINED)
	$(BIN)/operando train cyclegan --out $(TRAINED)/cyclegan --pools $(TRAINED)
	cp $(TRAINED)/*/*.safetensors models/weights/
	cd models/weights && sha256sum *.safetensors > SHA256SUMS

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "operando needs Python 3.11 or newer; set it with: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .import_linter_cache
