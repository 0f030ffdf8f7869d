package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// build says what programs to put together.
type build struct {
	binary string // paligemma, with plug-ins next to it
	native bool   // it may be one for the processor at hand only
}

func prepareCommand(ctx context.Context, args []string) error {
	var b build
	f := flag.NewFlagSet("gpu_check prepare", flag.ContinueOnError)
	f.StringVar(&b.binary, "binary", "bin/paligemma", "the program, with plug-ins next to it")
	f.BoolVar(&b.native, "native", false, "take a build for this machine's processor, too")
	limit := f.Float64("limit", 64, "the most that the pack and the repository's files may take together, in MiB")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() != 1 {
		return errors.New("prepare: want the file to write, such as build/gpu_check.tar.xz")
	}
	dir, err := os.MkdirTemp("", "gpu_check-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := b.stage(ctx, dir); err != nil {
		return err
	}
	if err := goBuild(ctx, filepath.Join(dir, "gpu_check"), []string{"CGO_ENABLED=0"}, "build", "./scripts/gpu_check"); err != nil {
		return err
	}
	if err := blank(dir, sharedFile); err != nil {
		return err
	}
	if err := pack(ctx, dir, f.Arg(0)); err != nil {
		return err
	}
	return checkSize(ctx, f.Arg(0), *limit)
}

// checkSize prints what is to be carried to the other machine, and compares it with a limit.
func checkSize(ctx context.Context, path string, limit float64) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	repository, err := repositorySize(ctx)
	if err != nil {
		return err
	}
	const mib = 1 << 20
	packed, others := float64(info.Size())/mib, float64(repository)/mib
	fmt.Printf("%s: %.1f MiB; with the repository's %.1f: %.1f MiB\n", path, packed, others, packed+others)
	if packed+others > limit {
		return fmt.Errorf("that is more than -limit %g MiB", limit)
	}
	return nil
}

// stage puts the programs into a folder.
func (b build) stage(ctx context.Context, dir string) error {
	flavor, err := os.ReadFile("build/flavor")
	if err != nil {
		return fmt.Errorf("%w: run it in the repository, after make", err)
	}
	if name := strings.TrimSpace(string(flavor)); !b.native && !strings.HasPrefix(name, "portable") {
		return fmt.Errorf("this build (%s) is for this machine's processor: make NATIVE=0, with CUDA=1, or -native", name)
	}
	bin := filepath.Join(dir, "bin")
	if err := copyFile(b.binary, filepath.Join(bin, "paligemma")); err != nil {
		return err
	}
	plugins, err := filepath.Glob(filepath.Join(filepath.Dir(b.binary), "libggml-*.so"))
	if err != nil {
		return err
	}
	for _, path := range plugins {
		if err := copyFile(path, filepath.Join(bin, filepath.Base(path))); err != nil {
			return err
		}
	}
	if err := goBuild(ctx, filepath.Join(bin, "randomcheckpoint"), nil, "build", "./scripts/randomcheckpoint"); err != nil {
		return err
	}
	for _, name := range testPackages {
		if err := goBuild(ctx, filepath.Join(bin, name+".test"), nil, "test", "./internal/"+name, "-c"); err != nil {
			return err
		}
	}
	return nil
}

// goBuild runs go build or go test -c. Tests have the RPC backend where the build has it.
func goBuild(ctx context.Context, output string, env []string, verb, name string, flags ...string) error {
	args := append([]string{verb, "-trimpath", "-ldflags", "-s -w", "-o", output}, flags...)
	if _, err := os.Stat("build/lib/libpaligemma-rpc.a"); err == nil {
		args = append(args, "-tags", "rpc")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, name)...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go %s %s: %w", verb, name, err)
	}
	return nil
}

func copyFile(from, to string) (err error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}
