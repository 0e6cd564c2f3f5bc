# What does jobs, learning and evaluation:
#   docker build -f deploy/rubric_worker.Dockerfile -t rubric-reward-worker .
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
RUN python -m venv /opt/arr
COPY constraints.txt /
COPY --from=wheel /wheels /wheels
RUN /opt/arr/bin/pip install --no-cache-dir --only-binary :all: --constraint /constraints.txt \
      "$(ls /wheels/*.whl)[worker]" \
 && /opt/arr/bin/pip uninstall --yes pip setuptools

FROM ${PYTHON}
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin arr \
 && install --directory --owner=arr --group=arr --mode=0750 /data
COPY --from=packages /opt/arr /opt/arr
ENV PATH=/opt/arr/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 ARR_DATA_DIR=/data
WORKDIR /data
USER 10001:10001
# No port: healthy is who touched the file lately.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["/bin/sh", "-c", "find /tmp/worker-alive -newermt '-30 seconds' | grep -q ."]
CMD ["arr", "worker", "--heartbeat", "/tmp/worker-alive"]
