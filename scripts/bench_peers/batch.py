#!/usr/bin/env python3
"""Measures captions of many pictures: one after the other, as a batch, and by transformers. See README.md.

    python scripts/bench_peers/batch.py --file model.gguf --tokens 20 --images 32 --rounds 3
"""
import argparse
import json
import os
import statistics
import sys
import tempfile
import time

import bench


class Many:
    """`paligemma caption` of a folder, timed from outside, less what it takes to open the model."""

    def __init__(self, o, name, folder, *more):
        self.name, self.more = name, more
        self.command = [o.binary, "caption", folder, "-m", o.file, "--max-tokens", str(o.tokens), "--threads", str(o.threads), "--quiet", *more]

    def turn(self, images):
        with tempfile.TemporaryDirectory() as out:
            batch = ["-o", os.path.join(out, "out.jsonl")] if "-o" in self.more else []
            command = [c for c in self.command if c != "-o"] + batch
            start = time.perf_counter()
            text, _, process = bench.run(command)
            took = time.perf_counter() - start
            if batch:
                with open(batch[1]) as f:
                    text = f.read()
        answers = [json.loads(line) for line in text.splitlines()]
        assert len(answers) == len(images), f"{len(answers)} answers"
        tokens = statistics.mean(a["timings"]["decode_tokens"] for a in answers)
        return {"image_ms": 1e3 * took / len(images), "tokens": tokens, "peak_rss_bytes": process["peak_rss_bytes"]}


class Peer:
    """transformers, a batch size."""

    def __init__(self, o, worker, size):
        self.name, self.worker, self.size, self.tokens = f"{worker.name}, batch {size}", worker, size, o.tokens

    def turn(self, images):
        print(json.dumps({"batch": self.size, "tokens": self.tokens, "images": images}), file=self.worker.process.stdin, flush=True)
        return self.worker.answer()


def pictures(folder, n):
    """JPEGs of 1024x768, no two alike."""
    from PIL import Image
    paths = []
    for i in range(n):
        path = os.path.join(folder, f"{i:04}.jpg")
        parts = Image.linear_gradient("L").resize((1024, 768)), Image.radial_gradient("L").resize((1024, 768)), Image.effect_noise((1024, 768), 20 + i)
        Image.merge("RGB", parts).save(path, quality=90)
        paths.append(path)
    return paths


def options():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--file", required=True, help="the GGUF file; of random weights will do")
    p.add_argument("--model", default="3b-224", help="its shapes, for transformers (3b-224)")
    p.add_argument("--tokens", type=int, default=20)
    p.add_argument("--images", type=int, default=32)
    p.add_argument("--batches", type=lambda s: [int(x) for x in s.split(",") if x], default=[1, 4], help='of transformers (1,4); "" leaves it out')
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--binary", default="bin/paligemma")
    p.add_argument("--dtype", default="bfloat16")
    p.add_argument("--cache", default="auto")
    p.add_argument("--json", metavar="FILE")
    return p.parse_args()


def main():
    o, load = options(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        images = pictures(folder, o.images)
        o.image = images[0]
        programs = [Many(o, "paligemma, one by one", folder, "--format", "jsonl"), Many(o, "paligemma -o", folder, "-o")]
        if o.batches:
            worker = bench.Transformers(o, o.dtype)
            programs += [Peer(o, worker, size) for size in o.batches]
        rounds = []
        for n in range(o.rounds):
            rounds.append({})
            for p in programs:
                print(f"round {n + 1} of {o.rounds}: {p.name}", file=sys.stderr, flush=True)
                rounds[-1][p.name] = p.turn(images)
            if o.json:
                with open(o.json, "w") as f:
                    json.dump({"command": sys.argv, "load_before": load, "rounds": rounds}, f, indent=1)
    batch = programs[1].name
    print("| program | ms for an image | images/s | -o ÷ it |\n|---|---|---|---|")
    for p in programs:
        each = [r[p.name]["image_ms"] for r in rounds]
        ratios = [r[batch]["image_ms"] / r[p.name]["image_ms"] for r in rounds]
        print(f"| {p.name} | {bench.cell(each)} | {bench.cell([1e3 / ms for ms in each])} | {bench.cell(ratios)} |")
    tokens = {p.name: r[p.name].get("tokens") for r in rounds for p in programs[:2]}
    print(f"\n{o.images} pictures, {o.tokens} tokens each (ours wrote {tokens}), {o.rounds} rounds, load before {load:.2f}; `{' '.join(sys.argv)}`")


if __name__ == "__main__":
    main()
