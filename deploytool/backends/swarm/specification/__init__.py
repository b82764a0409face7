"""An app as the engine knows it: services, labels, routes, checks. Pure."""
