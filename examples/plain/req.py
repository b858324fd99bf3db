"""A plain client of the service `default`: an unmodified REQ socket, nothing of wasmq.

    python3 examples/plain/req.py tcp://127.0.0.1:5559 hello world     (Debian: python3-zmq)

Asks for each word in turn and prints each reply on a line. A request that failed is answered with
three frames, an empty one, the status name and the reason: told on stderr, exit code 1.
"""
import sys

import zmq

TIMEOUT_MS = 30_000


def main():
    if len(sys.argv) < 3:
        sys.exit("usage: req.py FRONTEND BODY...")
    socket = zmq.Context().socket(zmq.REQ)
    socket.setsockopt(zmq.RCVTIMEO, TIMEOUT_MS)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(sys.argv[1])
    status = 0
    for body in sys.argv[2:]:
        socket.send(body.encode())
        frames = socket.recv_multipart()
        if len(frames) == 3 and frames[0] == b"":
            print(f"{frames[1].decode()}: {frames[2].decode()}", file=sys.stderr)
            status = 1
        else:
            sys.stdout.buffer.write(b" ".join(frames) + b"\n")
    sys.exit(status)


if __name__ == "__main__":
    main()
