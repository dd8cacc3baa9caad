# syntax=docker/dockerfile:1
# The operator's image: `docker build --tag riskladder:dev .`, or the same with buildah or podman.
#
# The base is any image with Python 3.13 at /usr/local/bin/python or on PATH. For a release, pin it by digest:
# `--build-arg BASE=python:3.13-slim@sha256:…`.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# With the time of the commit, in seconds since 1970, the image is the same each time.
ARG SOURCE_DATE_EPOCH
WORKDIR /src

# Dependencies first: they change less often than the code. Every one is pinned by hash.
COPY requirements.lock requirements-dev.lock ./
RUN python -m venv /opt/riskladder \
 && /opt/riskladder/bin/pip install --require-hashes --only-binary=:all: --no-compile -r requirements.lock \
 && python -m compileall -q --invalidation-mode unchecked-hash /opt/riskladder/lib

# The build backend too, with the hashes of the development lock file: nothing else of that is needed here.
RUN awk '/^[^ #]/ {keep = /^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/} keep' requirements-dev.lock \
      > build.lock \
 && python -m pip install --require-hashes --only-binary=:all: -r build.lock

COPY pyproject.toml README.md LICENSE ./
COPY operator/ operator/
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheel . \
 && /opt/riskladder/bin/pip install --no-deps --no-index /tmp/wheel/*.whl \
 && /opt/riskladder/bin/pip check \
 && /opt/riskladder/bin/pip uninstall --yes pip \
 && python -m compileall -q --invalidation-mode unchecked-hash /opt/riskladder/lib

# The same base: the virtual environment refers to its interpreter.
FROM ${BASE}
ARG BASE
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="riskladder" \
      org.opencontainers.image.description="A Kubernetes operator that enforces model-risk policy" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="Riskladder" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="${BASE}"
COPY --from=build /opt/riskladder /opt/riskladder
# The root may be read-only. /tmp has to be writable only where credentials come from a kubeconfig.
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp
WORKDIR /
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/opt/riskladder/bin/riskladder"]
CMD ["operator"]
