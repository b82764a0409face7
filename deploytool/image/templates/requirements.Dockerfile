# Installed again only when the list of dependencies changes.
FROM uv AS dependencies
$copy_dependency_files
RUN uv venv && $install_requirements

