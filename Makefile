# Two commands: `make demo` and `make test`. Each makes its own .venv and installs what it needs.
# Without make (Windows, for one): README.md, "Without make".
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ISOLATION :=  # CI: --no-build-isolation, so that the build backend is the one it has checked

# The constraints hold inside pip's own build environment too.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test
.DEFAULT_GOAL := demo

demo: $(STAMP)
	$(BIN)/stylegraft adapt faces-64 pencil --recipe dcl --space affine-light+ --out runs/demo

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --level error --pythonpath $(BIN)/python
	$(BIN)/pytest -q -n 2 --dist loadfile

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(ISOLATION) -c constraints.txt -e '.[dev]'
	@$(BIN)/python -c "import torch; torch.version.cuda and print('note:', torch.__version__, 'is a build for CUDA,' \
	  ' which your package index offers; it runs on the CPU too. For a smaller one: README.md, Without make')"
	@touch $@
