"""What the native core does, with NumPy: how one writes it in an afternoon.

Checks its results against ours, then times them and prints the samples, one a line. Started by main.ts:
  python3 numpy_reference.py FOLDER SECONDS NAME...
FOLDER holds the input files of inputs.cpp, and of each message our reply: NAME.json and NAME.npz.
"""

import io
import json
import sys
import time
from pathlib import Path

import numpy as np

FRAME_SIDE = 576
CROP_HALF = 96
CROP_CENTER = (270.25, 309.5)  # row, column
LEAST_ROUNDS = 3


def frame_sums(events, counts, crop):
    """Rows, columns and events kept of each frame, each float64 (frames,)."""
    frames = np.repeat(np.arange(len(counts)), counts)
    rows, columns = np.divmod(events, FRAME_SIDE)
    if crop == "box":
        row, column = CROP_CENTER
        keep = (rows > row - CROP_HALF) & (rows <= row + CROP_HALF)
        keep &= (columns > column - CROP_HALF) & (columns <= column + CROP_HALF)
        frames, rows, columns = frames[keep], rows[keep], columns[keep]
    length = len(counts)
    return (
        np.bincount(frames, weights=rows, minlength=length),
        np.bincount(frames, weights=columns, minlength=length),
        np.bincount(frames, minlength=length),
    )


def partial(header_json, events):
    """A reply's two parts for a message of which the header is JSON, and the arrays of the reply."""
    header = json.loads(header_json)
    frames = header["headers"]
    shape = (frames[0]["nSTEM_rows_m1"], frames[0]["nSTEM_positions_per_row_m1"])
    positions = np.array([f["STEM_row_in_scan"] * shape[1] + f["STEM_x_position_in_row"] for f in frames])
    counts = np.array([f["data_size_bytes"] for f in frames]) // 4
    rows, columns, kept = (
        np.bincount(positions, weights=sums, minlength=shape[0] * shape[1])
        for sums in frame_sums(events, counts, "none")
    )
    with np.errstate(invalid="ignore"):
        com = np.stack([columns / kept, rows / kept]).astype(np.float32).reshape(2, *shape)
    count = kept.astype(np.uint32).reshape(shape)
    return json.dumps(header, separators=(",", ":")).encode(), archive(com, count), com, count


def archive(com, count):
    file = io.BytesIO()
    np.savez(file, com=com, count=count)
    return file.getvalue()


def expect(condition, name):
    if not condition:
        sys.exit(f"{name}: differs from ours")


def case(folder, name):
    """What is timed, and its frames, events and bytes."""
    operation, variant, _, *axes = name.split("/") if not name.startswith("npz") else ["npz", "", "", "512"]
    path = lambda key, suffix: Path(folder) / f"{key.replace('/', '-')}.{suffix}"
    array = lambda key, suffix, dtype: np.fromfile(path(key, suffix), dtype)
    if operation == "com":
        key = "com/" + "/".join(axes)
        events, counts = array(key, "events", "<u4"), array(key, "counts", "<u4")
        expected = array(key, variant, "<u8").reshape(-1, 3).T
        expect(np.array_equal(frame_sums(events, counts, variant), expected), name)
        return lambda: frame_sums(events, counts, variant), len(counts), len(events), events.nbytes
    key = "real/10/512" if operation != "partial" else "real/" + "/".join(axes)
    text = path(key, "json").read_bytes()
    ours = np.load(path(key, "npz"))
    frames = len(array(key, "counts", "<u4"))
    if operation == "partial":
        events = array(key, "events", "<u4")
        meta, _, com, count = partial(text, events)
        same = np.array_equal(com, ours["com"], equal_nan=True) and np.array_equal(count, ours["count"])
        expect(same and meta == text, name)
        return lambda: partial(text, events), frames, len(events), len(text) + events.nbytes
    if operation == "decode":
        return lambda: json.loads(text), frames, 0, len(text)
    if operation == "encode":
        header = json.loads(text)
        expect(json.dumps(header, separators=(",", ":")).encode() == text, name)
        return lambda: json.dumps(header, separators=(",", ":")).encode(), frames, 0, len(text)
    com, count = ours["com"], ours["count"]
    again = np.load(io.BytesIO(archive(com, count)))
    expect(np.array_equal(again["com"], com, equal_nan=True), name)
    return lambda: archive(com, count), 0, 0, com.nbytes + count.nbytes


def main():
    folder, seconds, *names = sys.argv[1:]
    for name in names:
        run, frames, events, size = case(folder, name)
        times = []
        end = time.perf_counter() + float(seconds)
        while len(times) < LEAST_ROUNDS or time.perf_counter() < end:
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        print(json.dumps({"name": name, "seconds": times, "frames": frames, "events": events, "bytes": size}))


main()
