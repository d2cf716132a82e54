"""Phones that register with a SIP proxy over wss (RFC 7118) and send one another messages.

Waits for a line, connects them and registers them. Then each phone sends its messages to the next one, one
after the other, and answers those that it gets. Prints how many were answered.
"""

import argparse
import asyncio
import ssl
import sys

import websockets

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--phones", type=int, required=True)
parser.add_argument("--messages", type=int, required=True, help="from each phone")
options = parser.parse_args()

PATIENCE_S = 20
# What an answer repeats of its request (RFC 3261, section 8.2.6.2).
REPEATED = ("Via:", "From:", "To:", "Call-ID:", "CSeq:", "Record-Route:")


def request(method, phone, to, number, more=""):
    return (
        f"{method} sip:{to}@127.0.0.1 SIP/2.0\r\n"
        f"Via: SIP/2.0/WSS phone{phone}.invalid;branch=z9hG4bK{method}{phone}x{number}\r\n"
        "Max-Forwards: 70\r\n"
        f"From: <sip:{phone}@127.0.0.1>;tag={phone}\r\n"
        f"To: <sip:{to}@127.0.0.1>\r\n"
        f"Call-ID: {method}-{phone}-{number}\r\n"
        f"CSeq: {number} {method}\r\n"
        f"{more}Content-Length: 0\r\n\r\n"
    )


def answer(message):
    lines = [line for line in message.split("\r\n") if line.startswith(REPEATED)]
    lines = [f"{line};tag=there" if line.startswith("To:") else line for line in lines]
    return "\r\n".join(["SIP/2.0 200 OK", *lines, "Content-Length: 0", "", ""])


class Phone:
    def __init__(self, number, socket):
        self.number, self.socket = number, socket
        self.answers = asyncio.Queue()
        self.listening = asyncio.create_task(self.listen())

    async def listen(self):
        async for message in self.socket:
            if not message.startswith("SIP/2.0"):
                await self.socket.send(answer(message))
            elif not message.startswith("SIP/2.0 1"):
                await self.answers.put(message)

    async def ask(self, *what):
        await self.socket.send(request(*what))
        reply = await asyncio.wait_for(self.answers.get(), PATIENCE_S)
        assert reply.startswith("SIP/2.0 200"), reply

    async def register(self):
        contact = f"Contact: <sip:{self.number}@phone{self.number}.invalid;transport=ws>\r\n"
        await self.ask("REGISTER", self.number, self.number, 1, contact + "Expires: 600\r\n")

    async def talk(self):
        to = (self.number + 1) % options.phones
        for number in range(1, options.messages + 1):
            await self.ask("MESSAGE", self.number, to, number)


async def main():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    await asyncio.to_thread(sys.stdin.readline)
    url = f"wss://127.0.0.1:{options.port}/"
    phones = [
        Phone(number, await websockets.connect(url, ssl=context, subprotocols=["sip"]))
        for number in range(options.phones)
    ]
    await asyncio.gather(*(phone.register() for phone in phones))
    await asyncio.gather(*(phone.talk() for phone in phones))
    for phone in phones:
        await phone.socket.close()
        await phone.listening
    print(options.phones * options.messages, flush=True)


asyncio.run(main())
