package safetensors

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// dataOf turns what was parsed from b back into tensors to write.
func dataOf(h *Header, b []byte) []Data {
	var all []Data
	for _, t := range h.Tensors {
		start := h.DataOffset + t.Offset
		all = append(all, Data{t.Name, t.DType, t.Shape, b[start : start+t.Size]})
	}
	return all
}

// checkAccepted: if b is a file, then writing it and reading that again gives
// the same tensors, data and metadata; and the writer's output is a fixed point.
func checkAccepted(t testing.TB, b []byte) {
	t.Helper()
	h, err := parseBytes(b)
	if err != nil {
		return
	}
	var once, twice bytes.Buffer
	if err := Write(&once, dataOf(h, b), h.Metadata); err != nil {
		t.Fatalf("what was accepted cannot be written: %v", err)
	}
	g, err := parseBytes(once.Bytes())
	if err != nil {
		t.Fatalf("what was written is refused: %v", err)
	}
	if !reflect.DeepEqual(h.Tensors, g.Tensors) || !maps.Equal(h.Metadata, g.Metadata) {
		t.Fatalf("was %v %v, is %v %v", h.Tensors, h.Metadata, g.Tensors, g.Metadata)
	}
	if !bytes.Equal(b[h.DataOffset:], once.Bytes()[g.DataOffset:]) {
		t.Fatal("the data differ")
	}
	if err := Write(&twice, dataOf(g, once.Bytes()), g.Metadata); err != nil || !bytes.Equal(once.Bytes(), twice.Bytes()) {
		t.Fatalf("writing twice gives different bytes (%v)", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample())
	f.Add(build("{}", 0))
	f.Add(build(`{"a":{"dtype":"F32","shape":[9223372036854775807,2],"data_offsets":[0,8]}}`, 8))
	f.Add(build(`{"__metadata__":{"a":"\ud83d\ude00","b":"<\u2028>"}}`, 0))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, '{'})
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, most := allocated(func() { parseBytes(b) }), uint64(100*len(b)+256<<10); got > most {
			t.Errorf("%d bytes allocated for a file of %d", got, len(b))
		}
		checkAccepted(t, b)
	})
}

// FuzzHeader lets the fuzzer write the JSON alone, with a right length before
// it and n bytes of data after it.
func FuzzHeader(f *testing.F) {
	f.Add(sampleHeader, uint16(sampleData))
	f.Add(`{"a":{"dtype":"BOOL","shape":[1,1,1,1],"data_offsets":[0,1]}}`, uint16(1))
	f.Add(`{"a":{"data_offsets":[0,2],"shape":[1],"dtype":"BF16"},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}`, uint16(4))
	f.Add(`{"__metadata__":{"":""}}`, uint16(0))
	f.Fuzz(func(t *testing.T, header string, n uint16) {
		checkAccepted(t, build(header, int(n)))
	})
}

// FuzzCheckpointIndex: an index that is accepted names only files in its
// folder, and each once.
func FuzzCheckpointIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":8},"weight_map":{"a":"model-00001-of-00001.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"../x.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"a.safetensors","a":"b.safetensors"}}`))
	f.Add([]byte(`{"x":[[[{"a":{}}]]],"weight_map":{"a":"C:\\x.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"/etc/x.safetensors","b":".safetensors"}}`))
	f.Add(bytes.Repeat([]byte(`{"a":[`), 50))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		var shardOf map[string]string
		var err error
		if got, most := allocated(func() { shardOf, err = parseIndex(string(b)) }), uint64(100*len(b)+256<<10); got > most {
			t.Errorf("%d bytes allocated for an index of %d", got, len(b))
		}
		if err != nil {
			return
		}
		if len(shardOf) == 0 {
			t.Error("an empty index is accepted")
		}
		for _, shard := range shardOf {
			if path := filepath.Join(dir, shard); filepath.Dir(path) != dir || !strings.HasSuffix(path, suffix) {
				t.Errorf("shard %q leaves the folder", shard)
			}
		}
		// The folder has no shards: to open it must fail, and touch nothing.
		path := filepath.Join(dir, indexName)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Skip(err)
		}
		if _, err := OpenCheckpoint(dir); err == nil {
			t.Errorf("shards %q were found", slices.Sorted(maps.Values(shardOf)))
		}
	})
}
