# The trainer:
#   docker build -f deploy/trainer.Dockerfile -t rubric-reward-trainer .
# PyTorch from PyPI brings CUDA; the host brings the driver. Without a GPU, gigabytes are saved by
# --build-arg PIP_EXTRA_INDEX_URL=… with the CPU wheel index that PyTorch's install page names.
# --build-arg EXTRA=demo adds what `arr demo` needs: it makes the tiny model to try all this with.
# To pin the base by content, pass --build-arg PYTHON=python:3.11.14-slim-bookworm@sha256:… (docker buildx imagetools
# inspect python:3.11.14-slim-bookworm shows the digest).
ARG PYTHON=python:3.11.14-slim-bookworm

FROM ${PYTHON} AS wheel
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY arr arr
COPY reward_client reward_client
COPY services services
COPY shared_schemas shared_schemas
COPY trainer trainer
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM ${PYTHON} AS packages
ARG EXTRA=trainer
ARG PIP_EXTRA_INDEX_URL=
RUN python -m venv /opt/arr
COPY constraints.txt /
COPY --from=wheel /wheels /wheels
RUN /opt/arr/bin/pip install --no-cache-dir --only-binary :all: --constraint /constraints.txt \
      "$(ls /wheels/*.whl)[${EXTRA}]" \
 && /opt/arr/bin/pip uninstall --yes pip

FROM ${PYTHON}
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin arr \
 && install --directory --owner=arr --group=arr --mode=0750 /models /runs
COPY --from=packages /opt/arr /opt/arr
# Hugging Face downloads to /models; what libraries want to write into a home goes to /tmp.
ENV PATH=/opt/arr/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HF_HOME=/models HOME=/tmp
WORKDIR /runs
USER 10001:10001
# A run ends by itself and says why; there is nothing to ask it.
HEALTHCHECK NONE
ENTRYPOINT ["arr", "train"]
CMD ["--help"]
