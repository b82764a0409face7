FROM uv AS dependencies
RUN uv venv && $install_requirements

