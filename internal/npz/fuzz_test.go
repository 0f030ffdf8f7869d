package npz

import (
	"archive/zip"
	"bytes"
	"context"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// FuzzNPZ: no panic, and what is accepted survives writing and reading. Run it
// with -fuzzminimizetime 20x: the coverage of package flate varies from run to
// run, which keeps the minimizer busy.
func FuzzNPZ(f *testing.F) {
	for _, name := range []string{"stored.npz", "deflated.npz"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add(makeZip(f, entry{"a.npy", zip.Store, npy(2, 0, dict4, four)}))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := parse(data)
		if err != nil {
			return
		}
		for _, name := range a.Names() {
			values, shape, err := a.Float32(name)
			if err == nil {
				roundTrip(t, values, shape)
			}
			readInParts(t, a, name, values)
		}
	})
}

// readInParts wants an array's header to be true of its bytes, and what Float32 gives of
// those in parts; nil: Float32 fails.
func readInParts(t *testing.T, a *Archive, name string, values []float32) {
	t.Helper()
	x, err := a.Array(name)
	if err != nil {
		return
	}
	n := int64(1)
	for _, d := range x.Shape {
		n *= d
	}
	elem := elements[x.Type]
	if x.Size != n*int64(elem.size) {
		t.Fatalf("%+v: %d elements of %d bytes", x, n, elem.size)
	}
	last := make([]byte, elem.size)
	if err := a.ReadAt(x, last, x.Size-int64(elem.size)); err != nil {
		t.Fatalf("%+v: %v", x, err)
	}
	if err := a.ReadAt(x, last, x.Size); err == nil {
		t.Fatalf("%+v is read past its end", x)
	}
	verified := a.Verify(context.Background(), name)
	if values == nil {
		return
	}
	if v, _ := elem.decode(last); math.Float32bits(v) != math.Float32bits(values[n-1]) || verified != nil {
		t.Fatalf("%+v ends in %v, want %v; %v", x, v, values[n-1], verified)
	}
}

// FuzzReadNPY does the same below the zip and its checksums.
func FuzzReadNPY(f *testing.F) {
	a, err := Open(filepath.Join("testdata", "stored.npz"))
	if err != nil {
		f.Fatal(err)
	}
	defer a.Close()
	for _, name := range a.Names() {
		r, err := a.arrays[name].Open()
		if err != nil {
			f.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add(npy(2, 0, dict4, four))
	f.Fuzz(func(t *testing.T, data []byte) {
		values, shape, err := readNPY(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		if len(values) > len(data) {
			t.Fatalf("%d values from %d bytes", len(values), len(data))
		}
		roundTrip(t, values, shape)
	})
}

func roundTrip(t *testing.T, values []float32, shape []int) {
	t.Helper()
	n := 1
	dims := make([]string, len(shape))
	for i, d := range shape {
		n *= d
		dims[i] = strconv.Itoa(d) + ","
	}
	if n != len(values) {
		t.Fatalf("shape %v, %d values", shape, len(values))
	}
	dict := "{'descr': '<f4', 'fortran_order': False, 'shape': (" + strings.Join(dims, " ") + "), }\n"
	data := npy(1, 0, dict, values)
	back, backShape, err := readNPY(bytes.NewReader(data), int64(len(data)))
	if err != nil || !slices.Equal(backShape, shape) || !reflect.DeepEqual(bits(back), bits(values)) {
		t.Fatalf("%v came back as %v, %v", shape, backShape, err)
	}
}

// bits makes NaN equal to itself.
func bits(values []float32) []uint32 {
	b := make([]uint32, len(values))
	for i, v := range values {
		b[i] = math.Float32bits(v)
	}
	return b
}
