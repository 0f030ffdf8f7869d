package main

import (
	"cmp"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// library compiles a shared library of C++ that asks for standard functions, and for nothing else.
func library(t *testing.T, path string, flags ...string) {
	t.Helper()
	source := filepath.Join(t.TempDir(), "empty.cpp")
	text := "namespace std { void __throw_bad_alloc(); }\nextern \"C\" { int atoi(const char *); void f(const char * s) { if (atoi(s)) std::__throw_bad_alloc(); } }\n"
	err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(source, []byte(text), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	args := slices.Concat([]string{"-shared", "-fPIC", "-O0", "-o", path, source}, flags)
	if out, err := exec.Command(cmp.Or(os.Getenv("CXX"), "c++"), args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// TestDescribe refuses a plug-in that names a folder of the machine that built it.
func TestDescribe(t *testing.T) {
	for _, test := range []struct{ name, rpath, folders, wantErr string }{
		{"none", "", "", ""},
		{"next to it", "$ORIGIN", "$ORIGIN", ""},
		{"next to it and the usual ones", "$ORIGIN:/usr/local/cuda/lib64:/usr/local/cuda-13/lib64", "$ORIGIN, /usr/local/cuda/lib64, /usr/local/cuda-13/lib64", ""},
		{"somebody's home", "$ORIGIN:/home/user/cuda/lib", "", "looks for libraries in /home/user/cuda/lib, a folder of this machine"},
		{"below a usual one", "/usr/local/cuda/lib64/mine", "", "/usr/local/cuda/lib64/mine, a folder"},
	} {
		for _, tags := range []string{"-Wl,--enable-new-dtags", "-Wl,--disable-new-dtags"} {
			t.Run(test.name+" "+tags, func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "libggml-cuda-0123456789ab.so")
				flags := []string{tags}
				if test.rpath != "" {
					flags = append(flags, "-Wl,-rpath,"+test.rpath)
				}
				library(t, file, flags...)
				text, err := backends["cuda"].describe(file)
				if test.wantErr != "" {
					if err == nil || !strings.Contains(err.Error(), test.wantErr) {
						t.Fatalf("%v, want %q", err, test.wantErr)
					}
					return
				}
				if err != nil || text.Folders != test.folders || text.Glibc == "" || text.GCC == "" {
					t.Errorf("%+v, %v, want the folders %q", text, err, test.folders)
				}
			})
		}
	}
}

// TestDescribeLibraries lets a plug-in ask for the libraries of its GPU, and for no others.
func TestDescribeLibraries(t *testing.T) {
	for _, test := range []struct{ name, soname, want, wantErr string }{
		{"cuda", "libcublas.so.13", "libcublas.so.13", ""},
		{"cuda", "libcuda.so.1", "libcuda.so.1", ""},
		{"vulkan", "libvulkan.so.1", "libvulkan.so.1", ""},
		{"cuda", "libvulkan.so.1", "", "needs libvulkan.so.1"},
		{"cuda", "libcudart.so.13", "", "needs libcudart.so.13"},
		{"vulkan", "libcublas.so.13", "", "needs libcublas.so.13"},
	} {
		t.Run(test.name+" "+test.soname, func(t *testing.T) {
			dir := t.TempDir()
			other, file := filepath.Join(dir, "other.so"), filepath.Join(dir, "plugin.so")
			library(t, other, "-Wl,-soname,"+test.soname)
			library(t, file, "-Wl,--no-as-needed", other)
			text, err := backends[test.name].describe(file)
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) {
					t.Errorf("%v, want %q", err, test.wantErr)
				}
			} else if err != nil || text.Libraries != test.want {
				t.Errorf("%q, %v, want %q", text.Libraries, err, test.want)
			}
		})
	}
}

// TestCompletePlugins refuses files that are not called as plug-ins are, or of which it
// is unknown what is linked into them.
func TestCompletePlugins(t *testing.T) {
	for name, want := range map[string]string{
		"lib/paligemma/libggml-cuda.so":              "not called as plug-ins are",
		"lib/libggml-cuda-0123456789ab.so":           "not called as plug-ins are",
		"lib/paligemma/libggml-sycl-0123456789ab.so": "extend backends",
	} {
		if err := (tree{name: {}}).completePlugins(options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

// toolkit makes a folder with what is read of CUDA's toolkit.
func toolkit(t *testing.T, core string, without ...string) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"EULA.txt":                                  "NVIDIA's terms",
		"include/cuda_runtime_api.h":                "#define CUDART_VERSION  12080\n",
		core + "/cuda/std/__cccl/version.h":         "// Copyright NVIDIA\n#define CCCL_VERSION 2007003\n",
		core + "/cub/a.cuh":                         "/*****\n * Copyright Duane Merrill\n *   * Neither the name\n *****/\n#define A // Copyright of a line\n",
		core + "/cub/sub/b.cuh":                     "/* Copyright  Duane Merrill\n * * Neither the name */\n",
		core + "/cub/c.cuh":                         "// Copyright of another\n// in two lines\n/* \\file a\n */\n\n/* Copyright of a third\n\nand more */\n#include <a>\n/* Copyright within */\n",
		core + "/thrust/d.h":                        "// Copyright Apache\n",
		core + "/nv/target":                         "// Copyright LLVM\n",
		core + "/thrust/detail/without_license.cuh": "int f();\n",
	}
	for _, name := range without {
		delete(files, name)
	}
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestCUDAParts reads toolkits of both layouts.
func TestCUDAParts(t *testing.T) {
	t.Chdir("../..") // for LICENSE
	for _, core := range []string{"include", "include/cccl"} {
		parts, err := cudaParts(options{cuda: toolkit(t, core)})
		if err != nil {
			t.Fatal(err)
		}
		if parts[0].version != "12.8" || parts[0].terms != "NVIDIA's terms" || string(parts[0].texts["EULA.txt"]) != "NVIDIA's terms" {
			t.Errorf("%s: %+v", core, parts[0])
		}
		names := slices.Sorted(maps.Keys(parts[1].texts))
		if want := []string{"LICENSE", "NOTICES-cub", "NOTICES-cuda", "NOTICES-nv", "NOTICES-thrust"}; parts[1].version != "2.7.3" || !slices.Equal(names, want) {
			t.Errorf("%s: %s with %q, want %q", core, parts[1].version, names, want)
		}
		line := strings.Repeat("-", 72)
		want := line + "\n\nCopyright Duane Merrill\n  * Neither the name\n\n" + line + "\n\nCopyright of another\nin two lines\n\n" + line + "\n\nCopyright of a third\n\nand more\n\n"
		if got := string(parts[1].texts["NOTICES-cub"]); got != want {
			t.Errorf("%s: %q, want %q", core, got, want)
		}
	}
}

func TestCUDAPartsRefuses(t *testing.T) {
	for without, want := range map[string]string{
		"EULA.txt":                          "no license of CUDA 12.8",
		"include/cuda_runtime_api.h":        "no such file",
		"include/nv/target":                 "no such file",
		"include/cuda/std/__cccl/version.h": "no such file",
	} {
		t.Run(without, func(t *testing.T) {
			if _, err := cudaParts(options{cuda: toolkit(t, "include", without)}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		})
	}
}
