#!/usr/bin/env python3
"""Measures paligemma and other programs on the same shapes, turn by turn, and prints one Markdown table. See README.md.

    python scripts/bench_peers/bench.py --types q4_k_m,q8_0,bf16 --rounds 5 --json peers.json
"""
import argparse
import datetime
import json
import math
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

MODELS = [f"{family}-{pixels}" for family in ("3b", "pg2-3b") for pixels in (224, 448, 896)] + ["tiny", "pg2-tiny"]
COLUMNS = [("vision_ms", "vision + projector, ms"), ("prefill_ms", "prefill of {} tokens, ms"), ("decode_tok_s", "decode, tokens/s"),
           ("caption20_ms", "caption of 20 tokens, ms"), ("peak_rss_bytes", "peak memory, GB")]
PROMPT, TOKENS = 8, 20  # tokens after those of the image, tokens to decode: the defaults of `paligemma bench`
MAC = sys.platform == "darwin"


def run(command):
    """Runs a program to its end: what it wrote, and its wall-clock time, CPU time and peak memory."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        except OSError as e:
            sys.exit(str(e))
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out, err = (f.seek(0) or f.read().decode(errors="replace") for f in (out, err))
    if process.returncode:
        sys.exit(f"{shlex.join(command)}\nexit status {process.returncode}\n{err.strip()[:1000]}")
    return out, err, {"wall_ms": 1e3 * wall, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_rss_bytes": usage.ru_maxrss * (1 if MAC else 1024)}


class Bench:
    """`paligemma bench`, of random weights or of a file: one repetition that warms up, one that counts."""

    def __init__(self, o, name, *what):
        self.name, self.command = name, [o.binary, "bench", o.image, *what, "--threads", str(o.threads), "--repetitions", "1", "--no-probe",
                                         "--prompt-tokens", str(PROMPT), "--decode-tokens", str(TOKENS), "--format", "json", "--quiet"]
        if o.sequences:
            self.command += ["--sequences", o.sequences]

    def turn(self):
        out, _, process = run(self.command)
        report = json.loads(out)
        self.about = {k: report[k] for k in ("model", "type", "parameters", "file_bytes", "device", "cpu", "threads", "prefill_tokens")}
        return process | report["runs"][0]


class Caption:
    """`paligemma caption` as a user runs it, timed from outside: from before the process starts until it is gone."""

    def __init__(self, o):
        self.name = "paligemma caption, whole process"
        self.command = [o.binary, "caption", o.image, "-m", o.outside, "--max-tokens", str(TOKENS), "--threads", str(o.threads),
                        "--format", "json", "--timings", "--quiet"]

    def turn(self):
        out, err, process = run(self.command)
        answer = json.loads(out)
        process |= {"tokens": len(answer["tokens"]), "finish_reason": answer["finish_reason"], "timings": answer["timings"], "stderr": err}
        if process["tokens"] == TOKENS:
            process["caption20_ms"] = process["wall_ms"]
        return process


class Transformers:
    """transformers in a process that stays alive, and is blocked on its input whenever it is not its turn."""

    def __init__(self, o, dtype):
        self.name = f"transformers {dtype}"
        family, _, pixels = o.model.rpartition("-")
        where = ["--family", o.model, "--pixels", "56"] if "tiny" in o.model else ["--family", family, "--pixels", pixels]
        env = os.environ | {"OMP_NUM_THREADS": str(o.threads), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        worker = os.path.join(os.path.dirname(os.path.abspath(__file__)), "torch_peer.py")
        self.process = subprocess.Popen([sys.executable, worker, *where, "--image", o.image, "--dtype", dtype, "--threads", str(o.threads),
                                         "--cache", o.cache], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self.about = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        return json.loads(line) if line else sys.exit(f"{self.name} ended with exit status {self.process.wait()}")

    def turn(self):
        print("go", file=self.process.stdin, flush=True)
        return self.answer()


class LlamaBench:
    """llama-bench on a text model: prefill is causal there, and decoding starts from an empty cache."""

    def __init__(self, o):
        command, gguf = o.llama_bench
        self.name, self.tokens = f"llama-bench {os.path.basename(gguf)}", o.prefill
        self.command = [*shlex.split(command), "-m", gguf, "-t", str(o.threads), "-p", str(o.prefill), "-n", str(TOKENS), "-r", "1", "-o", "json"]

    def turn(self):
        out, _, process = run(self.command)
        for test in json.loads(out):
            self.about = {k: test.get(k) for k in ("build_commit", "build_number", "model_type", "model_size", "model_n_params", "n_threads", "cpu_info")}
            if test["n_prompt"] == self.tokens and test["n_gen"] == 0:
                process["prefill_ms"] = test["avg_ns"] / 1e6
            elif test["n_prompt"] == 0:
                process["decode_tok_s"] = test["avg_ts"]
        return process


class GemmaCpp:
    """gemma.cpp's `gemma` with a PaliGemma of its own: the timings that it prints, and the whole process."""

    LINES = {"vision_ms": r"Image token generation took: (\d+) ms", "prefill_ms": r"Prefill: (\d+) ms for \d+ prompt tokens",
             "prefill_tokens": r"Prefill: \d+ ms for (\d+) prompt tokens", "tokens": r"Generate: \d+ ms for (\d+) tokens",
             "decode_tok_s": r"Generate: \d+ ms for \d+ tokens \(([\d.]+) tokens"}

    def __init__(self, o, ppm):
        self.name, self.command = "gemma.cpp", [*shlex.split(o.gemma_cpp), "--image_file", ppm, "--prompt", "caption en", "--verbosity", "1",
                                                "--max_generated_tokens", str(TOKENS), "--num_threads", str(o.threads)]

    def turn(self):
        out, err, process = run(self.command)
        for key, pattern in self.LINES.items():
            if found := re.findall(pattern, out + err):
                process[key] = float(found[-1])
        if process.get("tokens") == TOKENS:
            process["caption20_ms"] = process["wall_ms"]
        return process


def picture(path):
    """A JPEG of 1024x768 with soft and sharp parts, much like the one that `paligemma bench` makes."""
    from PIL import Image
    image = Image.linear_gradient("L").resize((1024, 768)), Image.radial_gradient("L").resize((1024, 768)), Image.effect_noise((1024, 768), 60)
    Image.merge("RGB", image).save(path, quality=90)


def digits(x):
    """Three significant digits, more before the point."""
    return f"{x:.{max(0, 2 - math.floor(math.log10(x)))}f}" if x > 0 else "0"


def cell(values):
    """Median, minimum and maximum."""
    if not values:
        return "–"
    middle = digits(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({digits(min(values))}–{digits(max(values))})"


def table(rounds, prefill, ours, peers, pairs):
    """One line for each program, and one for each ratio, which is taken round by round."""
    def line(name, values):
        return f"| {name} | " + " | ".join(cell(values(key)) for key, _ in COLUMNS) + " |"

    def measured(name, key):
        scale = 1e-9 if key == "peak_rss_bytes" else 1
        return [scale * r[name][key] for r in rounds if key in r[name]]

    def ratios(a, b, key):
        return [r[a][key] / r[b][key] for r in rounds if key in r[a] and key in r[b]]

    lines = ["| program | " + " | ".join(title.format(prefill) for _, title in COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    lines += [line(name, lambda key: measured(name, key)) for name in [*ours, *peers]]
    for a, b in [(a, b) for a in ours for b in peers] + pairs:
        if any(ratios(a, b, key) for key, _ in COLUMNS[:-1]):  # memory alone is not worth a line
            lines.append(line(f"{a} ÷ {b}", lambda key: ratios(a, b, key)))
    return "\n".join(lines)


def sequences(rounds, ours):
    """A table of several sequences decoded together: one line for each program and number of them, compared with the first number."""
    lines = ["", "| program | sequences | step, ms | tokens/s in all | × the first |", "|---|---|---|---|---|"]
    for name in ours:
        for column in zip(*(r[name].get("sequences", []) for r in rounds)):
            rates = [s["tok_s"] for s in column]
            gains = [s["tok_s"] / r[name]["sequences"][0]["tok_s"] for s, r in zip(column, rounds)]
            lines.append(f"| {name} | {column[0]['n']} | {cell([s['step_ms'] for s in column])} | {cell(rates)} | {cell(gains)} |")
    return lines


def cpu_model():
    try:
        with open("/proc/cpuinfo") as f:
            return next(line.split(":", 1)[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def notes(o, rounds, programs, load):
    """What a reader has to know in addition to the table."""
    lines = [f"Medians of {len(rounds)} rounds (minimum–maximum), {o.threads} threads. Ratios are taken within each round: below 1 we are faster in "
             "times, above 1 in rates; memory is better below 1."]
    if load > 0.5:
        lines.append(f"The machine was not quiet: its load was {load:.2f} before the first round.")
    weights = {p.about["parameters"] for p in programs if "parameters" in getattr(p, "about", {})}
    if len(weights) > 1:
        lines.append(f"The programs do not have the same number of weights: {sorted(weights)}.")
    for p in programs:
        idle = max(r[p.name].get("idle_cpu_s", 0) for r in rounds)
        if idle > 0.5:
            lines.append(f"{p.name} used {idle:.1f} s of CPU while it was not its turn.")
        tokens = {r[p.name].get("tokens", TOKENS) for r in rounds}
        if tokens != {TOKENS}:
            lines.append(f"{p.name} wrote {sorted(tokens)} tokens and not {TOKENS}: such rounds are left out of the captions.")
    return lines


def agreement(rounds, file, caption):
    """Whether bench's caption is what a user waits for."""
    ratios = [r[caption]["caption20_ms"] / r[file]["caption20_ms"] for r in rounds if "caption20_ms" in r[caption]]
    if not ratios:
        return []
    ratio = statistics.median(ratios)
    return [f"The whole process takes {digits(ratio)} of the time that bench gives for the same caption: "
            + ("they agree within 10 %." if abs(ratio - 1) <= 0.1 else "they differ by more than 10 %.")]


def options():
    names = lambda s: [x for x in s.split(",") if x]
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--model", choices=MODELS, default="3b-224", help="shapes, as in `paligemma bench --synthetic` (3b-224)")
    p.add_argument("--types", type=names, default=["q4_k_m", "q8_0", "bf16"], metavar="LIST", help="types for paligemma (q4_k_m,q8_0,bf16)")
    p.add_argument("--dtypes", type=names, default=["bfloat16"], metavar="LIST", help='types for transformers (bfloat16); "" leaves it out')
    p.add_argument("--cache", choices=("auto", "dynamic", "static"), default="auto", help="of transformers; auto takes the faster one")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=2, help="of every program (2)")
    p.add_argument("--binary", default="bin/paligemma", help="paligemma (bin/paligemma)")
    p.add_argument("--image", help="a picture to caption; default: a JPEG of 1024x768 that is made")
    p.add_argument("--sequences", metavar="LIST", help="also have paligemma decode these numbers of sequences together (1,2,4,8,16)")
    p.add_argument("--outside", metavar="GGUF", help="also bench this file, and time `paligemma caption` of it from outside")
    p.add_argument("--llama-bench", nargs=2, metavar=("CMD", "GGUF"), help="also run llama-bench on a text model")
    p.add_argument("--gemma-cpp", metavar="CMD", help="also run gemma.cpp: its `gemma` with --weights and whatever else it needs")
    p.add_argument("--json", metavar="FILE", help="write everything that was measured, after each round")
    p.add_argument("--markdown", metavar="FILE", help="write what is printed to a file, too")
    p.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)  # a smoke test of seconds
    o = p.parse_args()
    if o.tiny:
        o.model = "pg2-tiny" if o.model.startswith("pg2") else "tiny"
    if o.rounds < 1 or o.threads < 1:
        p.error("rounds and threads are at least 1")
    o.prefill = ((56 if "tiny" in o.model else int(o.model.rpartition("-")[2])) // 14) ** 2 + PROMPT
    return o


def main():
    o, load = options(), os.getloadavg()[0]
    facts = {"date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"), "cpu": cpu_model(), "cores": os.cpu_count(),
             "system": platform.platform(), "load_before": load, "command": shlex.join(["python", *sys.argv]), "options": vars(o).copy(),
             "paligemma": run([o.binary, "version"])[0].split("\n")[:2]}
    with tempfile.TemporaryDirectory() as scratch:
        if not o.image:
            o.image = os.path.join(scratch, "picture.jpg")
            picture(o.image)
        ours = [Bench(o, f"paligemma {t}", "--synthetic", o.model, "--type", t) for t in o.types]
        pairs = []
        if o.outside:
            ours += [Bench(o, "paligemma bench of the file", "-m", o.outside), Caption(o)]  # the former puts the file into memory
            pairs = [(ours[-1].name, ours[-2].name)]
        peers = [Transformers(o, dtype) for dtype in o.dtypes]
        if o.llama_bench:
            peers.append(LlamaBench(o))
        if o.gemma_cpp:
            from PIL import Image
            ppm = os.path.join(scratch, "picture.ppm")
            Image.open(o.image).convert("RGB").save(ppm)
            peers.append(GemmaCpp(o, ppm))
        rounds, programs = [], ours + peers
        for n in range(o.rounds):
            rounds.append({})
            for p in programs:
                print(f"round {n + 1} of {o.rounds}: {p.name}", file=sys.stderr, flush=True)
                rounds[-1][p.name] = p.turn()
            facts["programs"], facts["rounds"] = {p.name: getattr(p, "about", {}) for p in programs}, rounds
            if o.json:
                with open(o.json, "w") as f:
                    json.dump(facts, f, indent=1)
    lines = [table(rounds, o.prefill, [p.name for p in ours], [p.name for p in peers], pairs), "", *notes(o, rounds, programs, load)]
    if o.sequences:
        lines += sequences(rounds, [p.name for p in ours])
    for a, b in pairs:
        lines += agreement(rounds, b, a)
    lines += ["", f"- {o.model}, {facts['date']}, {facts['cpu']}, {facts['cores']} cores, {facts['system']}", f"- {'; '.join(facts['paligemma'])}"]
    lines += [f"- {p.name}: " + ", ".join(f"{k} {v}" for k, v in p.about.items() if v not in (None, "") and k not in ("cpu", "cpu_info", "cache_tried"))
              for p in programs if getattr(p, "about", None)]
    lines.append(f"- `{facts['command']}`")
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if o.markdown:
        with open(o.markdown, "w") as f:
            f.write(text)


if __name__ == "__main__":
    main()
