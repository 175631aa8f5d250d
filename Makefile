# The commands of a fresh checkout. Each sets up .venv first, with uv (fetched by pip if it is absent).
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
PYTHON ?= python3
READY := .venv/.ready

.PHONY: demo test lint setup clean

demo: $(READY)  ## set up, then predict the video that ships with the project; needs no network
	PECLIP_OFFLINE=1 .venv/bin/peclip predict examples/astronaut.mp4 --detector haar

test: $(READY)  ## set up, then run the tests
	.venv/bin/python -m pytest

lint: $(READY)  ## style, types and layers
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

setup: $(READY)

$(READY): pyproject.toml
	@test -x "$(UV)" || $(PYTHON) -m pip install --quiet --target .uv uv
	test -x .venv/bin/python || $(UV) venv --quiet --python '>=3.11' .venv
	$(UV) pip install --quiet --python .venv/bin/python -e '.[dev]'
	touch $(READY)

clean:
	rm -rf .venv .uv dist build
