# The reward service, and with another command the pixel judge:
#   docker build -f deploy/reward_api.Dockerfile -t rubric-reward-api .
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
      "$(ls /wheels/*.whl)[api]" \
 && /opt/arr/bin/pip uninstall --yes pip setuptools

FROM ${PYTHON}
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin arr \
 && install --directory --owner=arr --group=arr --mode=0750 /data /keys /tokens
COPY --from=packages /opt/arr /opt/arr
# Jobs are left to workers: what they need is in their image.
ENV PATH=/opt/arr/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 ARR_DATA_DIR=/data ARR_WORKER=none
WORKDIR /data
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=8s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request as web; web.urlopen('http://127.0.0.1:8080/readyz', timeout=7)"]
CMD ["arr", "serve"]
