# Installed again only when the list of dependencies changes.
FROM base AS dependencies
$copy_dependency_files
$install_requirements

