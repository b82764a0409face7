"""The labels that tie things on a Swarm to an app, a stack and a release."""

STACK = "com.docker.stack.namespace"
IMAGE = "com.docker.stack.image"
APP = "deploytool.app"
RELEASE = "deploytool.release"
ROLE = "deploytool.role"
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

OF_RELEASE = (IMAGE, RELEASE, LOGIN)
"""Labels that say which release, or which login it is pulled with, and so are no change of a
service."""
