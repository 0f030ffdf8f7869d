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

// TestCompletePlugins refuses files that are not called as plug-ins are, of which it
// is unknown what is linked into them, or that cannot be read.
func TestCompletePlugins(t *testing.T) {
	for name, want := range map[string]string{
		"lib/paligemma/libggml-cuda.so":              "not called as plug-ins are",
		"lib/libggml-cuda-0123456789ab.so":           "not called as plug-ins are",
		"lib/paligemma/libggml-sycl-0123456789ab.so": "extend backends",
		"lib/paligemma/libggml-cuda-0123456789ab.so": "no such file",
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
		core + "/cub/c.cuh":                         "// Copyright of another\n// in two lines\n\n// of a file\n/* \\file a\n */\n// Copyright of a third\n\n/* Copyright of a fourth\n\n/* and more */\n#include <a>\n/* Copyright within */\n",
		core + "/thrust/d.h":                        "// Copyright Apache\n",
		core + "/nv/target":                         "// Copyright LLVM\n",
		core + "/thrust/detail/without_license.cuh": "int f();\n",
	}
	for _, name := range without {
		delete(files, name)
	}
	write(t, dir, files)
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
		if parts[0].version != "12.8" || parts[0].purl != "pkg:generic/cuda-runtime@12.8" || parts[0].terms != "NVIDIA's terms" || string(parts[0].texts["EULA.txt"]) != "NVIDIA's terms" {
			t.Errorf("%s: %+v", core, parts[0])
		}
		names := slices.Sorted(maps.Keys(parts[1].texts))
		if want := []string{"LICENSE", "NOTICES-cub", "NOTICES-cuda", "NOTICES-nv", "NOTICES-thrust"}; parts[1].version != "2.7.3" || parts[1].purl != "pkg:github/NVIDIA/cccl@v2.7.3" || !slices.Equal(names, want) {
			t.Errorf("%s: %s with %q, want %q", core, parts[1].purl, names, want)
		}
		line := strings.Repeat("-", 72)
		want := line + "\n\nCopyright Duane Merrill\n  * Neither the name\n\n" + line + "\n\nCopyright of another\nin two lines\n\n" + line + "\n\nCopyright of a third\n\n" + line + "\n\nCopyright of a fourth\n\nand more\n\n"
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
		"include/thrust/d.h":                "no notice of copyright",
	} {
		t.Run(without, func(t *testing.T) {
			if _, err := cudaParts(options{cuda: toolkit(t, "include", without)}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		})
	}
}

// write makes files in a folder.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestVulkanParts reads the headers as they lie in cargo's cache, behind a link.
func TestVulkanParts(t *testing.T) {
	files := map[string]string{
		"crate/include/vulkan/vulkan_core.h": "#define VK_HEADER_VERSION 279\n#define VK_HEADER_VERSION_COMPLETE 1\n",
		"crate/LICENSE.md":                   "two licenses",
		"crate/LICENSES/MIT.txt":             mitText,
		"third_party/vulkan/Cargo.toml":      "[dependencies]\nllama_cpp_sys = \"=0.3.2\"\n",
		"build/vulkan-src-fetch/Cargo.lock":  "name = \"llama_cpp_sys\"\nversion = \"0.3.2\"\nsource = \"registry\"\nchecksum = \"" + strings.Repeat("0a", 32) + "\"\n",
	}
	for _, test := range []struct{ file, text, wantErr string }{ // no text: no file
		{"nothing", "", ""},
		{"crate/include/vulkan/vulkan_core.h", "", "no such file"},
		{"crate/include/vulkan/vulkan_core.h", "#define VK_HEADER_VERSION_COMPLETE 1\n", "does not define VK_HEADER_VERSION"},
		{"crate/LICENSE.md", "", "no such file"},
		{"third_party/vulkan/Cargo.toml", "", "no such file"},
		{"third_party/vulkan/Cargo.toml", "[dependencies]\n", "written otherwise"},
		{"build/vulkan-src-fetch/Cargo.lock", "", "no such file"},
	} {
		t.Run(test.file+" "+test.wantErr, func(t *testing.T) {
			dir := t.TempDir()
			changed := maps.Clone(files)
			if delete(changed, test.file); test.text != "" {
				changed[test.file] = test.text
			}
			write(t, dir, changed)
			build, include := filepath.Join(dir, "build"), filepath.Join(dir, "crate", "include")
			if err := errors.Join(os.MkdirAll(build, 0o755), os.MkdirAll(include, 0o755), os.Symlink(include, filepath.Join(build, "vulkan-src"))); err != nil {
				t.Fatal(err)
			}
			t.Chdir(dir)
			parts, err := vulkanParts(options{})
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) {
					t.Errorf("%v, want %q", err, test.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			names := slices.Sorted(maps.Keys(parts[0].texts))
			if want := []string{"LICENSE.md", "LICENSES/MIT.txt"}; !slices.Equal(names, want) || parts[0].version != "1.3.279" || parts[0].purl != "pkg:cargo/llama_cpp_sys@0.3.2" || parts[0].sha256 != strings.Repeat("0a", 32) {
				t.Errorf("%+v with %q, want %q", parts[0], names, want)
			}
		})
	}
}

// TestNotes reads from CMake's logs what PLUGINS.md says of the code.
func TestNotes(t *testing.T) {
	for _, test := range []struct{ name, kind, log, want, wantErr string }{
		{"two architectures", "cuda", "-- CUDA Toolkit found\n-- Using CMAKE_CUDA_ARCHITECTURES=86-real;121a-real CMAKE_CUDA_ARCHITECTURES_NATIVE=No\n", "compute capability 8.6, 12.1.", ""},
		{"later ones, too", "cuda", "-- Using CMAKE_CUDA_ARCHITECTURES=75-virtual;80;90-real CMAKE_CUDA_ARCHITECTURES_NATIVE=\n", "7.5 and later, 8.0 and later, 9.0. For later ones", ""},
		{"CMake's words", "cuda", "-- Using CMAKE_CUDA_ARCHITECTURES=all-major CMAKE_CUDA_ARCHITECTURES_NATIVE=\n", "compute capability all-major.", ""},
		{"no architecture", "cuda", "-- CUDA Toolkit found\n", "", "does not name the architectures"},
		{"an old compiler of shaders", "vulkan", "-- GL_A_b not supported by glslc\n-- GL_C supported by glslc\n-- GL_D not supported by glslc\n", "without GL_A_b, GL_D, which", ""},
		{"a new one", "vulkan", "-- GL_A_b supported by glslc\n", "", ""},
		{"no compiler of shaders", "vulkan", "-- Vulkan found\n", "", "what glslc supports"},
	} {
		t.Run(test.name, func(t *testing.T) {
			note, err := backends[test.kind].note(test.log)
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) {
					t.Errorf("%v, want %q", err, test.wantErr)
				}
			} else if err != nil || !strings.Contains(note, test.want) || (note == "") != (test.want == "") {
				t.Errorf("%q, %v, want %q", note, err, test.want)
			}
		})
	}
}

// TestVersions names the compilers of plug-ins, too, whose first line says nothing.
func TestVersions(t *testing.T) {
	dir := t.TempDir()
	nvcc := "#!/bin/sh\necho 'nvcc: NVIDIA (R) Cuda compiler driver'\necho 'Cuda compilation tools, release 13.0, V13.0.88'\n"
	write(t, dir, map[string]string{"cuda/bin/nvcc": nvcc, "glslc": "#!/bin/sh\necho shaderc 2023.2-1\necho glslang 11\n", "c++": "#!/bin/sh\necho g++ 12\necho Copyright\n", "broken": "#!/bin/sh\nexit 1\n"})
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	o := options{cuda: filepath.Join(dir, "cuda")}
	list, err := versions(tool{"c++", ""}, backends["cuda"].compiler(o), backends["vulkan"].compiler(o))
	if want := []string{"g++ 12", "Cuda compilation tools, release 13.0, V13.0.88", "shaderc 2023.2-1"}; err != nil || !slices.Equal(list, want) {
		t.Errorf("%q, %v, want %q", list, err, want)
	}
	for _, tool := range []tool{{"broken", ""}, {"glslc", "release "}, {"missing-compiler", ""}} {
		if list, err := versions(tool); err == nil {
			t.Errorf("%v: %q", tool, list)
		}
	}
}
