"""Pools of drawn scenes: pictures, what each patch of them shows, prompts and answers.

draw/main.go draws them and says what a record is. A pool is drawn once, by several processes, into files of the work folder.
"""
import concurrent.futures
import json
import math
import os
import shutil
import struct
import subprocess

import numpy as np

COLORS = ["red", "green", "blue", "yellow", "orange", "purple", "black", "white"]
SHAPES = ["circle", "square", "triangle", "star", "cross", "ring"]
SIZES = ["small", "medium", "large"]
SIGN = 5  # in the map of what each pixel shows
BACKGROUND, OBJECT, CENTER, CARD = range(4)  # kinds of patches; CENTER is the one in which the middle of an object's box lies
CELL = 2  # pixels of a cell of a patch's coarse mask
CROP = 16  # cells of a side of an object's coarse mask
LETTERS = 4  # columns of a patch, from left to right, each with its letter
VISIBLE = 0.04  # of a patch, the least share of an object that counts


class Pool:
    """count scenes from number seed on; of an evaluation if eval >= 0.

    pixels [n, side, side, 3]; kind, color, shape, size [n, patches]; which [n, patches], the number of the patch's object among
    those of its scene; box [n, patches, 4] as x0, y0, x1, y1 in shares of the side; mask [n, patches, (patch / CELL)²] of the
    patch's object or sign; letters [n, patches, LETTERS], 0 for none; words [n, 2], -1 for none; samples [n]: lists of dicts;
    crops [objects, 64, 64] of all scenes, the first of scene i at first[i]; coarse [objects, CROP²], the same in fewer cells.
    """

    def __init__(self, program, folder, count, side, patch, words, seed=0, eval=-1, sign_every=0, workers=2):
        if not os.path.exists(os.path.join(folder, "done")):
            shutil.rmtree(folder, ignore_errors=True)
            os.makedirs(folder)
            share = -(-count // workers)
            with concurrent.futures.ProcessPoolExecutor(workers) as pool:
                jobs = [pool.submit(_draw, program, os.path.join(folder, str(i)), min(share, count - i * share), side, patch, words, seed + i * share, eval, sign_every)
                        for i in range(workers)]
                for j in jobs:
                    j.result()
            open(os.path.join(folder, "done"), "w").close()
        self.samples, parts = [], []
        for i in range(workers):
            with open(os.path.join(folder, str(i), "samples.jsonl")) as f:
                self.samples += [json.loads(line) for line in f]
            parts.append({k: np.load(os.path.join(folder, str(i), k + ".npy")) for k in FIELDS})
        for k in FIELDS:
            setattr(self, k, np.concatenate([p.pop(k) for p in parts]))
        self.first = np.concatenate([[0], np.cumsum(self.objects)])
        cell = self.crops.shape[1] // CROP
        self.coarse = np.concatenate([c.reshape(-1, CROP, cell, CROP, cell).mean((2, 4)).astype(np.uint8).reshape(-1, CROP * CROP)
                                      for c in np.array_split(self.crops, 64)])

    def __len__(self):
        return len(self.samples)

    def input(self, at):
        """[n, 3, side, side] between -1 and 1, as the processor makes them."""
        x = self.pixels[at].astype(np.float32) / 127.5 - 1
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2))

    def labels(self, at):
        """What the pictures show, and coarse [n, patches, CROP²], the mask of each patch's object."""
        out = {k: getattr(self, k)[at] for k in ("kind", "color", "shape", "size", "box", "mask", "letters", "words")}
        return {**out, "coarse": self.coarse[self.first[:-1][at][:, None] + self.which[at]]}


FIELDS = ("pixels", "kind", "color", "shape", "size", "which", "box", "mask", "letters", "words", "objects", "crops")


def _draw(program, folder, count, side, patch, words, seed, eval, sign_every):
    os.makedirs(folder)
    index = {w: i for i, w in enumerate(words)}
    columns = {k: [] for k in FIELDS}
    command = [program, "-seed", str(seed), "-size", str(side), "-eval", str(eval), "-count", str(count), "-sign-every", str(sign_every)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=1 << 20) as process, open(os.path.join(folder, "samples.jsonl"), "w") as lines:
        def array(*shape):
            n = math.prod(shape)
            data = process.stdout.read(n)
            if len(data) < n:
                raise EOFError("the drawing program ended")
            return np.frombuffer(data, np.uint8).reshape(shape)

        for _ in range(count):
            record = json.loads(array(struct.unpack("<I", array(4).tobytes())[0]).tobytes())
            scene = record["scene"]
            row = {"pixels": array(side, side, 3)}
            where = array(side, side)
            row.update(_labels(scene, where, array(side, side) if scene.get("sign") else None, patch, index))
            row["objects"] = len(scene["objects"])
            crops = array(row["objects"], 64, 64)
            for k in FIELDS:
                if k != "crops":
                    columns[k].append(row[k])
            columns["crops"] += list(crops)
            json.dump(record["samples"], lines)
            lines.write("\n")
    for k, v in columns.items():
        np.save(os.path.join(folder, k + ".npy"), np.array(v, np.int32) if k == "objects" else np.stack(v))


def _labels(scene, where, letters, patch, index):
    n = where.shape[0] // patch
    cells = where[:n * patch, :n * patch].reshape(n, patch, n, patch).transpose(0, 2, 1, 3).reshape(n * n, -1)
    share = np.stack([(cells == v).mean(1) for v in range(1, SIGN + 1)], 1)
    best = np.where(share.max(1) >= VISIBLE, share.argmax(1) + 1, 0)
    out = {k: np.zeros(n * n, np.uint8) for k in ("kind", "color", "shape", "size", "which")}
    out["box"] = np.zeros((n * n, 4), np.float32)
    scale = np.array([scene["width"], scene["height"]] * 2, np.float32)
    for i, o in enumerate(scene["objects"]):
        box = np.array(o["box"], np.float32) / scale
        x, y = (box[:2] + box[2:]) / 2
        at, center = best == i + 1, int(y * n) * n + int(x * n)
        at[center] |= best[center] == 0  # a ring's hole
        out["kind"][at] = OBJECT
        if at[center]:
            out["kind"][center] = CENTER
        out["color"][at], out["shape"][at] = COLORS.index(o["color"]), SHAPES.index(o["shape"])
        out["size"][at], out["box"][at] = SIZES.index(o["size"]), box
        out["which"][at] = i
        best[at] = i + 1
    out["words"] = np.full(2, -1, np.int16)
    if scene.get("sign"):
        out["kind"][best == SIGN] = CARD
        out["box"][best == SIGN] = np.array(scene["sign"]["box"], np.float32) / scale
        for i, w in enumerate(scene["sign"]["words"]):
            out["words"][i] = index[w]
    inside = (cells == best[:, None]) & (best > 0)[:, None]
    grid = patch // CELL
    out["mask"] = (inside.reshape(n * n, grid, CELL, grid, CELL).mean((2, 4)) >= 0.5).reshape(n * n, grid * grid).astype(np.uint8)
    out["letters"] = np.zeros((n * n, LETTERS), np.uint8)
    if letters is not None:
        y = np.arange(n) * patch + patch // 2
        x = ((np.arange(n * LETTERS) + 0.5) * patch / LETTERS).astype(int)
        out["letters"] = letters[np.ix_(y, x)].reshape(n * n, LETTERS)
    return out
