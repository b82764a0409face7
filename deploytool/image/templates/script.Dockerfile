# Only the list of dependencies goes on from here: editing code installs nothing again.
FROM base AS lock
$copy_dependency_files
RUN sed -n '/^# [/][/][/] script/,/^# [/][/][/][[:space:]]*$$/p' $script > dependencies.py

FROM uv AS dependencies
COPY --from=lock /code/dependencies.py ./
RUN uv venv && uv pip install --requirements dependencies.py

