FROM base AS dependencies
$install_requirements

