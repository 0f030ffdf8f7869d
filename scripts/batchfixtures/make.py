#!/usr/bin/env python3
"""Makes inputs of a batch with other programs, and reads its outputs with them.

  python make.py make testdata/batch         # writes the fixtures
  python make.py read bin/paligemma testdata/batch     # reads what is written about them

Each fixture names or has the same four pictures, with ids p0 to p3 and two prompts.
Needs datasets, webdataset, pandas, pyarrow, duckdb, polars and Pillow.
"""
import io, json, os, pathlib, subprocess, sys, tempfile
import datasets, duckdb, pandas, polars, pyarrow, pyarrow.parquet, webdataset
from PIL import Image, ImageDraw

N = 4
PROMPTS = ["caption en", "ocr", "caption en", "ocr"]
IDS = [f"p{i}" for i in range(N)]


def picture(i):
    image = Image.new("RGB", (16, 16), [(250, 230, 20), (20, 90, 220), (220, 30, 40), (255, 255, 255)][i])
    ImageDraw.Draw(image).ellipse((2 + i, 3, 9 + i, 10), fill=(10 * i, 40, 60))
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def make(out):
    """Writes the fixtures into a folder."""
    os.makedirs(out, exist_ok=True)
    os.chdir(out)
    names, data = [f"{i}.png" for i in range(N)], [picture(i) for i in range(N)]
    for name, png in zip(names, data):
        pathlib.Path(name).write_bytes(png)
    columns = {"id": IDS, "image": data, "prompt": PROMPTS}
    named = {"id": IDS, "image": names, "prompt": PROMPTS}

    features = datasets.Features({"id": datasets.Value("string"), "image": datasets.Image(), "prompt": datasets.Value("string"), "label": datasets.ClassLabel(names=["a", "b"])})
    # The bytes of an image are left out where its path is that of a file.
    inside = {**columns, "image": [{"bytes": png, "path": f"gone/{name}"} for name, png in zip(names, data)], "label": [0, 1, 0, 1]}
    datasets.Dataset.from_dict(inside, features=features).to_parquet("datasets.parquet")
    datasets.Dataset.from_dict({**inside, "image": names}, features=features).to_parquet("datasets-files.parquet")
    datasets.Dataset.from_dict(named).to_json("datasets.jsonl")

    for name in ["webdataset.tar", "webdataset.tar.gz"]:
        with webdataset.TarWriter(name, mtime=0) as tar:
            for i in range(N):
                tar.write({"__key__": IDS[i], "png": data[i], "json": {"prompt": PROMPTS[i], "label": i}})

    frame = pandas.DataFrame(columns)
    frame.to_parquet("pandas.parquet")
    pandas.DataFrame(named).to_parquet("pandas-paths.parquet", compression="gzip")
    pandas.DataFrame({**named, "image": ["./" + name for name in names], "note": ["é/\"\u2028"] * N, "n": range(N)}).to_json("pandas.jsonl", orient="records", lines=True)

    duckdb.sql("COPY (SELECT * FROM frame) TO 'duckdb.parquet' (FORMAT parquet, COMPRESSION zstd)")
    paths = pandas.DataFrame(named)
    duckdb.sql("COPY (SELECT * FROM paths) TO 'duckdb-paths.parquet' (FORMAT parquet, PARQUET_VERSION v2)")
    duckdb.sql("COPY (SELECT * FROM paths) TO 'duckdb.jsonl' (FORMAT json)")

    polars.DataFrame(columns).write_parquet("polars.parquet")
    polars.DataFrame(named).write_ndjson("polars.jsonl")

    large = pyarrow.table({"id": pyarrow.array(IDS, pyarrow.large_string()), "image": pyarrow.array(data, pyarrow.large_binary()), "prompt": pyarrow.array(PROMPTS).dictionary_encode()})
    pyarrow.parquet.write_table(large, "pyarrow-large.parquet", data_page_version="2.0", compression="zstd", row_group_size=3)
    pyarrow.parquet.write_table(pyarrow.table(columns), "pyarrow-plain.parquet", use_dictionary=False, compression="none", column_encoding={"id": "DELTA_BYTE_ARRAY", "prompt": "DELTA_LENGTH_BYTE_ARRAY"})

    coco = {"info": {"description": "four pictures"}, "images": [{"id": i, "file_name": names[i], "width": 16, "height": 16} for i in range(N)], "annotations": [], "categories": []}
    pathlib.Path("coco.json").write_text(json.dumps(coco))


def read(binary, fixtures):
    """Asks about the pictures, one of them missing, in each format, and reads the results."""
    binary, fixtures = os.path.abspath(binary), os.path.abspath(fixtures)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for task in [["caption"], ["detect", "circle"]]:
            for ext in ["jsonl", "json", "csv", "parquet", "tar"]:
                command = [binary, *task, f"{fixtures}/datasets.parquet", "gone.png", "-o", f"o.{ext}", "-q", "--max-tokens", "5", "--overwrite"]
                code = subprocess.run(command, stderr=subprocess.DEVNULL).returncode
                assert code == 3, (ext, code)  # one failed
            want = lines(map(json.loads, open("o.jsonl")))
            assert [w[0] for w in want] == IDS + ["gone.png"] and want[-1][1:] == (None, "not_found"), want
            for name, got in readers():
                if name.startswith("webdataset"):  # keys are without the extension of a picture
                    got = [(i if i != "gone" else "gone.png", text, code) for i, text, code in got]
                wanted = want
                if name.endswith("csv"):  # where nothing and an empty text are the same
                    got, wanted = [[tuple(v or None for v in record) for record in records] for records in (got, want)]
                assert got == wanted, f"{name}: {got}, want {wanted}"
                print(f"{task[0]}, {name}: {len(got)} records")


def lines(records):
    """Returns id, text and code of the error of records as they are in lines."""
    return [(r["id"], r.get("text"), (r.get("error") or {}).get("code")) for r in records]


def rows(records):
    """Returns the same of records as they are in tables."""
    return [(r["id"], r["text"], r["error_code"]) for r in records]


def frame(f):
    """Returns the rows of a frame of pandas, with None where there is nothing."""
    return f.astype(object).where(f.notna(), None).to_dict("records")


def readers():
    """Yields what each program reads: its name, and id, text and code of the error of each record."""
    yield "pandas, jsonl", lines(frame(pandas.read_json("o.jsonl", lines=True)))
    yield "pandas, json", lines(frame(pandas.read_json("o.json")))
    yield "pandas, csv", rows(frame(pandas.read_csv("o.csv")))
    yield "pandas, parquet", rows(frame(pandas.read_parquet("o.parquet")))
    for ext in ["jsonl", "json"]:
        yield f"duckdb, {ext}", duckdb.sql(f"SELECT id, text, error.code FROM 'o.{ext}'").fetchall()
    for ext in ["csv", "parquet"]:
        yield f"duckdb, {ext}", duckdb.sql(f"SELECT id, text, error_code FROM 'o.{ext}'").fetchall()
    yield "polars, jsonl", lines(polars.read_ndjson("o.jsonl", infer_schema_length=None).to_dicts())
    yield "polars, json", lines(polars.read_json("o.json", infer_schema_length=None).to_dicts())
    yield "polars, csv", rows(polars.read_csv("o.csv").to_dicts())
    yield "polars, parquet", rows(polars.read_parquet("o.parquet").to_dicts())
    for builder, ext in [("json", "jsonl"), ("json", "json"), ("csv", "csv"), ("parquet", "parquet")]:
        found = datasets.load_dataset(builder, data_files=f"o.{ext}", split="train", cache_dir=tempfile.mkdtemp(dir="."))
        yield f"datasets, {ext}", (lines if builder == "json" else rows)(found)
    samples = webdataset.WebDataset("file:o.tar", shardshuffle=False).decode()
    yield "webdataset, tar", [(s["__key__"], s.get("txt"), s["json"].get("error", {}).get("code")) for s in samples]


if __name__ == "__main__":
    {"make": make, "read": read}[sys.argv[1]](*sys.argv[2:])
