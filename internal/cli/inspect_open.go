package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"paligemma/internal/convert"
	"paligemma/internal/engine"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
	"paligemma/internal/safetensors"
	"paligemma/internal/tokenizer"
)

// Metadata beyond these is described in place of being shown.
const (
	maxShownArray  = 64
	maxShownString = 4096
)

// described stands for a value that is too long to show.
type described struct {
	Type   string `json:"type"`
	Length int    `json:"length"`
}

// String is the table's form.
func (d described) String() string { return fmt.Sprintf("(%d long)", d.Length) }

func inspectGGUF(path string) (*inspection, error) {
	f, err := gguf.Open(path, gguf.Options{})
	if err != nil {
		return nil, err
	}
	return inspectFile(f), nil
}

// inspectFile describes an open GGUF file.
func inspectFile(f *gguf.File) *inspection {
	in := &inspection{Path: f.Path(), Model: summarize(f), Format: "gguf", Version: int(f.Version), Metadata: map[string]any{}, close: func() { f.Close() }}
	for _, key := range f.Keys() {
		in.add(key, f.KeyType(key), shownGGUF(f.Header, key))
	}
	in.Tensors = []inspectedTensor{}
	for _, t := range f.Tensors {
		in.Tensors = append(in.Tensors, inspectedTensor{Name: t.Name, Type: t.Type.String(), Shape: t.Shape, Bytes: t.Size})
		in.Parameters += t.Elements()
		in.Bytes += t.Size
	}
	// A file of another model has none, and one that is damaged is shown too.
	if e, err := tokenizer.EncodingOf(f.Header); err == nil {
		in.Tokenizer = &e
	}
	in.plan = func(o engine.Options) (model.Plan, error) { return o.Plan(f.Header) }
	in.verify = func(ctx context.Context, progress func(int64)) error { return verifyGGUF(ctx, f, progress) }
	return in
}

// shownGGUF is a value, or its description if it is long.
func shownGGUF(h *gguf.Header, key string) any {
	typ := h.KeyType(key)
	if n, err := h.ArrayLen(key); err == nil && n > maxShownArray {
		return described{typ, n}
	}
	if n, err := h.StringLen(key); err == nil && n > maxShownString {
		return described{typ, n}
	}
	v := h.Value(key)
	switch x := v.(type) {
	case float32:
		return number(float64(x), v)
	case float64:
		return number(x, v)
	}
	if texts, ok := v.([]string); ok && len(strings.Join(texts, "")) > maxShownString {
		return described{typ, len(texts)}
	}
	if r := reflect.ValueOf(v); r.Kind() == reflect.Slice {
		list := make([]any, r.Len()) // not []byte, which JSON would have as base64
		for i := range list {
			list[i] = r.Index(i).Interface()
			switch x := list[i].(type) {
			case float32:
				list[i] = number(float64(x), x)
			case float64:
				list[i] = number(x, x)
			}
		}
		return list
	}
	return v
}

// number is v, or text where JSON has no such number.
func number(f float64, v any) any {
	if _, err := json.Marshal(f); err != nil {
		return fmt.Sprint(f)
	}
	return v
}

func inspectSafetensors(path string) (*inspection, error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	in := &inspection{Path: path, Format: "safetensors", Metadata: map[string]any{}, close: func() { f.Close() }}
	for _, key := range slices.Sorted(maps.Keys(f.Metadata)) {
		in.add(key, "string", shownString(f.Metadata[key]))
	}
	in.Tensors = []inspectedTensor{}
	for _, t := range f.Tensors {
		in.addSafetensor(t, "")
	}
	in.verify = floatVerifier(f.Tensors, func(i int, p []byte, off int64) error { return f.ReadAt(f.Tensors[i], p, off) }, f.Unchanged)
	return in, nil
}

func shownString(s string) any {
	if len(s) > maxShownString {
		return described{"string", len(s)}
	}
	return s
}

func (i *inspection) addSafetensor(t safetensors.Tensor, file string) {
	i.Tensors = append(i.Tensors, inspectedTensor{Name: t.Name, Type: string(t.DType), Shape: append([]int64{}, t.Shape...), File: file, Bytes: t.Size})
	i.Parameters += t.Elements()
	i.Bytes += t.Size
}

func inspectCheckpoint(path string) (*inspection, error) {
	ckpt, err := safetensors.OpenCheckpoint(path)
	if err != nil {
		return nil, err
	}
	in := &inspection{Path: path, Format: "checkpoint", Metadata: map[string]any{}, close: func() { ckpt.Close() }}
	if err := in.addConfig(filepath.Join(ckpt.Dir(), "config.json")); err != nil {
		ckpt.Close()
		return nil, err
	}
	in.Tensors = []inspectedTensor{}
	entries := ckpt.Tensors()
	tensors := make([]safetensors.Tensor, len(entries))
	for i, e := range entries {
		tensors[i] = e.Tensor
		in.addSafetensor(e.Tensor, filepath.Base(e.Path))
	}
	in.verify = floatVerifier(tensors, func(i int, p []byte, off int64) error { return ckpt.ReadAt(entries[i], p, off) }, ckpt.Unchanged)
	return in, nil
}

// addConfig shows a checkpoint's config.json, nested fields as a.b. A
// checkpoint without one can be inspected too.
func (i *inspection) addConfig(path string) error {
	config, err := convert.ReadConfig(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	i.flatten("", config)
	return nil
}

func (i *inspection) flatten(prefix string, m map[string]any) {
	// Plain values before nested ones, each by name.
	keys := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		_, nestedA := m[a].(map[string]any)
		_, nestedB := m[b].(map[string]any)
		switch {
		case nestedA == nestedB:
			return cmp.Compare(a, b)
		case nestedA:
			return 1
		}
		return -1
	})
	for _, key := range keys {
		switch v := m[key].(type) {
		case map[string]any:
			i.flatten(prefix+key+".", v)
		case string:
			i.add(prefix+key, "string", shownString(v))
		case []any:
			if len(v) > maxShownArray {
				i.add(prefix+key, "array", described{"array", len(v)})
			} else {
				i.add(prefix+key, "array", v)
			}
		case float64:
			i.add(prefix+key, "number", v)
		case bool:
			i.add(prefix+key, "bool", v)
		default:
			i.add(prefix+key, "null", nil)
		}
	}
}
