# The commands of a fresh checkout. Each sets up .venv first, with uv (fetched by pip if it is absent).
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
PYTHON ?= python3
READY := .venv/.ready

.PHONY: demo test lint setup nano clean

demo: $(READY)  ## set up, then predict the video that ships with the project, without the network
	PECLIP_OFFLINE=1 .venv/bin/peclip predict examples/astronaut.mp4 --detector haar

test: $(READY)  ## set up, then run the tests
	.venv/bin/python -m pytest -n 2 --dist loadfile

lint: $(READY)  ## style, types and layers
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

setup: $(READY)

FER2013 ?= ../shared/data/fer2013.tar.gz
CLIPS ?= ../shared/data/clips
nano: $(READY)  ## train the embedded model anew, in runs/, and put it into the package; hours on two cores
	mkdir -p runs/fer2013
	tar -xzf $(FER2013) -C runs/fer2013
	.venv/bin/peclip train --recipe recipes/nano-teacher.yaml --data-root runs/fer2013 --out runs/nano-teacher
	.venv/bin/peclip train --recipe recipes/nano-backbone.yaml --data-root runs/fer2013 --out runs/nano-backbone
	.venv/bin/peclip train --recipe recipes/nano-again.yaml --data-root runs/fer2013 --out runs/nano-again
	.venv/bin/peclip train --recipe recipes/nano-pooled.yaml --data-root runs/fer2013 --out runs/nano-pooled
	.venv/bin/peclip train --recipe recipes/nano.yaml --data-root runs/fer2013 --out runs/nano
	.venv/bin/python recipes/nano_card.py --data runs/fer2013 --clips $(CLIPS) --model runs/nano/model \
		--pooled runs/nano-pooled/model --out src/peclip/assets/nano

$(READY): pyproject.toml
	@test -x "$(UV)" || $(PYTHON) -m pip install --quiet --target .uv uv
	test -x .venv/bin/python || $(UV) venv --quiet --python '>=3.11' .venv
	$(UV) pip install --quiet --python .venv/bin/python -e '.[dev]'
	touch $(READY)

clean:
	rm -rf .venv .uv dist build
