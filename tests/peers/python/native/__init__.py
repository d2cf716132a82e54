"""TLS libraries of C called through ctypes: one module for each, with a class `Connection` that has
`send`, `receive`, `close`. They connect to 127.0.0.1 and believe any certificate.
"""

import socket
import sys


def connect(port):
    """A blocking socket that does not wait for more to send."""
    connected = socket.create_connection(("127.0.0.1", port))
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected


def require(is_well, what):
    if not is_well:
        sys.exit(f"{what} failed")
