"""The labels that tie things on a Swarm to an app, a stack and a release."""

STACK = "com.docker.stack.namespace"
IMAGE = "com.docker.stack.image"
APP = "deploytool.app"
RELEASE = "deploytool.release"
ROLE = "deploytool.role"
PROXY = "proxy"
"""The role of the load balancer of all apps."""
OUTCOME = "deploytool.outcome"
SECONDS = "deploytool.seconds"
STEPPED = "deploytool.stepped"
JOB_OF = "deploytool.job-of"
AUDIT = "deploytool.audit"
FILE = "deploytool.file"
SECRET = "deploytool.secret"
VERSION = "deploytool.version"
HASH = "deploytool.hash"
LOGIN = "deploytool.login"

INIT = "deploytool.init"
REQUIRED = "required"
"""The value of INIT where the configuration insists on an init process."""
NO_INIT = "deploytool.no-init"
"""The nodes for which a service goes without one."""

OF_RELEASE = (IMAGE, RELEASE, LOGIN, NO_INIT)
"""Labels that say which release, with which login it is pulled, or what was found out as it was
rolled out, and so are no change of a service."""
