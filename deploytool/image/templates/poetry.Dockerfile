# Without deploytool's own settings: editing those installs nothing again.
FROM base AS lock
$copy_dependency_files
RUN awk '/^\[/ {ours = /^\[tool[.]deploytool/} !ours' pyproject.toml > reduced && \
    mv reduced pyproject.toml

FROM uv AS dependencies
ENV PATH=/root/.local/bin:$$PATH \
    POETRY_VIRTUALENVS_IN_PROJECT=1
RUN UV_COMPILE_BYTECODE=0 uv tool install --quiet "poetry>=1.8,<3"
COPY --from=lock /code ./
RUN $lock_command && \
    (python -m compileall -qq -j 0 --invalidation-mode unchecked-hash .venv || true)

