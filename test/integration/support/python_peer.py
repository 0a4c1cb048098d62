"""Source and sink of a pipeline with the libraries of the Python operators: pyzmq, json and numpy.

Usage: python_peer.py FOLDER < lines. Binds a PUSH socket and prints its port. Then reads the address to connect a PULL
socket to from standard input, sends the message whose parts are the files of FOLDER, and prints what comes back.
"""

import io
import json
import pathlib
import sys

import numpy
import zmq

folder = pathlib.Path(sys.argv[1])
context = zmq.Context()
push = context.socket(zmq.PUSH)
print(push.bind_to_random_port("tcp://127.0.0.1"), flush=True)
pull = context.socket(zmq.PULL)
pull.connect(sys.stdin.readline().strip())

push.send_multipart([(folder / name).read_bytes() for name in ("part0.json", "part1.msgpack", "part2.bin")])
if not pull.poll(30_000):
    sys.exit("nothing came back within 30 s")
header, meta, data = pull.recv_multipart()
arrays = numpy.load(io.BytesIO(data))
print(
    json.dumps(
        {
            "header": json.loads(header),
            "meta": json.loads(meta),
            "arrays": {name: [str(arrays[name].dtype), arrays[name].shape] for name in arrays.files},
            "com": arrays["com"].tobytes().hex(),
        }
    ),
    flush=True,
)
context.destroy(linger=1000)
