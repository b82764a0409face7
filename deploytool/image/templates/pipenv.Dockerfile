# Pipenv stays in this stage. Only the versions go on: other edits install nothing again.
FROM uv AS lock
$copy_dependency_files
RUN UV_COMPILE_BYTECODE=0 uv tool install --quiet "pipenv>=2024" && \
    $lock_command
FROM uv AS dependencies
COPY --from=lock /code/requirements.txt ./
RUN uv venv && uv pip install --requirements requirements.txt

