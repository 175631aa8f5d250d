# The commands of a fresh checkout. Each sets up .venv first, with uv (fetched by pip if it is absent).
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
PYTHON ?= python3
READY := .venv/.ready

.PHONY: demo test lint docs setup nano nano-ablation clean

demo: $(READY)  ## set up, then predict the video that ships with the project, without the network
	PECLIP_OFFLINE=1 .venv/bin/peclip predict examples/astronaut.mp4 --detector haar

test: $(READY)  ## set up, then run the tests that are not marked slow
	.venv/bin/python -m pytest -n 2 --dist loadfile -m 'not slow'

lint: $(READY)  ## style, types and layers
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

docs: $(READY)  ## set up, then build the website of the documentation in site/; a warning is an error
	$(UV) pip install --quiet --python .venv/bin/python --group docs
	.venv/bin/python -m mkdocs build --strict

setup: $(READY)

DATA ?= ../shared/data
# A step that was stopped is resumed, and one that is finished is left as it is.
step = if test -d runs/$(1); then .venv/bin/peclip train --resume runs/$(1); \
	else .venv/bin/peclip train --recipe recipes/$(1).yaml --out runs/$(1) $(2); fi
nano: $(READY)  ## train the embedded model anew, in runs/, and put it into the package; about two hours on two cores
	mkdir -p runs/fer2013
	test -d runs/fer2013/train || tar -xzf $(DATA)/fer2013.tar.gz -C runs
	test -d runs/lfw_faces || tar -xf $(DATA)/lfw_faces.tar -C runs
	$(call step,nano-face,--data-root runs/fer2013 --set data.votes=$(DATA)/fer2013_ferplus_votes.csv $(stem))
	.venv/bin/python recipes/nano_faces.py people --root runs --list $(DATA)/lfw_faces.csv
	test -f runs/lfw-predictions.csv || .venv/bin/peclip evaluate -m runs/nano-face --dataset table --split train \
		--data-root runs --annotations runs/lfw-unlabelled.csv --prior-weight 0 --save-predictions runs/lfw-predictions.csv
	$(table) --predictions runs/lfw-predictions.csv
	$(table) --predictions runs/lfw-predictions.csv --every 3 --out windows.csv
	$(call step,nano-backbone,--data-root runs --annotations runs/faces.csv)
	$(call step,nano,--data-root runs --annotations runs/windows.csv)
	.venv/bin/python recipes/nano_card.py --data runs --votes $(DATA)/fer2013_ferplus_votes.csv --clips $(DATA)/clips \
		--model runs/nano/model --pooled runs/nano-backbone/model --out src/peclip/assets/nano \
		--stages $(addprefix runs/,nano-face nano-backbone nano) $(if $(ablations),--ablation $(ablations)) $(CARD)
	.venv/bin/python recipes/nano_ranges.py --data runs --model src/peclip/assets/nano --write
# More for the card: --previous CHECKOUT with an earlier model, --peers FILE of benchmarks/peers.py.
CARD ?=
ablations = $(foreach run,$(wildcard runs/ablation-*),$(patsubst runs/ablation-%,%,$(run))=$(run))

# One epoch each of the first step on a table, with one ingredient left out.
stem = --set train.stem.weights=$(DATA)/models/hse_mobilenet_vggface2_fp16.safetensors
ablate = test -f runs/ablation-$(1)/report.json || .venv/bin/peclip train --recipe recipes/nano-face.yaml --overwrite \
	--dataset table --data-root runs --annotations runs/$(2) --epochs 1 --set data.targets=votes --set data.copies=keep \
	--out runs/ablation-$(1) $(3)
table = .venv/bin/python recipes/nano_faces.py train --root runs --votes $(DATA)/fer2013_ferplus_votes.csv
nano-ablation: $(READY)  ## after make nano: what votes, dropped copies, the face network and the photographs bring
	$(table) --predictions runs/lfw-predictions.csv --targets labels --out faces-labels.csv
	$(table) --predictions runs/lfw-predictions.csv --copies keep --out faces-copies.csv
	$(table) --out faces-fer2013.csv
	$(call ablate,all,faces.csv,$(stem))
	$(call ablate,no-votes,faces-labels.csv,$(stem))
	$(call ablate,with-copies,faces-copies.csv,$(stem))
	$(call ablate,no-face-network,faces.csv,--set train.stem.frozen=0)
	$(call ablate,no-photographs,faces-fer2013.csv,$(stem))

$(READY): pyproject.toml
	@test -x "$(UV)" || $(PYTHON) -m pip install --quiet --target .uv uv
	test -x .venv/bin/python || $(UV) venv --quiet --python '>=3.11' .venv
	$(UV) pip install --quiet --python .venv/bin/python -e '.[dev]'
	touch $(READY)

clean:
	rm -rf .venv .uv dist build site
