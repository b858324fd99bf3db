"""A plain worker of the service `default`: an unmodified REP socket, nothing of wasmq.

    python3 examples/plain/rep.py tcp://127.0.0.1:5560 NAME [DELAY_MS]     (Debian: python3-zmq)

Answers each request with its name and the request, after DELAY_MS; says on stdout what it runs.
"""
import sys
import time

import zmq


def main():
    if len(sys.argv) < 3:
        sys.exit("usage: rep.py BACKEND NAME [DELAY_MS]")
    name = sys.argv[2].encode()
    delay_ms = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    socket = zmq.Context().socket(zmq.REP)
    socket.connect(sys.argv[1])
    while True:
        request = socket.recv_multipart()[0]
        print("running", request.decode(errors="replace"), flush=True)
        time.sleep(delay_ms / 1000)
        socket.send(name + b" " + request)


if __name__ == "__main__":
    main()
