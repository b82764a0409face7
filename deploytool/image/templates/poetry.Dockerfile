# Poetry stays in this stage, in the version that the lock is from. Only the locked versions go on:
# other edits install nothing again.
FROM uv AS lock
RUN UV_COMPILE_BYTECODE=0 uv tool install --quiet $poetry
$copy_dependency_files
RUN $lock_command

FROM uv AS dependencies
COPY --from=lock /code/requirements.txt ./
RUN uv venv && uv pip install --requirements requirements.txt

