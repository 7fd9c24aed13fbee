"""One HTTPS request on a connection of its own, closed whatever happens.

http.client leaves a socket open where the server dies during the handshake, and these servers do.
"""

import http.client
import socket
import ssl
from collections.abc import Mapping


def ask(
    port: int,
    context: ssl.SSLContext,
    method: str,
    path: str,
    body: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Status and body that the server on 127.0.0.1:`port` answers with; OSError without one."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.sock = secured
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except http.client.HTTPException as error:
            raise ConnectionError(f"{method} {path}: no answer") from error
