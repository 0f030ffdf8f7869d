package convert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"regexp"
	"strings"

	"paligemma/internal/quote"
	"paligemma/internal/regular"
	"paligemma/internal/safetensors"
	"paligemma/internal/strictjson"
)

const (
	maxConfigBytes    = 4 << 20  // of config.json and its like; real ones have 2 kB
	maxTokenizerBytes = 64 << 20 // of tokenizer.json; 34 MB indented for 256,000 pieces
)

// readLimited reads a file of at most limit bytes.
func readLimited(path string, limit int64) ([]byte, error) {
	f, err := regular.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s: more than %d bytes", path, limit)
	}
	if what := safetensors.DescribeForeign(b); what != "" {
		return nil, fmt.Errorf("%s is %s", path, what)
	}
	return b, nil
}

// notNumber stands for NaN and the infinities, which Python writes and JSON does
// not have: a number that no float64 holds, so that it is refused where it is
// used.
const notNumber = "1e999999"

// finite replaces NaN, Infinity and -Infinity outside strings by notNumber.
func finite(b []byte) []byte {
	if !bytes.Contains(b, []byte("NaN")) && !bytes.Contains(b, []byte("Infinity")) {
		return b
	}
	var out []byte
	inside := false
	for i := 0; i < len(b); i++ {
		switch {
		case inside && b[i] == '\\' && i+1 < len(b):
			out = append(out, b[i])
			i++
		case b[i] == '"':
			inside = !inside
		case !inside:
			if word := notFinite.Find(b[i:]); word != nil {
				out = append(out, notNumber...)
				i += len(word) - 1
				continue
			}
		}
		out = append(out, b[i])
	}
	return out
}

var notFinite = regexp.MustCompile(`^(NaN|-?Infinity)`)

// object is a JSON object whose fields are fetched by type. The first trouble
// with each field is collected in errs; null counts as missing.
type object struct {
	name   string // of the file and the path in it, for errors
	fields map[string]any
	errs   *[]error
}

// readObject reads a JSON file that holds an object. The file's base name
// stands for it in errors.
func readObject(path string, errs *[]error) (object, error) {
	b, err := readLimited(path, maxConfigBytes)
	if err != nil {
		return object{}, err
	}
	o, err := parseObject(filepath.Base(path), finite(b), errs)
	if err != nil {
		return object{}, fmt.Errorf("%s: %w", path, err)
	}
	return o, nil
}

// ReadConfig reads a JSON file of a checkpoint that holds an object, for humans:
// numbers are float64, and text where JSON has no such number.
func ReadConfig(path string) (map[string]any, error) {
	var errs []error
	o, err := readObject(path, &errs)
	if err != nil {
		return nil, err
	}
	return plainNumbers(o.fields).(map[string]any), nil
}

// plainNumbers replaces every json.Number of a value.
func plainNumbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			v[key] = plainNumbers(inner)
		}
	case []any:
		for i, inner := range v {
			v[i] = plainNumbers(inner)
		}
	case json.Number:
		if f, err := v.Float64(); err == nil {
			return f
		}
		return show(v)
	}
	return v
}

func parseObject(name string, b []byte, errs *[]error) (object, error) {
	v, err := strictjson.Parse(string(b))
	if err != nil {
		return object{}, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return object{}, errors.New("not a json object")
	}
	return object{name + ": ", m, errs}, nil
}

func (o object) fail(key, format string, args ...any) {
	*o.errs = append(*o.errs, fmt.Errorf("%s%s %s", o.name, key, fmt.Sprintf(format, args...)))
}

func (o object) has(key string) bool { return o.fields[key] != nil }

// object gives a nested object, an empty one if it is missing.
func (o object) object(key string) object {
	inner := object{o.name + key + ".", nil, o.errs}
	if v := o.fields[key]; v != nil {
		m, ok := v.(map[string]any)
		if !ok {
			o.fail(key, "is %s, want an object", show(v))
		}
		inner.fields = m
	}
	return inner
}

func (o object) float(key string, missing float64) float64 {
	v := o.fields[key]
	if v == nil {
		return missing
	}
	if f, ok := number(v); ok {
		return f
	}
	o.fail(key, "is %s, want a number", show(v))
	return missing
}

func (o object) int(key string, missing int) int {
	v := o.fields[key]
	if v == nil {
		return missing
	}
	if n, ok := integer(v); ok {
		return n
	}
	o.fail(key, "is %s, want an integer from 0 to %d", show(v), math.MaxInt32)
	return missing
}

func (o object) bool(key string, missing bool) bool {
	v := o.fields[key]
	if v == nil {
		return missing
	}
	b, ok := v.(bool)
	if !ok {
		o.fail(key, "is %s, want true or false", show(v))
	}
	return b
}

func (o object) string(key, missing string) string {
	v := o.fields[key]
	if v == nil {
		return missing
	}
	s, ok := v.(string)
	if !ok {
		o.fail(key, "is %s, want a string", show(v))
	}
	return s
}

// ids gives the token ids that a list or a single number names. Negative ones
// stand for none.
func (o object) ids(key string) []int {
	v := o.fields[key]
	if v == nil {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var all []int
	for _, v := range list {
		if f, ok := number(v); ok && f < 0 && f == math.Trunc(f) {
			continue
		}
		n, ok := integer(v)
		if !ok {
			o.fail(key, "has %s, want a token's id", show(v))
			return nil
		}
		all = append(all, n)
	}
	return all
}

// floats3 gives three numbers, one for each channel; a single one counts for all.
func (o object) floats3(key string, missing [3]float32) [3]float32 {
	v := o.fields[key]
	if v == nil {
		return missing
	}
	list, _ := v.([]any)
	if _, single := number(v); single {
		list = []any{v, v, v}
	}
	var all [3]float32
	ok := len(list) == 3
	for i := range all {
		if ok {
			var f float64
			f, ok = number(list[i])
			all[i] = float32(f)
		}
	}
	if !ok {
		o.fail(key, "is %s, want one number or three", show(v))
		return missing
	}
	return all
}

func number(v any) (float64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	f, err := n.Float64()
	return f, err == nil
}

func integer(v any) (int, bool) {
	f, ok := number(v)
	if !ok || f != math.Trunc(f) || f < 0 || f > math.MaxInt32 {
		return 0, false
	}
	return int(f), true
}

// show prints a JSON value in a message, shortened.
func show(v any) string {
	if n, ok := v.(json.Number); ok && strings.TrimPrefix(string(n), "-") == notNumber {
		return "NaN or infinite"
	}
	if s, ok := v.(string); ok {
		return quote.Short(s)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	if len(b) > 60 {
		b = append(bytes.ToValidUTF8(b[:57], nil), "..."...)
	}
	return string(b)
}

// oneLine joins errors, the first few of them, on one line.
func oneLine(errs []error) error {
	const most = 3
	if len(errs) == 0 {
		return nil
	}
	if len(errs) == 1 {
		return errs[0]
	}
	var text []string
	for i, err := range errs {
		if i == most {
			text = append(text, fmt.Sprintf("and %d more", len(errs)-most))
			break
		}
		text = append(text, err.Error())
	}
	return errors.New(strings.Join(text, "; "))
}
