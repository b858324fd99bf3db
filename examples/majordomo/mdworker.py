"""A Majordomo worker, MDP/0.1 or MDP/0.2: a DEALER socket, nothing of wasmq.

    python3 examples/majordomo/mdworker.py [--v2 [--parts]] SERVICE tcp://127.0.0.1:5560 NAME [DELAY_MS]
                                                                        (Debian: python3-zmq)

Answers each request with its name and the request, after DELAY_MS; says on stdout what it runs. With
--parts the name goes first, as PARTIAL. Sends heartbeats between requests. When it is told to, or the
broker is silent for three of them, it begins anew on a new socket.
"""
import sys
import time

import zmq

HEARTBEAT_MS = 2500
LIVENESS = 3
READY, REQUEST, PARTIAL = b"\x01", b"\x02", b"\x03"


class Worker:
    def __init__(self, broker, service, is_v2):
        self.broker = broker
        self.service = service
        # rfc.zeromq.org/spec/7 has an empty frame in front, spec/18 has none.
        self.header = [b"MDPW02"] if is_v2 else [b"", b"MDPW01"]
        self.final, self.heartbeat, self.disconnect = (
            (b"\x04", b"\x05", b"\x06") if is_v2 else (b"\x03", b"\x04", b"\x05")
        )
        self.context = zmq.Context()
        self.socket = None
        self.begin_anew()

    def begin_anew(self):
        if self.socket is not None:
            self.socket.close()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(self.broker)
        self.send(READY, self.service)
        self.liveness = LIVENESS
        self.heartbeat_at = time.monotonic() + HEARTBEAT_MS / 1000

    def send(self, command, *frames):
        self.socket.send_multipart([*self.header, command, *frames])

    def requests(self):
        """Each request: the address that its reply begins with, and its frames."""
        while True:
            if self.socket.poll(HEARTBEAT_MS):
                frames = self.socket.recv_multipart()
                self.liveness = LIVENESS
                size = len(self.header)
                command, *rest = frames[size:] or [b""]
                if frames[:size] != self.header:
                    print("not understood:", frames, file=sys.stderr)
                elif command == REQUEST:
                    address, _, *body = rest
                    yield address, body
                elif command == self.disconnect:
                    self.begin_anew()
            else:
                self.liveness -= 1
                if self.liveness == 0:
                    time.sleep(HEARTBEAT_MS / 1000)
                    self.begin_anew()
            if time.monotonic() >= self.heartbeat_at:
                self.send(self.heartbeat)
                self.heartbeat_at = time.monotonic() + HEARTBEAT_MS / 1000


def main():
    args = sys.argv[1:]
    flags = {arg for arg in args if arg in ("--v2", "--parts")}
    args = [arg for arg in args if arg not in flags]
    if len(args) < 3:
        sys.exit("usage: mdworker.py [--v2 [--parts]] SERVICE BACKEND NAME [DELAY_MS]")
    service, broker, name = (arg.encode() for arg in args[:3])
    delay_ms = int(args[3]) if len(args) > 3 else 0
    worker = Worker(broker.decode(), service, "--v2" in flags)
    for address, body in worker.requests():
        print("running", body[0].decode(errors="replace"), flush=True)
        time.sleep(delay_ms / 1000)
        if "--parts" in flags:
            worker.send(PARTIAL, address, b"", name)
            worker.send(worker.final, address, b"", body[0])
        else:
            worker.send(worker.final, address, b"", name + b" " + body[0])


if __name__ == "__main__":
    main()
