"""`capacity`."""

from __future__ import annotations

from deploytool.cli.cluster import project_settings, settings
from deploytool.cli.common import Session, command


@command("capacity", "deploytool capacity")
def capacity(session: Session) -> None:
    """Show memory and cores of every node, and what more fits."""
    from deploytool.backends import open_backend
    from deploytool.cli.views import show_capacity

    project = project_settings(session)
    services = [project.services[name] for name in sorted(project.services)] if project else []
    config = project or settings(session)
    found = open_backend(config).capacity(config.app, services)
    session.output.result(found, lambda console: show_capacity(console, found))
