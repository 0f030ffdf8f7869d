#!/usr/bin/env python3
"""Answers questions about images with PySpark: rows in, rows out.

    spark-submit scripts/recipes/spark.py questions.jsonl answers

A row in has an image and a prompt (and an id, and what else there is); a row out has
the id, the text and the whole record. Each partition is answered by a paligemma
process, which loads the model once and decodes several texts together.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator

from pyspark.sql import Row, SparkSession

COMMAND = ["paligemma", "generate", "--requests", "-", "-o", "-", "-q"]


def answer(rows: Iterator[Row]) -> Iterator[Row]:
    child = subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def feed() -> None:
        try:
            with child.stdin:
                for row in rows:
                    child.stdin.write(json.dumps(row.asDict(recursive=True)) + "\n")
        except BrokenPipeError:
            pass  # it has ended, and its exit code is looked at
        except BaseException:
            child.kill()  # fewer answers than rows must not pass for all of them
            raise

    threading.Thread(target=feed, daemon=True).start()
    try:
        for line in child.stdout:
            record = json.loads(line)
            yield Row(id=record["id"], text=record.get("text"), record=line.rstrip())
        if child.wait() not in (0, 3):  # 3: some records are failures
            raise RuntimeError(f"paligemma ended with exit code {child.returncode}")
    finally:
        child.kill()


def main(questions: str, answers: str) -> None:
    spark = SparkSession.builder.appName("paligemma").getOrCreate()
    rows = spark.read.json(questions).repartition(2)
    schema = "id string, text string, record string"
    records = spark.createDataFrame(rows.rdd.mapPartitions(answer), schema)
    records.write.json(answers)
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
