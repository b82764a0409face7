# Written by `deploytool init`; yours to edit. (308d48664964)
FROM python:3.13-slim AS base
WORKDIR /code

FROM base AS uv
COPY --from=ghcr.io/astral-sh/uv:0.13 /uv /usr/local/bin/
ENV PYC_INVALIDATION_MODE=UNCHECKED_HASH \
    UV_COMPILE_BYTECODE=1 \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never

# Only the versions go on from here: other edits of these files install nothing again.
FROM uv AS lock
COPY pyproject.toml uv.lock ./
RUN uv export --quiet --locked --no-dev --no-emit-project \
    --format pylock.toml --output-file pylock.toml

FROM uv AS dependencies
COPY --from=lock /code/pylock.toml ./
RUN uv venv && uv pip sync pylock.toml

FROM base AS code
COPY app app
RUN python -m compileall -q --invalidation-mode unchecked-hash /code && chmod -R u=rwX,go=rX /code

FROM base
ENV HOME=/tmp \
    PATH=/code/.venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A new volume takes the owner of its folder here. `deploytool build` passes the folders.
ARG VOLUMES=""
# hadolint ignore=SC2086
RUN echo "app:x:10001:10001::/tmp:/bin/sh" >> /etc/passwd && \
    install -d -o 10001 -g 10001 /code $VOLUMES
COPY --from=dependencies /code/.venv .venv
COPY --from=code --chown=10001:10001 /code .
USER 10001:10001
EXPOSE 8000
# One process: the cluster runs as many of these as there are replicas. Uvicorn trusts forwarded
# headers from FORWARDED_ALLOW_IPS only, which deploytool sets to the network of the proxy.
CMD ["uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "8000", "--proxy-headers"]
