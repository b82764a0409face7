# Poetry stays in this stage. Only the versions go on: other edits install nothing again.
FROM base AS lock
RUN python -m venv /opt/poetry && \
    /opt/poetry/bin/pip install --no-cache-dir "poetry>=2,<3" "poetry-plugin-export>=1.9,<2"
$copy_dependency_files
RUN $lock_command

FROM base AS dependencies
COPY --from=lock /code/requirements.txt ./
$install_requirements

