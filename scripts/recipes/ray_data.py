#!/usr/bin/env python3
"""Answers questions about images with Ray Data: rows in, rows out.

    python3 scripts/recipes/ray_data.py questions.jsonl answers

A row in has an image and a prompt (and an id, and what else there is); a row out has
the id, the text and the whole record. Each actor, of at most two, keeps a paligemma
process, which loads the model once and decodes several texts together.
"""

import json
import subprocess
import sys
import threading
from contextlib import suppress

import pyarrow as pa
import ray

COMMAND = ["paligemma", "generate", "--requests", "-", "-o", "-", "-q"]
SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "text", "record")])


class Paligemma:
    """Answers batches of rows."""

    def __init__(self) -> None:
        self.child = subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def feed(self, lines: str) -> None:
        with suppress(BrokenPipeError):  # it has ended, and there are no answers
            self.child.stdin.write(lines)
            self.child.stdin.flush()

    def __call__(self, batch: pa.Table) -> pa.Table:
        rows = batch.to_pylist()
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        threading.Thread(target=self.feed, args=(lines,), daemon=True).start()
        answers = []
        for _ in rows:
            line = self.child.stdout.readline()
            if not line:
                raise RuntimeError("paligemma ended before its answers")
            record = json.loads(line)
            answers.append(
                {
                    "id": record["id"],
                    "text": record.get("text"),
                    "record": line.rstrip(),
                }
            )
        return pa.Table.from_pylist(answers, SCHEMA)


def main(questions: str, answers: str) -> None:
    ray.data.read_json(questions).map_batches(
        Paligemma,
        batch_size=32,
        batch_format="pyarrow",
        num_cpus=1,  # of an actor: as many as its process has threads
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=2),
    ).write_json(answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
