"""What an unmodified SUB or PULL socket gets, nothing of wasmq.

    python3 examples/plain/hear.py SUB tcp://127.0.0.1:5562 weather. sports.     (Debian: python3-zmq)
    python3 examples/plain/hear.py PULL tcp://127.0.0.1:5564

Each message is a line on stdout, with a tab between two frames. A SUB hears the topics that begin
with one of the prefixes.
"""
import sys

import zmq


def main():
    if len(sys.argv) < 3:
        sys.exit("usage: hear.py SUB|PULL ENDPOINT [PREFIX...]")
    kind, endpoint, *prefixes = sys.argv[1:]
    socket = zmq.Context().socket(zmq.SUB if kind == "SUB" else zmq.PULL)
    for prefix in prefixes:
        socket.setsockopt(zmq.SUBSCRIBE, prefix.encode())
    socket.connect(endpoint)
    while True:
        sys.stdout.buffer.write(b"\t".join(socket.recv_multipart()) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
