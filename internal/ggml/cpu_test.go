package ggml

import (
	"errors"
	"os"
	"os/exec"
	"paligemma/internal/emulated"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// checkedProgram links the check of the processor to what says that ggml was built
// for the sets of these macros, runs it, and returns its line and exit code. No code
// is compiled for the sets: the flags only define macros.
func checkedProgram(t *testing.T, flags ...string) (line string, code int) {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	source := filepath.Join(dir, "main.c")
	text := `#include <stdio.h>
#include <stdlib.h>
void pg_end(const char * message) { fputs(message, stdout); exit(1); }
int main(void) { return 0; }`
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	object := filepath.Join(dir, "built_for.o")
	cc := func(args ...string) {
		if out, err := exec.Command(compiler(), args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	cc(slices.Concat(flags, []string{"-c", "../../third_party/ggml/built_for.c", "-o", object})...)
	cc(source, "cpu.c", object, "-o", program)
	out, err := emulated.Command(program).Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	return string(out), code
}

func compiler() string {
	if cc := strings.Fields(os.Getenv("CC")); len(cc) > 0 {
		return cc[0]
	}
	return "cc"
}

// knownSets returns the sets of instructions.h for this architecture, with their macros.
func knownSets(t *testing.T) (names, macros []string) {
	t.Helper()
	text, err := os.ReadFile("instructions.h")
	if err != nil {
		t.Fatal(err)
	}
	x86, arm, _ := strings.Cut(string(text), "#elif")
	of := map[string]string{"amd64": x86, "arm64": arm}[runtime.GOARCH]
	for _, m := range regexp.MustCompile(`X\("([^"]+)", (\w+),`).FindAllStringSubmatch(of, -1) {
		names, macros = append(names, m[1]), append(macros, m[2])
	}
	return names, macros
}

// TestBuiltForAnotherProcessor builds for everything, which no processor has, and for nothing.
func TestBuiltForAnotherProcessor(t *testing.T) {
	names, macros := knownSets(t)
	if runtime.GOOS != "linux" || len(names) == 0 {
		t.Logf("nothing is checked on %s/%s", runtime.GOOS, runtime.GOARCH)
		return
	}
	var none, all []string
	for _, macro := range macros {
		none, all = append(none, "-U"+macro), append(all, "-D"+macro+"=1")
	}
	if line, code := checkedProgram(t, none...); line != "" || code != 0 {
		t.Errorf("built for every processor: exit code %d, %q", code, line)
	}
	for advice, flags := range map[string][]string{
		"build it here, with make":             all,
		"build it here, or with make NATIVE=0": slices.Concat(all, []string{"-DPG_NATIVE"}),
	} {
		line, code := checkedProgram(t, flags...)
		pattern := `^paligemma: this program was built for processors with ([^:]+), which this one lacks: ` + advice + "\n$"
		m := regexp.MustCompile(pattern).FindStringSubmatch(line)
		if code != 1 || m == nil {
			t.Fatalf("exit code %d, %q, want 1, %q", code, line, pattern)
		}
		lacking := strings.Split(m[1], ", ")
		for _, name := range names {
			if has, known := kernelSays(t, name); known && has == slices.Contains(lacking, name) {
				t.Errorf("%s: the system says %v; lacking are %v", name, has, lacking)
			}
		}
	}
}

// TestLineOfTheProcessor bounds the line for a processor that lacks everything.
func TestLineOfTheProcessor(t *testing.T) {
	names, _ := knownSets(t)
	line := "paligemma: this program was built for processors with " + strings.Join(names, ", ") +
		", which this one lacks: build it here, or with make NATIVE=0\n"
	if len(line) >= 500 {
		t.Errorf("%d bytes", len(line))
	}
}

// kernelSays reports whether the system lists a set among those of the processor, and
// whether every system would. It knows nothing of a processor that is emulated.
func kernelSays(t *testing.T, name string) (has, known bool) {
	t.Helper()
	if emulated.Processor() {
		return false, false
	}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^(?:flags|Features)\s*:(.*)$`).FindStringSubmatch(string(info))
	if line == nil || slices.Contains([]string{"AVX-IFMA", "AVX-VNNI-INT8", "AVX-NE-CONVERT", "APX"}, name) {
		return false, false
	}
	called := map[string]string{
		"SSE3": "pni", "SSE4.1": "sse4_1", "SSE4.2": "sse4_2", "LZCNT": "abm", "AVX-VNNI": "avx_vnni", "AVX512VBMI2": "avx512_vbmi2",
		"AVX512VNNI": "avx512_vnni", "AVX512BITALG": "avx512_bitalg", "AVX512VPOPCNTDQ": "avx512_vpopcntdq", "AVX512FP16": "avx512_fp16",
		"AVX512BF16": "avx512_bf16", "AMX-TILE": "amx_tile", "AMX-INT8": "amx_int8", "AMX-BF16": "amx_bf16",
		"lse": "atomics", "fp16": "asimdhp", "rdm": "asimdrdm", "rcpc": "lrcpc", "dotprod": "asimddp", "fp16fml": "asimdfhm",
	}[name]
	if called == "" {
		called = strings.ToLower(name)
	}
	return slices.Contains(strings.Fields(line[1]), called), true
}
