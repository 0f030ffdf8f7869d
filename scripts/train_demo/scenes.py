"""Scenes from the drawing program: records of its stream (draw/main.go says what a record is), read ahead in a thread."""
import json
import math
import queue
import struct
import subprocess
import threading

import numpy as np

COLORS = ["red", "green", "blue", "yellow", "orange", "purple", "black", "white"]
SHAPES = ["circle", "square", "triangle", "star", "cross", "ring"]
SIZES = ["small", "medium", "large"]
SIGN = 5  # in the map of what each pixel shows


class Stream:
    """Scenes from number `seed` on, in order; of an evaluation if eval >= 0."""

    def __init__(self, program, seed, size, ahead=256, eval=-1):
        self.size = size
        self.process = subprocess.Popen([program, "-seed", str(seed), "-size", str(size), "-eval", str(eval)], stdout=subprocess.PIPE)
        self.queue = queue.Queue(ahead)
        self.closed = False
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _bytes(self, n):
        data = self.process.stdout.read(n)
        if len(data) < n:
            raise EOFError
        return data

    def _array(self, *shape):
        return np.frombuffer(bytearray(self._bytes(math.prod(shape))), np.uint8).reshape(shape)

    def _read(self):
        n = self.size
        while not self.closed:
            try:
                record = json.loads(self._bytes(struct.unpack("<I", self._bytes(4))[0]))
                record["pixels"], record["map"] = self._array(n, n, 3), self._array(n, n)
                record["crops"] = self._array(len(record["scene"]["objects"]), 64, 64)
            except EOFError:
                record = None
            while not self.closed:
                try:
                    self.queue.put(record, timeout=1)
                    break
                except queue.Full:
                    pass
            if record is None:
                return

    def take(self, n):
        batch = [self.queue.get() for _ in range(n)]
        if None in batch:
            raise RuntimeError("the drawing program ended")
        return batch

    def close(self):
        self.closed = True
        self.process.terminate()
        self.thread.join()
        self.process.wait()


def pixels(batch):
    """[n, 3, size, size] between -1 and 1, as the processor makes them."""
    x = np.stack([r["pixels"] for r in batch]).astype(np.float32) / 127.5 - 1
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def patch_labels(batch, patch):
    """What each patch shows: kind (0 background, 1 object, 2 sign), colour, shape, size, and the box of its object or sign
    as offsets from the patch's centre to x0, y0, x1, y1 in shares of the side."""
    n = batch[0]["map"].shape[0] // patch
    out = {k: np.zeros((len(batch), n * n), np.int64) for k in ("kind", "color", "shape", "size")}
    out["box"] = np.zeros((len(batch), n * n, 4), np.float32)
    mid = (np.arange(n) + 0.5) / n
    centre = np.stack([np.tile(mid, n), np.repeat(mid, n)] * 2, 1)
    for b, r in enumerate(batch):
        s = r["scene"]
        cells = r["map"][:n * patch, :n * patch].reshape(n, patch, n, patch).transpose(0, 2, 1, 3).reshape(n * n, -1)
        share = np.stack([(cells == v).sum(1) for v in range(1, SIGN + 1)], 1)
        best = np.where(share.max(1) >= 0.25 * patch * patch, share.argmax(1) + 1, 0)
        scale = np.array([s["width"], s["height"]] * 2, np.float32)
        for i, o in enumerate(s["objects"]):
            at = best == i + 1
            out["kind"][b, at] = 1
            out["color"][b, at], out["shape"][b, at] = COLORS.index(o["color"]), SHAPES.index(o["shape"])
            out["size"][b, at] = SIZES.index(o["size"])
            out["box"][b, at] = np.array(o["box"]) / scale - centre[at]
        if s.get("sign"):
            at = best == SIGN
            out["kind"][b, at] = 2
            out["box"][b, at] = np.array(s["sign"]["box"]) / scale - centre[at]
    return out
