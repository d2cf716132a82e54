"""A wss JSON-RPC server that compresses with context takeover, over one of several libraries.

Prints its port. It keeps no log: the client has one of
both directions. It ends when standard input does.
"""

import argparse
import asyncio
import ctypes
import gzip
import json
import os
import signal
import socket
import ssl
import sys
import threading
import zlib

parser = argparse.ArgumentParser()
parser.add_argument("--certificate", required=True)
parser.add_argument("--key", required=True)
parser.add_argument("--log", help="not written")
parser.add_argument("--stack", choices=["websockets", "threads", "aiohttp", "uvicorn"], required=True)
parser.add_argument("--workers", type=int, default=0, help="processes forked before they serve")
parser.add_argument("--bits", type=int, default=15, help="of the window, in both directions")
parser.add_argument("--uvloop", action="store_true")
parser.add_argument("--busy", action="store_true", help="compress files and bodies meanwhile")
parser.add_argument("--zlib", choices=["zlib", "zlib_ng", "isal"], default="zlib")
options = parser.parse_args()

# Libraries look the module up by its name.
if options.zlib == "isal":
    import isal.isal_zlib

    sys.modules["zlib"] = isal.isal_zlib
elif options.zlib == "zlib_ng":
    import zlib_ng.zlib_ng

    sys.modules["zlib"] = zlib_ng.zlib_ng


def answer(message):
    request = json.loads(message)
    return json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": request["params"]})


def context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.key)
    # A client of threads reads while it writes. Python leaves that to OpenSSL, where a ticket that comes
    # behind the handshake may then stop both for ever.
    context.num_tickets = 0
    return context


def settings():
    from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

    factory = ServerPerMessageDeflateFactory(
        server_max_window_bits=options.bits, client_max_window_bits=options.bits
    )
    return {
        "extensions": [factory],
        "compression": None,
        "max_size": None,
        "open_timeout": None,
        "ping_interval": None,
    }


def serve_threads(listener):
    from websockets.sync.server import serve

    def handle(websocket):
        for message in websocket:
            websocket.send(answer(message))

    serve(handle, sock=listener, ssl=context(), **settings()).serve_forever()


async def serve_websockets(listener):
    from websockets.asyncio.server import serve

    async def handle(websocket):
        async for message in websocket:
            await websocket.send(answer(message))

    async with serve(handle, sock=listener, ssl=context(), **settings()):
        await asyncio.Future()


async def serve_aiohttp(listener):
    from aiohttp import WSMsgType, web

    async def handle(request):
        websocket = web.WebSocketResponse(max_msg_size=0)
        await websocket.prepare(request)
        async for message in websocket:
            if message.type == WSMsgType.TEXT:
                await websocket.send_str(answer(message.data))
        return websocket

    application = web.Application()
    application.router.add_get("/rpc", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.SockSite(runner, listener, ssl_context=context()).start()
    await asyncio.Future()


async def application(scope, receive, send):
    """For uvicorn."""
    if scope["type"] != "websocket":
        return
    while True:
        event = await receive()
        if event["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        elif event["type"] == "websocket.receive":
            text = event.get("text") or event["bytes"].decode()
            await send({"type": "websocket.send", "text": answer(text)})
        else:
            return


async def serve_uvicorn(listener):
    import uvicorn

    config = uvicorn.Config(
        application,
        ssl_certfile=options.certificate,
        ssl_keyfile=options.key,
        log_level="error",
        ws="websockets-sansio",
        ws_ping_interval=None,
        lifespan="off",
    )
    await uvicorn.Server(config).serve(sockets=[listener])


def compress_other_things():
    """Files as gzip and as raw DEFLATE, bodies as zlib, over and over, by turns in small pieces."""
    text = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "echo", "params": {}}).encode()
    while True:
        gzip.decompress(gzip.compress(text * 50))
        zlib.decompress(zlib.compress(text * 50))
        raw, back = zlib.compressobj(wbits=-15), zlib.decompressobj(wbits=-15)
        for _ in range(50):
            back.decompress(raw.compress(text) + raw.flush(zlib.Z_SYNC_FLUSH))


def serve(listener):
    if options.busy:
        threading.Thread(target=compress_other_things, daemon=True).start()
    if options.stack == "threads":
        return serve_threads(listener)
    coroutine = {
        "websockets": serve_websockets,
        "aiohttp": serve_aiohttp,
        "uvicorn": serve_uvicorn,
    }[options.stack](listener)
    if options.uvloop:
        import uvloop

        return uvloop.run(coroutine)
    asyncio.run(coroutine)


listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
print(listener.getsockname()[1], flush=True)
workers = []
for _ in range(options.workers):
    worker = os.fork()
    if worker == 0:
        # However the parent ends, its workers do (PR_SET_PDEATHSIG).
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        serve(listener)
        os._exit(0)
    workers.append(worker)
if not workers:
    threading.Thread(target=serve, args=[listener], daemon=True).start()
sys.stdin.read()
for worker in workers:
    os.kill(worker, 9)
    os.waitpid(worker, 0)
os._exit(0)
