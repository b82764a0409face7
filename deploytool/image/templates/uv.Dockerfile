FROM base AS uv
COPY --from=ghcr.io/astral-sh/uv:$uv /uv /usr/local/bin/
ENV PYC_INVALIDATION_MODE=UNCHECKED_HASH \
    UV_COMPILE_BYTECODE=1 \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never
$build_packages
