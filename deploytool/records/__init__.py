"""Records of an app on its cluster: its releases, its lock, and its audit log.

store.py     the small store that each backend has; all else here is written on it, once
history.py   releases and how they ended
formats.py   how releases are written down, and what reads older forms
known.py     records that another version of deploytool wrote
lease.py     who may change an app
lock.py      a lease that is renewed for as long as it is needed
audit.py     what was done that is no release
"""
