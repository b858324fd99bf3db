"""A Majordomo client, MDP/0.1 by a REQ socket or MDP/0.2 by a DEALER; nothing of wasmq.

    python3 examples/majordomo/mdclient.py [--v2] SERVICE tcp://127.0.0.1:5559 hello world
                                                                        (Debian: python3-zmq)

Asks the service for each word in turn and prints each reply on a line; with --v2 (rfc.zeromq.org/spec/18)
also each part of it that comes before the end. Where none comes it asks again on a new socket, three
times in all: that is how Majordomo clients learn of failures.
"""
import sys

import zmq

TIMEOUT_MS = 30_000
TRIES = 3
REQUEST, PARTIAL, FINAL = b"\x01", b"\x02", b"\x03"


class Client:
    def __init__(self, broker, is_v2):
        self.broker = broker
        self.is_v2 = is_v2
        self.context = zmq.Context()
        self.connect()

    def connect(self):
        self.socket = self.context.socket(zmq.DEALER if self.is_v2 else zmq.REQ)
        self.socket.setsockopt(zmq.RCVTIMEO, TIMEOUT_MS)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(self.broker)

    def ask(self, service, body):
        """The reply's messages, each a list of frames: the parts and the end. None where none came."""
        for _ in range(TRIES):
            header = [b"MDPC02", REQUEST] if self.is_v2 else [b"MDPC01"]
            self.socket.send_multipart([*header, service, body])
            try:
                return self.receive(service)
            except zmq.Again:
                self.socket.close()
                self.connect()
        return None

    def receive(self, service):
        messages = []
        while True:
            header, *frames = self.socket.recv_multipart()
            kind = frames.pop(0) if self.is_v2 else FINAL
            expected = b"MDPC02" if self.is_v2 else b"MDPC01"
            if header != expected or frames[0] != service or len(frames) < 2:
                sys.exit(f"not a reply of {service.decode()}: {header} {frames}")
            messages.append(frames[1:])
            if kind == FINAL:
                return messages


def main():
    args = sys.argv[1:]
    is_v2 = args[:1] == ["--v2"]
    if is_v2:
        args.pop(0)
    if len(args) < 3:
        sys.exit("usage: mdclient.py [--v2] SERVICE FRONTEND BODY...")
    service, broker, *bodies = args
    client = Client(broker, is_v2)
    status = 0
    for body in bodies:
        messages = client.ask(service.encode(), body.encode())
        if messages is None:
            print(f"no reply to {body}", file=sys.stderr)
            status = 1
            continue
        for frames in messages:
            sys.stdout.buffer.write(b" ".join(frames) + b"\n")
    sys.exit(status)


if __name__ == "__main__":
    main()
