FROM base
ENV $environment
COPY --from=dependencies /code/.venv .venv
COPY --from=code /code .
USER 10001:10001
EXPOSE $port
# One process: the cluster runs as many of these as there are replicas. Uvicorn trusts forwarded
# headers from FORWARDED_ALLOW_IPS only, which deploytool sets to the network of the proxy.
CMD $command
