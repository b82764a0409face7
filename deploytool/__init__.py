"""Deploy FastAPI services to Docker Swarm or Nomad so that nobody who calls the API notices."""

__version__ = "0.1.0"
