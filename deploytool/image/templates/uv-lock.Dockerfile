# Only the versions go on from here: other edits of these files install nothing again.
FROM uv AS lock
$copy_dependency_files
RUN $lock_command

FROM uv AS dependencies
COPY --from=lock /code/pylock.toml ./
RUN uv venv && uv pip sync pylock.toml

