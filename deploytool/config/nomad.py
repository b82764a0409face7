"""[tool.deploytool.nomad]: which cluster an app belongs to, and how it is reached."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from deploytool.spec import Line, Model, Namespace

MHZ_PER_CORE = 2000
"""What a core is taken for where nobody says what the nodes' processors do."""


class NomadSettings(Model):
    """Where Nomad is; by default what the NOMAD_* variables say. The token is read from NOMAD_TOKEN
    or from `token_file`: it has no key of its own."""

    address: Annotated[Line, Field(pattern=r"^https?://[^\s]+$")] | None = None
    """A server's HTTP address, for example "https://nomad.example.com:4646"."""
    region: Line | None = None
    """The region that the job belongs to."""
    namespace: Namespace | None = None
    """The namespace that the job belongs to."""
    datacenters: Annotated[tuple[Line, ...], Field(min_length=1)] = ("*",)
    """Data centres in which it may run; "*" is all."""
    node_pool: Annotated[Line, Field(pattern=r"^[a-zA-Z0-9-_]{1,128}$")] = "default"
    """The node pool in which it runs."""
    mhz_per_core: Annotated[int, Field(ge=100, le=10_000, strict=True)] = MHZ_PER_CORE
    """What a core of `cpu` is on this cluster: Nomad counts in MHz. `nomad node status -verbose`
    shows `cpu.frequency` of a node."""
    token_file: Line | None = None
    """A file with the ACL token, instead of NOMAD_TOKEN."""
    ca_cert: Line | None = None
    """A file, in PEM, with the certificate of the authority that vouches for the servers; by
    default the system's authorities."""
    client_cert: Line | None = None
    """A file, in PEM, with the certificate that servers with mutual TLS ask for."""
    client_key: Line | None = None
    """A file, in PEM, with the key of `client_cert`."""
    tls_server_name: Line | None = None
    """The name that the servers' certificate has, where it is not the one of `address`; with
    Nomad's own certificates "server.REGION.nomad"."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.client_cert is None) != (self.client_key is None):
            raise ValueError("client_cert and client_key go together")
        return self
