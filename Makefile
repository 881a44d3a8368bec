# Every target does all of its own set-up, on Linux with Python 3.10 to 3.13: Debian's packages (installed as root, named
# otherwise), the virtual environment .venv, and the pinned requirements. What is up to date is not done again.
#
#   make demo      the factory's bundle plays a clip of a dance: out/demo
#   make trainer   set up for training: python -m trainer
#   make test      lint, types and tests; LONG_TESTS=1 make test: those, too, that take long
#   make bench     what it costs, each figure beside its limit: tests/bench/RESULTS.md
#   make soak      play for two minutes while the machine is busy; SOAK_MINUTES=60 make soak: for an hour
#   make twin      the whole box without its hardware, in containers and an emulated machine: tests/twin/RESULTS.md
#   make twin-container   the part of it for every day: containers only
#   make clean     remove the virtual environment, caches and out
#
# Another Python: make demo PYTHON=python3.12

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := demo
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
ON_PI := $(findstring rpi,$(shell uname -r))

PACKAGES := gcc pkg-config libasound2-dev libsystemd-dev openssh-client
PACKAGES += $(if $(ON_PI),python3-picamera2 python3-lgpio)
# Whoever sets up for one of these sets up for all: they share a stamp.
WITH_TESTS := $(filter test lint bench soak twin twin-container,$(MAKECMDGOALS))
# OpenCV wants the libraries, musicalgestures ffmpeg; PulseAudio is a sound card in real time. All serve tests only.
PACKAGES += $(if $(WITH_TESTS),libgl1 libglib2.0-0 ffmpeg)
PACKAGES += $(if $(WITH_TESTS),pulseaudio pulseaudio-utils libasound2-plugins)
# systemd-analyze reads the units.
PACKAGES += $(if $(WITH_TESTS),systemd)
# A real sshd on loopback stands before the box that bundles are pushed to.
PACKAGES += $(if $(WITH_TESTS),openssh-server)
# A camera through GStreamer: its test picture stands in for one.
PACKAGES += $(if $(WITH_TESTS),libgstreamer1.0-0 libgstreamer-plugins-base1.0-0)
PACKAGES += $(if $(WITH_TESTS),gstreamer1.0-plugins-base gstreamer1.0-plugins-good)
# The trainer's report is looked at in a browser, of which any will do.
PACKAGES += $(if $(WITH_TESTS),$(if $(shell command -v chromium || command -v google-chrome),,chromium))
# The box under systemd, in containers.
TWIN_CONTAINER_PACKAGES := systemd-container mmdebstrap
PACKAGES += $(if $(WITH_TESTS),$(TWIN_CONTAINER_PACKAGES))
# The box as a machine, and its disk at every moment of a power cut.
TWIN_PACKAGES := $(TWIN_CONTAINER_PACKAGES) qemu-system-x86 qemu-system-common qemu-utils e2fsprogs openssh-client
PACKAGES_PYTHON := python3 python3-venv python3-dev

# One stamp a set of requirements, named after their content: a new content is a new stamp.
content = $(firstword $(shell cat $(1) | sha256sum))
DEVICE_READY := $(VENV)/ready-device-$(call content,requirements-device.txt)
TRAINER_READY := $(VENV)/ready-trainer-$(call content,requirements-device.txt requirements-train.txt)
TEST_READY := $(VENV)/ready-test-$(call content,requirements-device.txt requirements-train.txt pyproject.toml)

# Other programs that the bench measures beside ours, on Debian's torch: pip's brings gigabytes for NVIDIA's cards.
PEERS := .venv-peers
PEERS_READY := $(PEERS)/ready-$(call content,tests/bench/peer_programs/requirements.txt)
PEER_PYTHON := /usr/bin/python3
PEER_PACKAGES := python3-torch python3-torchaudio python3-scipy python3-venv libopenblas0-pthread
WANTS_PEERS := $(if $(findstring --only,$(BENCH_ARGS)),$(findstring peers,$(BENCH_ARGS)),yes)

.PHONY: demo trainer test lint bench soak twin twin-container clean

demo: $(DEVICE_READY)
	@mkdir -p out/demo
	@$(RUN) -m device perform --camera file:device/factory/dance.mp4 --audio wav:out/demo/performance.wav --report out/demo
	@echo "A dance, played: listen to out/demo/performance.wav, look at out/demo/performance.png"

trainer: $(TRAINER_READY)
	@echo "Ready: $(RUN) -m trainer --help"

lint: $(TEST_READY)
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check --quiet . || { echo "Run: $(VENV)/bin/ruff format ." >&2; exit 1; }
	@$(VENV)/bin/mypy

test: lint
	@$(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

bench: $(TEST_READY) $(if $(WANTS_PEERS),$(PEERS_READY))
	@$(RUN) -m tests.bench $(BENCH_ARGS)

soak: $(TEST_READY)
	@$(RUN) -m tests.bench.soak --minutes $(or $(SOAK_MINUTES),2)

twin: $(TEST_READY)
	@$(call need_packages,$(TWIN_PACKAGES))
	@$(RUN) -m tests.twin $(TWIN_ARGS)

twin-container: $(TEST_READY)
	@$(call need_packages,$(TWIN_CONTAINER_PACKAGES))
	@$(RUN) -m tests.twin container $(TWIN_ARGS)

clean:
	rm -rf $(VENV) $(PEERS) out .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(DEVICE_READY): | $(VENV)/made
	@$(call install,-r requirements-device.txt)
	@touch $@

$(TRAINER_READY): | $(DEVICE_READY)
	@$(call install,-r requirements-train.txt)
	@touch $@

$(TEST_READY): | $(TRAINER_READY)
	@$(call need_packages,$(PACKAGES))
	@$(call install,-r requirements-train.txt --group test)
	@$(call install,--upgrade --target $(VENV)/typing --no-deps --only-binary=:all: --python-version 3.11 numpy==1.26.4)
	@touch $@

# Where they cannot be installed there is no stamp, the page says why, and the rest is measured.
$(PEERS_READY):
	@mkdir -p $(PEERS); \
	if ($(call need_packages,$(PEER_PACKAGES)) && $(call install_peers)) 2>$(PEERS)/why-not; \
	then rm -f $(PEERS)/why-not && touch $@; else echo "The peers cannot be measured: $$(tail -n 1 $(PEERS)/why-not)"; fi

# On a Pi, picamera2 is the system's.
$(VENV)/made:
	@$(call need_packages,$(PACKAGES) $$($(PYTHON) -c '$(HAS_HEADERS)' 2>/dev/null || echo $(PACKAGES_PYTHON)))
	@$(PYTHON) -c '$(IS_SUPPORTED)'
	@echo "Making $(VENV) ..."
	@$(PYTHON) -m venv $(if $(ON_PI),--system-site-packages) $(VENV)
	@$(RUN) -m pip install --quiet pip==26.3
	@touch $@

# Can this Python make virtual environments and build extensions, and is it one of ours?
HAS_HEADERS := import ensurepip, os, sys, sysconfig; \
	sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))
IS_SUPPORTED := import sys; v = sys.version_info; (3, 10) <= v[:2] <= (3, 13) or \
	sys.exit("This is Python %d.%d; 3.10 to 3.13 is needed: make PYTHON=python3.11, say" % v[:2])

# $(call install,REQUIREMENTS): with pip's progress on a terminal, quiet in a pipe.
define install
echo "Installing $(1) ..."; $(RUN) -m pip install $$([ -t 1 ] || echo --quiet) $(1)
endef

# Debian's own Python, for which its torch is.
define install_peers
echo "Installing $(PEERS) ..." && $(PEER_PYTHON) -m venv --system-site-packages $(PEERS) && \
$(PEERS)/bin/python -m pip install --quiet --no-deps -r tests/bench/peer_programs/requirements.txt
endef

# $(call need_packages,NAMES): as root install those of Debian's packages that are missing, otherwise say how to.
define need_packages
if command -v dpkg-query >/dev/null; then \
	have=$$(dpkg-query -W -f '$${db:Status-Status} $${Package} $${Provides}\n' | \
		sed -n 's/^installed //; T; s/([^)]*)//g; s/,/ /g; p' | tr -s ' ' '\n'); \
	missing=; for name in $(1); do grep -qxF "$$name" <<<"$$have" || missing+=" $$name"; done; \
	if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ]; then \
		echo "Installing Debian's$$missing ..."; \
		export DEBIAN_FRONTEND=noninteractive; \
		apt-get update -qq && apt-get install -qq -y --no-install-recommends $$missing >/dev/null; \
	else \
		echo "Debian's packages are missing; run: sudo apt-get install -y$$missing" >&2; exit 1; \
	fi; \
fi
endef
