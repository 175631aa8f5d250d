# syntax=docker/dockerfile:1
#
# CPU:   docker build -t peclip .
# CUDA:  docker build -t peclip:cuda --build-arg BASE=nvidia/cuda:13.0.1-base-ubuntu24.04 \
#            --build-arg TORCH_BACKEND=cu130 .
#
# The current folder is /data, and downloaded weights are kept in a volume:
#   docker run --rm -v "$PWD:/data" -v peclip-weights:/weights peclip predict clip.mp4 -o rows.csv
# With a GPU, add --gpus all. To own the files that are written, add --user "$(id -u):$(id -g)".

ARG BASE=debian:trixie-slim
ARG UV_VERSION=0.9

FROM ghcr.io/astral-sh/uv:${UV_VERSION} AS uv

FROM ${BASE}
ARG PYTHON=3.12
# A PyTorch build of `uv pip install --torch-backend`: cpu, cu130, ...
ARG TORCH_BACKEND=cpu
ARG EXTRAS=data,plot,annotation

# FFmpeg's libraries are for --decoder torchcodec; by default, peclip decodes with PyAV.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates ffmpeg \
    && rm -rf /var/lib/apt/lists/*

COPY --from=uv /uv /usr/local/bin/uv
ENV UV_PYTHON_INSTALL_DIR=/opt/python \
    UV_LINK_MODE=copy \
    VIRTUAL_ENV=/opt/peclip \
    PATH=/opt/peclip/bin:$PATH
RUN uv venv --managed-python --python "${PYTHON}" /opt/peclip

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --torch-backend "${TORCH_BACKEND}" ".[${EXTRAS}]"

# Any user may run the image (--user), so the volume is writable by everybody.
RUN useradd --create-home --shell /usr/sbin/nologin peclip \
    && install --directory --mode=1777 /weights /data
ENV PECLIP_CACHE_DIR=/weights \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility,video
VOLUME /weights
WORKDIR /data
USER peclip
ENTRYPOINT ["peclip"]
CMD ["--help"]
