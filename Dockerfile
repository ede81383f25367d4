# What `compose.yaml` runs: Expunge with the versions that constraints.txt pins.
FROM python:3.11-slim-bookworm AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
# All learners, the service, PostgreSQL and RabbitMQ; `service,postgres,rabbitmq,sklearn` is a small one.
ARG EXTRAS=all
# The CPU build of PyTorch: PyPI's own brings gigabytes of CUDA along.
ARG PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
RUN python -m venv /opt/expunge \
 && /opt/expunge/bin/pip install --no-cache-dir --constraint constraints.txt setuptools \
 && /opt/expunge/bin/pip install --no-cache-dir --constraint constraints.txt --no-build-isolation ".[${EXTRAS}]" \
 && /opt/expunge/bin/pip uninstall --yes pip

FROM python:3.11-slim-bookworm
# LightGBM and XGBoost link to the system's OpenMP.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/expunge /opt/expunge
# Volumes that are mounted here take over the owner.
RUN useradd --uid 10001 --no-create-home --home-dir /nonexistent expunge \
 && install --directory --owner expunge --group expunge --mode 700 /data /journal
ENV PATH=/opt/expunge/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1
USER 10001:10001
WORKDIR /data
EXPOSE 8080
CMD ["expunge", "serve"]
