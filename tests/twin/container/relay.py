"""Between standard input and output and a port of loopback, as ssh's ProxyCommand: ends as soon as either side does."""

from __future__ import annotations

import os
import select
import socket
import sys


def main(port: int) -> None:
    """Pass on what comes, both ways."""
    with socket.create_connection(("127.0.0.1", port)) as server:
        ways = {0: server.fileno(), server.fileno(): 1}
        while True:
            for source in select.select(list(ways), [], [])[0]:
                rest = os.read(source, 1 << 16)
                if not rest:
                    return
                while rest:
                    rest = rest[os.write(ways[source], rest) :]


if __name__ == "__main__":
    main(int(sys.argv[1]))
