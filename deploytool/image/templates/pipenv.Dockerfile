# Pipenv stays in this stage. Only the versions go on: other edits install nothing again.
FROM uv AS lock
$copy_dependency_files
RUN UV_COMPILE_BYTECODE=0 uv tool install --quiet "pipenv>=2024" && \
    $lock_command
FROM uv AS dependencies
COPY --from=lock /code/requirements.txt ./
# Pipenv installs what its lock names and resolves nothing again.
RUN uv venv && uv pip install --no-deps --requirements requirements.txt

