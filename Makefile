# Two commands do everything on a fresh machine with Python 3.11+ and make:
#   make demo    the whole path live: RunEngine -> 0MQ -> processor -> Tiled, with a report
#   make test    lint, import contracts and all tests
# and one makes the weights in models/weights again, in about an hour on two cores:
#   make train
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test lint types bench train clean

demo: $(READY)
	$(BIN)/operando demo

# a file of tests is run by one process, so that its server is started once; half of the time goes
# by waiting for real servers
TESTERS ?= 2

test: lint
	$(BIN)/pytest -n $(TESTERS) --dist loadfile

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
SCENES := --scenes 6000 --held-out 300 --patience 40 --pools $(TRAINED)

train: $(READY)
	$(BIN)/operando train dual-unet $(SCENES) --steps 5500 --out $(TRAINED)/dual-unet
	$(BIN)/operando train cyclegan $(SCENES) --paired-steps 5000 --steps 150 \
	  --out $(TRAINED)/cyclegan
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
