# One image for every process of Wrapup: `docker build -t wrapup:0.1.0 .`, or `docker compose build`.

FROM python:3.13-slim AS build

# Without pip of its own: what runs in production needs to install nothing.
RUN python -m venv --without-pip /opt/wrapup
WORKDIR /src

# What rarely changes first. Every package by its hash, and as a wheel: nothing is compiled here.
COPY requirements/runtime.txt requirements/
RUN pip --python /opt/wrapup/bin/python install --no-cache-dir --only-binary :all: --require-hashes \
    --requirement requirements/runtime.txt

COPY pyproject.toml README.md ./
COPY app app
COPY workers workers
COPY migrations migrations
RUN pip --python /opt/wrapup/bin/python install --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/wrapup/bin/wrapup --version


FROM python:3.13-slim

# CloudAgent's certificates are checked against the system's authorities: better a build that fails than a call.
# Celery takes a user without a name for root, and warns.
RUN test -s /etc/ssl/certs/ca-certificates.crt \
    && groupadd --system --gid 10001 wrapup \
    && useradd --system --uid 10001 --gid wrapup --no-create-home --home-dir / --shell /usr/sbin/nologin wrapup

COPY --from=build /opt/wrapup /opt/wrapup
ENV PATH=/opt/wrapup/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

# By number: then an orchestrator can tell that it is not root. It owns no file, and writes to /tmp only.
USER 10001:10001

# Run it with an init (`docker run --init`, `init: true`). To process 1 of a container the kernel does not deliver
# the watchdog's signal, so a scheduler that stood still would not die (docs/operations.md).
ENTRYPOINT ["wrapup"]
