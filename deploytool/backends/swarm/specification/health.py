"""The health check that replicas run in themselves. It needs nothing in the image but Python."""

from __future__ import annotations

from deploytool.spec import AppSpec, HealthCheck, Service
from deploytool.traefik.routing import HTTP

PROXY = "proxy_traefik"
"""The proxy's service, as replicas on its network know it."""
CUT_OFF = f"no answer from {PROXY}"
"""What a replica says, to its log too, while it and the proxy do not reach each other."""

ASKS_ITSELF = """\
import socket, sys
own = socket.create_connection((b'127.0.0.1', {port}), {timeout})
own.sendall(b'GET {path} HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n')
answer = own.recv(256).split(b'\\r\\n')[0].decode()
if answer[9:10] not in ('2', '3'):
    sys.exit('GET {path}: ' + (answer or 'no answer'))
"""
ASKS_THE_PROXY = f"""\
import os, threading
reached = '/dev/shm/deploytool-reached'
try:
    open(reached, 'x').close()
except OSError:
    sys.exit()
proxies = []
def look():
    try:
        proxies.extend(socket.gethostbyname_ex(b'tasks.{PROXY}')[2])
    except OSError:
        pass
def answers(proxy):
    there = socket.socket()
    there.settimeout(.5)
    return there.connect_ex((proxy, {HTTP})) in (0, 111)
looking = threading.Thread(target=look, daemon=True)
looking.start()
looking.join(1)
if proxies and not any(map(answers, proxies)):
    os.remove(reached)
    problem = '{CUT_OFF} at ' + ', '.join(proxies)
    try:
        print(problem, file=open('/proc/1/fd/1', 'w'))
    except OSError:
        pass
    sys.exit(problem)
"""
"""Until it succeeds once. The other nodes may learn of a new replica late: gossip that gets lost is
made up for after up to half a minute (`bulkSyncTables` in moby's libnetwork/networkdb), and what is
sent there until then does not arrive. A connection to the proxy has to get through both ways, even
one that is refused (111). Where there is no proxy, or whether there is cannot be known in a second,
nothing is waited for. The file is what remembers; where none can be made, nothing is asked."""


def test(app: AppSpec, service: Service, check: HealthCheck) -> list[str]:
    """The command of a health check, as the engine wants it; `site` is left out to be cheap."""
    if check.command:
        return ["CMD", *check.command]
    hosts = app.hosts(service)
    script = ASKS_ITSELF.format(
        port=service.port,
        path=check.path,
        timeout=max(1, check.timeout // 1000),
        host=hosts[0] if hosts else "localhost",
    )
    return ["CMD", "python", "-I", "-S", "-c", script + (ASKS_THE_PROXY if hosts else "")]
