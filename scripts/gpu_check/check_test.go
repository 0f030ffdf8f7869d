package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"paligemma/internal/safetensors"
)

// fakes are programs in place of those that prepare builds. Variables say what goes wrong.
var fakes = map[string]string{
	"bin/paligemma": `
here=$(dirname "$0")
device=cpu; output=; model=
command=$1; second=$2; file=$3
while [ $# -gt 0 ]; do
	case "$1" in
	--device) device=$2;;
	--output) output=$2;;
	--synthetic|--model) model=$2;;
	esac
	shift
done
case "$command" in
version) echo 'paligemma fake';;
devices)
	[ -z "$FAKE_NOTE" ] || echo "$FAKE_NOTE" >&2
	echo '{"name":"cpu","description":"a processor"}'
	[ -z "$FAKE_DEVICE" ] || echo '{"name":"'$FAKE_DEVICE'","description":"'"${FAKE_CARD-NVIDIA H100 80GB HBM3}"'"}';;
bench)
	[ -z "$FAKE_SLOW" ] || sleep 60
	[ -z "$FAKE_BENCH" ] || { echo "$FAKE_BENCH" >&2; exit 1; }
	if [ "$model" = huge ]; then printf "${FAKE_HUGE-paligemma: out of memory\n}" >&2; exit ${FAKE_EXIT-1}; fi
	echo '{"open_ms":900,"vision_ms":4,"prefill_ms":5,"decode_tok_s":'${FAKE_DECODE-420}',"sequences":[{"n":64,"tok_s":9000}],
"graphs":{"encode":{"splits":1},"prefill":{"splits":1},"decode":{"splits":'${FAKE_SPLITS-1}',"built":'${FAKE_BUILT-2}'}}}';;
convert) echo weights > $file;;
quantize)
	[ $file != --type ] || file=$second
	echo $(basename $file) >> $here/quantized
	[ -z "$FAKE_QUANTIZE" ] || [ $file = $second ] || { echo "$FAKE_QUANTIZE" >&2; exit 1; }
	echo weights > $file;;
forward)
	case "$device $model" in
	cpu*) from=${FAKE_LOGITS_CPU-same};;
	*/exact.gguf) from=same;;
	*) from=${FAKE_LOGITS-same};;
	esac
	cp $here/$from.safetensors $output;;
generate)
	text=
	if [ $device = cpu ]; then
		eval "$FAKE_CPU"
	else
		text=$FAKE_TEXT
		[ ! -e $here/asked ] || eval "$FAKE_SECOND"
		touch $here/asked
	fi
	sed "s/}\$/,\"text\":\"$text\"}/" > $output;;
esac`,
	"bin/randomcheckpoint": `mkdir -p $4; echo weights > $4/model.safetensors; [ -z "$FAKE_ROOM" ] || truncate -s 4T $4/model.safetensors`,
	"bin/ggml.test":        `echo "--- PASS: TestA (0.00s)"; echo "    --- FAIL: TestA/part (0.00s)"; echo "--- SKIP: TestB (0.00s)"`,
	"bin/engine.test":      `echo "--- PASS: TestF (0.00s)"; [ -z "$FAKE_ENGINE" ] || echo "--- FAIL: TestG (0.00s)"`,
	"bin/model.test": `
for test in TestC TestD TestE; do
	case "$5" in *"|$test|"* | *"|$test)"*) continue;; esac # -test.skip
	echo "=== RUN   $test"
	if [ $test = TestD ]; then
		[ -z "$FAKE_FAIL" ] || { echo "--- FAIL: TestD (0.00s)"; failed=1; continue; }
		[ -z "$FAKE_CRASH" ] || { echo "ggml.c:1: assert" >&2; kill -ABRT $$; }
		[ -z "$FAKE_HANG" ] || { printf 'panic: test timed out after 1m40s\n\ngoroutine 7:\n' >&2; exit 2; }
	fi
	echo "--- PASS: $test (0.00s)"
done
exit $failed`,
	"tools/nvidia-smi": `echo "${FAKE_SMI-NVIDIA H100 80GB HBM3, 580.1, 81559 MiB, 81000 MiB}"; exit ${FAKE_SMI_EXIT-0}`,
	"tools/compute-sanitizer": `
case "$*" in
--help) echo "${FAKE_SANITIZER---dump-kernel-launches}"; exit;;
*ggml.test*)
	[ "$PALIGEMMA_TEST_FAULT" != 1 ] || echo "========= ${FAKE_FOUND-Invalid __global__ read of size 4 bytes}"
	echo "========= ERROR SUMMARY: 1 error"
	exit 99;;
*--dump-kernel-launches*)
	echo '========= Launch #1'
	[ -z "$GGML_CUDA_DISABLE_GRAPHS" ] || echo '========= Launch #2';;
esac
echo "========= ERROR SUMMARY: ${FAKE_ERRORS-0 errors}"`,
	"tools/python3": `case "$*" in
*sysconfig*) echo /nowhere;;
*"import torch, transformers"*) [ -z "$FAKE_TORCH" ] || { echo "$FAKE_TORCH" >&2; exit 1; }; echo 2.11 5.17 True;;
*torch_peer*)
	[ -z "$FAKE_PEER" ] || { echo "$FAKE_PEER" >&2; exit 1; }
	echo '{}'
	rate=100; ms=20
	case "$*" in *--compile*) rate=300; ms=6;; esac
	while read line; do echo '{"vision_ms":'$ms',"prefill_ms":'$ms',"decode_tok_s":'$rate'}'; done;;
*) echo full; read line;;
esac`,
}

// fakeCheck writes the programs and returns options and their folder.
func fakeCheck(t *testing.T) (options, string) {
	t.Helper()
	dir := t.TempDir()
	for name, script := range fakes {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for name, values := range map[string][]float32{"same": {1, 2}, "near": {1, 2.001}, "far": {1, 3}} {
		f, err := os.Create(filepath.Join(dir, "bin", name+".safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		if err := safetensors.Write(f, []safetensors.Data{safetensors.NewFloat32("logits", []int64{2}, values)}, nil); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	for _, name := range testPackages {
		if err := os.MkdirAll(filepath.Join(dir, "internal", name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	t.Setenv("PATH", filepath.Join(dir, "tools")+":"+os.Getenv("PATH"))
	t.Setenv("CUDA_HOME", "")
	o, err := parse([]string{"-out", t.TempDir(), "-scratch", t.TempDir(), "-models", "3b-224", "-scenes", "12", "-oversized", "huge:f32", "-device", "cuda0"})
	if err != nil {
		t.Fatal(err)
	}
	return o, dir
}

// reportOf runs a check and returns what was found.
func reportOf(t *testing.T, o options, programs string) ([]finding, error) {
	t.Helper()
	c, err := newCheck(o, programs)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	ctx, cancel := context.WithDeadline(t.Context(), c.deadline)
	defer cancel()
	err = c.all(ctx)
	if saved, failed := os.ReadFile(filepath.Join(o.out, "gpu_check.md")); failed != nil || string(saved) != c.report.markdown() {
		t.Errorf("gpu_check.md is not the report: %v\n%s", failed, saved)
	}
	return c.report.Findings, err
}

func TestAllMet(t *testing.T) {
	t.Setenv("FAKE_DEVICE", "cuda0")
	o, programs := fakeCheck(t)
	findings, err := reportOf(t, o, programs)
	if err != nil {
		t.Errorf("%v", err)
	}
	counts := map[verdict]int{}
	for _, f := range findings {
		counts[f.Verdict]++
		if f.Verdict == missed {
			t.Errorf("%+v", f)
		}
		if f.Verdict == leftOut && f.What != "plug-in for CUDA" {
			t.Errorf("%+v", f)
		}
	}
	if counts[met] < 20 {
		t.Errorf("%d aims met: %+v", counts[met], findings)
	}
}

func TestNoDevice(t *testing.T) {
	t.Setenv("FAKE_NOTE", "plug-in x is not used: no driver")
	o, programs := fakeCheck(t)
	findings, err := reportOf(t, o, programs)
	if err != nil {
		t.Errorf("%v", err)
	}
	seen, told := map[string]bool{}, false
	for _, f := range findings {
		if f.Part == "machine" {
			told = told || f.Verdict == leftOut && strings.Contains(f.Why, "plug-in x is not used: no driver")
			continue
		}
		if seen[f.Part] = true; f.Verdict != leftOut || f.Why != "no device cuda0" {
			t.Errorf("%+v", f)
		}
	}
	if !told {
		t.Errorf("not a word of why there is no device: %+v", findings)
	}
	for _, part := range parts {
		if !seen[part] {
			t.Errorf("no line about %s", part)
		}
	}
}

// TestFaults makes one thing go wrong at a time.
func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		set, value string
		part, want string // of the finding: in what, got, or why
		verdict    verdict
	}{
		"a driver without a word":   {"FAKE_SMI", "", "machine", "nvidia-smi: exit status 0 without a word", leftOut},
		"a driver that fails":       {"FAKE_SMI_EXIT", "9", "machine", "nvidia-smi: NVIDIA H100", leftOut},
		"a driver without memory":   {"FAKE_SMI", "NVIDIA H100 80GB HBM3, 580.1, [N/A], [N/A]", "machine", "580.1, [N/A], [N/A]", shown},
		"two cards":                 {"FAKE_SMI", "NVIDIA L4, 580.1, 1 MiB, 1 MiB\nNVIDIA L4, 580.1, 1 MiB, 1 MiB", "machine", "1 MiB; NVIDIA L4", shown},
		"a part of a card":          {"FAKE_CARD", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "speed", "the aim is for a whole H100", shown},
		"another card":              {"FAKE_CARD", "NVIDIA L4", "speed", "the aim is for a whole H100", shown},
		"a failing test":            {"FAKE_FAIL", "1", "tests", "TestD", missed},
		"a test of the engine":      {"FAKE_ENGINE", "1", "tests", "tests of internal/engine 1 passed, 1 failed, 0 skipped all pass TestG", missed},
		"tests that abort":          {"FAKE_CRASH", "1", "tests", "2 passed, 1 failed, 0 skipped all pass TestD; exit status -1: ggml.c:1: assert", missed},
		"tests that hang":           {"FAKE_HANG", "1", "tests", "2 passed, 1 failed, 0 skipped all pass TestD; exit status 2: panic: test timed out", missed},
		"slow decoding":             {"FAKE_DECODE", "340", "speed", "≥ 350 tokens/s", missed},
		"slower than compiled":      {"FAKE_DECODE", "290", "peers", "0.967", missed},
		"two splits":                {"FAKE_SPLITS", "2", "speed", "splits of a graph", missed},
		"many graphs":               {"FAKE_BUILT", "100", "speed", "graphs built for 100 tokens", missed},
		"bench that fails":          {"FAKE_BENCH", "paligemma: kaput", "speed", "exit status 1: paligemma: kaput", missed},
		"a machine too small":       {"FAKE_BENCH", "paligemma: not enough memory: needs 9 GB", "speed", "needs 9 GB", leftOut},
		"logits far off":            {"FAKE_LOGITS", "far", "logits", "0.45", missed},
		"logits off in F32":         {"FAKE_LOGITS", "near", "logits", "3b-224 f32, relative L2 to the CPU", missed},
		"and those built in":        {"FAKE_LOGITS", "far", "logits", "built-in q4_k_m, relative L2 to exact arithmetic 0.45; the CPU's 0; to the CPU 0.45 ≤ 0.02", missed},
		"a CPU that is far off":     {"FAKE_LOGITS_CPU", "far", "logits", "q8_0, relative L2 to exact arithmetic 0; the CPU's 0.45; to the CPU 0.32 ≤ 0.56, 1.25 times the CPU's", met},
		"no exact weights":          {"FAKE_QUANTIZE", "paligemma: kaput", "logits", "logits of 3b-224 q8_0   exit status 1: paligemma: kaput", missed},
		"a full disk":               {"FAKE_ROOM", "1", "logits", "-scratch names another folder", leftOut},
		"other marks":               {"FAKE_TEXT", "words", "marks", "absent 0.0 for 100.0", missed},
		"memory: two lines":         {"FAKE_HUGE", "a\\nb\\n", "memory", "exit status 1, 2 lines", missed},
		"memory: a signal":          {"FAKE_EXIT", "134", "memory", "exit status 134", missed},
		"kernels that are counted":  {"FAKE_FOUND", outOfBounds, "sanitizer", "caption by the built-in model 0 errors, launches of kernels: 1", met},
		"and without CUDA's graphs": {"FAKE_FOUND", outOfBounds, "sanitizer", "detect by the built-in model, without CUDA's graphs 0 errors, launches of kernels: 2", met},
		"kernels that are not":      {"FAKE_SANITIZER", "--tool", "sanitizer", "caption by the built-in model 0 errors 0 errors", met},
		"errors of kernels":         {"FAKE_ERRORS", "3 errors", "sanitizer", "3 errors", missed},
		"a sanitizer that is blind": {"FAKE_FOUND", "nothing", "sanitizer", "does not find a read out of bounds", leftOut},
		"a card unknown to it":      {"FAKE_FOUND", "Device not supported", "sanitizer", "does not know the device", leftOut},
		"no torch":                  {"FAKE_TORCH", "ModuleNotFoundError: No module named 'torch'", "peers", "No module named 'torch'", leftOut},
		"transformers that fails":   {"FAKE_PEER", "torch.X.RuntimeError: kernel\n\nSet A=1 for more", "peers", "transformers: torch.X.RuntimeError: kernel", leftOut},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("FAKE_DEVICE", "cuda0")
			t.Setenv(c.set, c.value)
			o, programs := fakeCheck(t)
			o.only = []string{"speed", c.part} // peers are compared with speeds
			findings, err := reportOf(t, o, programs)
			if want := c.verdict == missed; c.verdict != met && errors.Is(err, errMissed) != want {
				t.Errorf("error %v", err)
			}
			found := false
			for _, f := range findings {
				text := strings.Join([]string{f.What, f.Got, f.Aim, f.Why}, " ")
				found = found || f.Part == c.part && f.Verdict == c.verdict && strings.Contains(text, c.want)
			}
			if !found {
				t.Errorf("no such finding in %+v", findings)
			}
		})
	}
}

// TestExactWeights looks at which files are made to compute in f32, and that none is left.
func TestExactWeights(t *testing.T) {
	for name, c := range map[string]struct {
		checkpoint, types string
		want              int
	}{
		"random weights":  {"", "bf16,q8_0,f32", 1}, // f32 is what bf16 would give
		"without f32":     {"", "bf16,q8_0", 2},
		"of a checkpoint": {"checkpoint", "bf16,q8_0,f32", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("FAKE_DEVICE", "cuda0")
			o, programs := fakeCheck(t)
			if o.checkpoint = c.checkpoint; o.checkpoint != "" {
				if err := os.Mkdir(o.checkpoint, 0o777); err != nil {
					t.Fatal(err)
				}
			}
			o.only, o.compared = []string{"logits"}, list(c.types)
			if findings, err := reportOf(t, o, programs); err != nil {
				t.Errorf("%v: %+v", err, findings)
			}
			made, err := os.ReadFile(filepath.Join(programs, "bin", "quantized"))
			const builtIn = 4
			if n := strings.Count(string(made), "exact.gguf"); err != nil || n != builtIn+c.want {
				t.Errorf("%v: %d files, want %d:\n%s", err, n, builtIn+c.want, made)
			}
			if left, _ := filepath.Glob(filepath.Join(o.scratch, "*")); len(left) > 0 {
				t.Errorf("left in the scratch folder: %v", left)
			}
		})
	}
}

func TestTimeLimit(t *testing.T) {
	t.Setenv("FAKE_DEVICE", "cuda0")
	t.Setenv("FAKE_SLOW", "1")
	o, programs := fakeCheck(t)
	o.minutes, o.only = 31.0/60, []string{"speed", "peers"} // enough to begin with, for the speeds
	c, err := newCheck(o, programs)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(time.Second)) // and then over
	defer cancel()
	if err := c.all(ctx); err != nil {
		t.Errorf("%v", err)
	}
	text := c.report.markdown()
	for _, want := range []string{"left out: it was cut off by the time limit", "left out: it takes about 45s, and 3"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %s", want, text)
		}
	}
}

// TestSteps has steps that do not end by themselves, and looks at the report while they last.
func TestSteps(t *testing.T) {
	o, programs := fakeCheck(t)
	c, err := newCheck(o, programs)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for part, want := range map[string]verdict{"speed": missed, "peers": leftOut} {
		c.do(t.Context(), step{part: part, what: "a model", need: 10 * time.Millisecond, always: true, run: func(ctx context.Context) error {
			text, err := os.ReadFile(filepath.Join(o.out, "gpu_check.md"))
			if err != nil || !strings.Contains(string(text), "this was being done: "+part+": a model") {
				t.Errorf("%v: %s", err, text)
			}
			<-ctx.Done()
			return ctx.Err()
		}})
		f := c.report.Findings[len(c.report.Findings)-1]
		if f.Verdict != want || f.Why != "it was ended after 30ms; it should take about 10ms" {
			t.Errorf("%+v", f)
		}
	}
	if err := c.save(); err != nil || strings.Contains(c.report.markdown(), "being done") {
		t.Errorf("%v: %s", err, c.report.markdown())
	}
}

func TestFindLibrary(t *testing.T) {
	old, newer := t.TempDir(), t.TempDir()
	for _, path := range []string{filepath.Join(old, "libcublas.so.12"), filepath.Join(newer, "libcublas.so.13")} {
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		folders   []string
		got, want string
	}{
		"there":   {folders: []string{old, newer}, got: newer},
		"another": {folders: []string{old}, want: "with the toolkit of " + filepath.Join(old, "libcublas.so.12")},
		"none":    {folders: []string{t.TempDir()}, want: "nor among Python's packages"},
		"nowhere": {want: "not found"},
	} {
		t.Run(name, func(t *testing.T) {
			f := findLibrary("libcublas.so.13", c.folders)
			if f.Got != c.got || !strings.Contains(f.Why, c.want) || (f.Verdict == leftOut) == (c.got != "") {
				t.Errorf("%+v", f)
			}
		})
	}
}

func TestInterrupt(t *testing.T) {
	t.Setenv("FAKE_DEVICE", "cuda0")
	o, programs := fakeCheck(t)
	c, err := newCheck(o, programs)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.all(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestOnly(t *testing.T) {
	t.Setenv("FAKE_DEVICE", "cuda0")
	o, programs := fakeCheck(t)
	o.only = []string{"memory"}
	findings, err := reportOf(t, o, programs)
	if err != nil {
		t.Errorf("%v", err)
	}
	for _, f := range findings {
		if f.Part != "machine" && f.Part != "memory" {
			t.Errorf("%+v", f)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, args := range []string{"-only speed,nothing", "-minutes 0", "-models ,", "-repetitions 0", "-logits q1", "something", "-unknown"} {
		if _, err := parse(strings.Fields(args)); err == nil {
			t.Errorf("%s is taken", args)
		}
	}
}
