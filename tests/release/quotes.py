"""A process that somebody may want to look at: JSON-RPC over wss, server and client in one.

It is written for the `websockets` of Debian 12. With any argument it takes a port that is free, and ends after a
hundred requests.
"""

import asyncio
import json
import random
import ssl
import sys

import websockets

METHODS = {"quote.get": 0.002, "order.place": 0.006, "history.load": 0.04}


async def answer(connection):
    async for message in connection:
        request = json.loads(message)
        await asyncio.sleep(METHODS[request["method"]])
        await connection.send(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": 1}))


async def main():
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain("cert.pem", "key.pem")
    client = ssl.create_default_context(cafile="cert.pem")
    port, requests = (0, 100) if sys.argv[1:] else (8443, 1_000_000)
    async with websockets.serve(answer, "localhost", port, ssl=server) as serving:
        port = serving.sockets[0].getsockname()[1]
        async with websockets.connect(f"wss://localhost:{port}", ssl=client) as connection:
            for number in range(requests):
                method = random.choice(list(METHODS))
                await connection.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": method}))
                await connection.recv()


asyncio.run(main())
