FROM base
ENV $environment
# A new volume takes the owner of its folder here. `deploytool build` passes the folders.
ARG VOLUMES=""
# hadolint ignore=SC2086
RUN echo "app:x:10001:10001::/tmp:/bin/sh" >> /etc/passwd && \
    install -d -o 10001 -g 10001 /code $$VOLUMES$owned$links
COPY --from=dependencies /code/.venv .venv
COPY --from=code --chown=10001:10001 /code .
${seeds}${enter}USER 10001:10001
EXPOSE $port
# One process: the cluster runs as many of these as there are replicas. Uvicorn trusts forwarded
# headers from FORWARDED_ALLOW_IPS only, which deploytool sets to the network of the proxy.
CMD $command
