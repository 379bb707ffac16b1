# Two images: `bot` (small, without torch; also delivery) and `worker`.
FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN useradd --system --uid 10001 --create-home easel && mkdir -p /data /models && chown easel /data /models
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY easel ./easel
COPY bot ./bot
COPY worker ./worker
ENV EASEL_DATA_DIR=/data EASEL_MODELS_DIR=/models EASEL_MODELS_FILE=/app/config/models.yaml

FROM base AS bot
RUN pip install -c constraints.txt -e .
USER easel
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s CMD ["python", "-m", "easel.health", "bot"]
CMD ["easel", "bot"]

FROM base AS worker
# PyTorch's index of CPU builds, for machines without a GPU; empty takes what PyPI has.
ARG PIP_EXTRA_INDEX_URL=
RUN pip install -c constraints.txt -e '.[worker]'
USER easel
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s CMD ["python", "-m", "easel.health", "worker"]
CMD ["easel", "worker"]
