"""Checks a replica from inside: healthcheck.py PORT PATH HOST TIMEOUT [PROXY PROXY_PORT].

The app has to answer GET PATH with 2xx or 3xx. Where a proxy is named, it has to be reached once
too. It runs on whatever Python the image has, with the standard library alone, every few seconds in
every replica. What is imported here is what an interpreter has already, and `_socket`: `socket`
would double what a check costs.
"""
# ruff: noqa: PTH107, PTH123, SIM105, UP037

import _socket
import sys

REACHED = "/dev/shm/deploytool-reached"
"""Remembers that the proxy was reached. Where it cannot be made, the proxy is not asked: one that
goes away must take no replica with it."""
LOG = "/proc/1/fd/1"
REFUSED = 111


def ask_app(port: int, path: str, host: str, timeout: float) -> str:
    """Why the app is not healthy; empty where it is."""
    app = _socket.socket()
    app.settimeout(timeout)
    app.connect(("127.0.0.1", port))
    app.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    status = app.recv(256).split(b"\r\n")[0].decode()
    return "" if status[9:10] in ("2", "3") else status or "no answer"


def ask_proxy(name: str, port: int) -> str:
    """Why the proxy cannot be reached; empty where it can, or once could.

    The other nodes may learn of a new replica late: gossip that gets lost is made up for after up
    to half a minute (`bulkSyncTables` in moby's libnetwork/networkdb), and what is sent there until
    then does not arrive. A connection has to get through both ways, even one that is refused.
    Where there is no proxy, or whether there is cannot be known in a second, it is not waited for.
    """
    try:
        open(REACHED, "x").close()
    except OSError:
        return ""
    proxies = find(name)
    if not proxies or any(answers(proxy, port) for proxy in proxies):
        return ""
    import os

    os.remove(REACHED)
    return f"no answer from {name} at {', '.join(proxies)}"


def find(name: str) -> "list[str]":
    """The addresses of the proxy; none after a second."""
    import threading

    found: "list[str]" = []

    def resolve() -> None:
        try:
            found.extend(_socket.gethostbyname_ex(f"tasks.{name}")[2])
        except OSError:
            pass

    thread = threading.Thread(target=resolve, daemon=True)
    thread.start()
    thread.join(1)
    return found


def answers(proxy: str, port: int) -> bool:
    connection = _socket.socket()
    connection.settimeout(0.5)
    return connection.connect_ex((proxy, port)) in (0, REFUSED)


def log(problem: str) -> None:
    """Print into the replica's log, which can be read from everywhere."""
    try:
        with open(LOG, "w") as output:
            print(problem, file=output)
    except OSError:
        pass


def main(
    port: str, path: str, host: str, timeout: str, proxy: str = "", proxy_port: str = ""
) -> None:
    problem = ask_app(int(port), path, host, float(timeout))
    if problem:
        sys.exit(f"GET {path}: {problem}")
    problem = ask_proxy(proxy, int(proxy_port)) if proxy else ""
    if problem:
        log(problem)
        sys.exit(problem)


if __name__ == "__main__":
    main(*sys.argv[1:])
