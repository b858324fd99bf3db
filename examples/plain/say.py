"""What one types, said by an unmodified PUB or PUSH socket, nothing of wasmq.

    printf 'weather.bern\\train\\n' | python3 examples/plain/say.py PUB tcp://127.0.0.1:5561
    printf 'a task\\n' | python3 examples/plain/say.py PUSH tcp://127.0.0.1:5563     (Debian: python3-zmq)

Each line of stdin is a message, with a tab between two frames; a PUB's first frame is the topic.
A PUB drops what it says before it is asked for it, a PUSH waits. All that was not dropped is sent
when it ends.
"""
import sys

import zmq


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: say.py PUB|PUSH ENDPOINT")
    kind, endpoint = sys.argv[1:]
    context = zmq.Context()
    socket = context.socket(zmq.PUB if kind == "PUB" else zmq.PUSH)
    socket.connect(endpoint)
    print(f"each line goes to {endpoint}", flush=True)
    for line in sys.stdin.buffer:
        socket.send_multipart(line.rstrip(b"\n").split(b"\t"))
    socket.close()
    context.term()


if __name__ == "__main__":
    main()
