"""A server that speaks Nomad's HTTP API, for tests: no Nomad server can be had where they run.

It keeps real state. Each behaviour that it decides on says where it was read: files are those of
hashicorp/nomad at aa026cc99cfb (2.0.6-dev). What it does not know it answers with 501.
"""
