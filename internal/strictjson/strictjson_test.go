package strictjson

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// keys is an object with n keys.
func keys(n int) string {
	text := []byte("{")
	for i := range n {
		text = append(strconv.AppendInt(append(text, '"'), int64(i), 36), "\":0,"...)
	}
	return string(text[:len(text)-1]) + "}"
}

func TestManyKeys(t *testing.T) {
	for _, n := range []int{maxKeys, maxKeys + 1} {
		r, err := NewReader(keys(n))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Skip(); (err != nil) != (n > maxKeys) || err != nil && !strings.Contains(err.Error(), "more than 524288 keys") {
			t.Errorf("%d keys: %v", n, err)
		}
	}
}

func TestRefused(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "byte 0: it ends where a value is wanted"},
		{"white space", " \n", "byte 2: it ends"},
		{"not utf-8", "\"\xff\"", "not valid utf-8"},
		{"byte order mark", "\ufeff{}", "byte order mark"},
		{"byte order mark inside", "[\ufeff1]", `byte 1: "\ufeff" where`},
		{"something after", "{} {}", "byte 3: something follows its end"},
		{"a bracket after", "1]", "something follows its end"},
		{"comment", "// x\n{}", `byte 0: "/" where a value is wanted`},
		{"key twice", `{"a":1,"b":2,"a":3}`, `byte 13: key "a" is there twice`},
		{"key twice by escape", `{"a":1,"\u0061":3}`, `key "a" is there twice`},
		{"key twice inside", `[{"x":{"a":1,"a":1}}]`, `key "a" is there twice`},
		{"trailing comma", `{"a":1,}`, `byte 7: "}" where a key is wanted`},
		{"trailing comma of a list", `[1,]`, `byte 3: "]" where a value is wanted`},
		{"leading comma", `[,1]`, `byte 1: ","`},
		{"no comma", `{"a":1 "b":2}`, `"," or "}"`},
		{"no comma in a list", `[1 2]`, `"," or "]"`},
		{"no colon", `{"a" 1}`, `":"`},
		{"key without quotes", `{a:1}`, "a key is wanted"},
		{"number as a key", `{1:1}`, "a key is wanted"},
		{"other bracket", `{"a":1]`, `"]" where "," or "}" is wanted`},
		{"other brace", `[1}`, `"}" where "," or "]" is wanted`},
		{"open object", `{"a":1`, "byte 6: it ends"},
		{"open list", `[1`, "byte 2: it ends"},
		{"open string", `"abc`, "byte 4: it ends inside a string"},
		{"open escape", `"abc\`, "byte 5: it ends inside a string"},
		{"open after an escape", `"\n`, "it ends inside a string"},
		{"unknown escape", `"\x41"`, "byte 1: not an escape"},
		{"short escape", `"\u12"`, "not an escape"},
		{"signed escape", `"\u+123"`, "not an escape"},
		{"newline in a string", "\"a\nb\"", "byte 2: a control character"},
		{"NUL in a string", "\"\\n\x00\"", "byte 3: a control character"},
		{"single quotes", `'a'`, "a value is wanted"},
		{"NaN", "NaN", "a value is wanted"},
		{"Infinity", "-Infinity", "a digit is wanted"},
		{"plus", "+1", "a value is wanted"},
		{"leading zero", "01", "something follows its end"},
		{"negative leading zero", "-01", "something follows its end"},
		{"no digit before the point", ".5", "a value is wanted"},
		{"no digit after the point", "1.", "a digit is wanted"},
		{"no digit in the exponent", "1e+", "a digit is wanted"},
		{"hexadecimal", "0x1", "something follows its end"},
		{"half a word", "tru", "a value is wanted"},
		{"another case", "True", "a value is wanted"},
		{"half of null", "nul", "a value is wanted"},
		{"a form feed", "[1,\f2]", "a value is wanted"},
		{"deep", nested(maxDepth + 1), "nested more than 32 deep"},
		{"very deep", strings.Repeat("[", 1<<20), "nested more than 32 deep"},
		{"deep objects", strings.Repeat(`{"a":`, maxDepth+1) + "1" + strings.Repeat("}", maxDepth+1), "nested more than 32 deep"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if v, err := Parse(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, %v, want an error with %q", v, err, c.want)
			} else if len(err.Error()) > 300 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			if r, err := NewReader(c.text); err == nil && r.Skip() == nil && r.End() == nil {
				t.Error("Skip accepts it")
			}
		})
	}
	for _, text := range []string{nested(maxDepth), nested(maxDepth-1) + "\n"} {
		if _, err := Parse(text); err != nil {
			t.Error(err)
		}
	}
}

// values are texts that are read as encoding/json reads them.
var values = []string{
	`null`, `true`, ` false `, `""`, `"a"`, `0`, `-0`, `1.5e-7`, `1E400`, `123456789012345678901234567890`, `{}`, `[]`, "[ ]", "{ }",
	`{"a":[1,2,{"b":null}],"":"","c":{}}`, "\t[\r\n1 , \"x\" ]", `"\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00"`,
	`"\ud83d"`, `"\ud83dx"`, `"\ude00\ud83d"`, `"\ud83d\u0041"`, `"\ud83d\ud83d\ude00"`, `"é日\u2028"`, `"a\u0000b"`,
}

func TestValues(t *testing.T) {
	for _, text := range values {
		t.Run(text, func(t *testing.T) {
			got, err := Parse(text)
			if want := decoded(t, text); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%#v, %v, want %#v", got, err, want)
			}
		})
	}
}

// decoded is what encoding/json makes of a text. Its empty list is nil here.
func decoded(t *testing.T, text string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return withoutEmpty(v)
}

// withoutEmpty makes empty lists nil.
func withoutEmpty(v any) any {
	switch v := v.(type) {
	case []any:
		if len(v) == 0 {
			return []any(nil)
		}
		for i := range v {
			v[i] = withoutEmpty(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = withoutEmpty(v[key])
		}
	}
	return v
}

func TestFields(t *testing.T) {
	type fields struct {
		s   string
		b   bool
		f   float64
		raw string
		n   int64
	}
	read := func(text string) (got fields, err error) {
		r, err := NewReader(text)
		if err != nil {
			return got, err
		}
		var raw Raw
		got.s = "before"
		err = r.Fields(map[string]any{"s": &got.s, "b": &got.b, "f": &got.f, "raw": &raw, "n": func() (err error) {
			got.n, err = r.Int(-1, 7)
			return err
		}})
		got.raw = string(raw)
		return got, err
	}
	for _, c := range []struct {
		name, text string
		want       fields
		err        string
	}{
		{"all", `{"s":"a","x":[{}],"b":true,"f":-2.5,"raw": {"a" :1} ,"n":7}`, fields{"a", true, -2.5, `{"a" :1}`, 7}, ""},
		{"none", `{}`, fields{s: "before"}, ""},
		{"null", `{"s":null,"b":null,"f":null,"raw":null,"n":null}`, fields{s: "before"}, ""},
		{"another case", `{"S":1}`, fields{s: "before"}, ""},
		{"twice", `{"s":"a","s":"b"}`, fields{}, `key "s" is there twice`},
		{"unknown twice", `{"x":1,"x":1}`, fields{}, `key "x" is there twice`},
		{"number", `{"s":7}`, fields{}, `s: 7 where a string is wanted`},
		{"object", `{"s":{"a":1}}`, fields{}, `s: an object where a string is wanted`},
		{"list", `{"b":[1]}`, fields{}, `b: a list where true or false is wanted`},
		{"string", `{"f":"1"}`, fields{}, `f: "1" where a number is wanted`},
		{"fraction", `{"n":1.0}`, fields{}, `n: 1.0 where an integer from -1 to 7 is wanted`},
		{"exponent", `{"n":1e0}`, fields{}, `n: 1e0 where an integer`},
		{"beyond", `{"n":8}`, fields{}, `n: 8 where an integer`},
		{"below", `{"n":-2}`, fields{}, `n: -2 where an integer`},
		{"far beyond", `{"n":` + strings.Repeat("9", 1000) + `}`, fields{}, `n: 999`},
		{"infinite", `{"f":1e400}`, fields{}, `f: 1e400 is beyond a float64`},
		{"not an object", `7`, fields{}, `7 where an object is wanted`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := read(c.text)
			switch {
			case c.err == "" && (err != nil || got != c.want):
				t.Errorf("%+v, %v, want %+v", got, err, c.want)
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || len(err.Error()) > 300):
				t.Errorf("%v, want %q", err, c.err)
			}
		})
	}
}

// FuzzParse compares with encoding/json: what is accepted means the same there,
// and what is refused is invalid there, too, or one of the things that this
// package exists for.
func FuzzParse(f *testing.F) {
	for _, text := range values {
		f.Add(text)
	}
	f.Add(`{"a":1,"a":2}`)
	f.Add("[1,]")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Parse(text)
		if err == nil {
			if want := decoded(t, text); !json.Valid([]byte(text)) || !reflect.DeepEqual(got, want) {
				t.Fatalf("%#v, want %#v", got, want)
			}
			r, err := NewReader(text)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := r.Raw()
			if err != nil || !bytes.Equal(raw, bytes.Trim([]byte(text), " \t\r\n")) {
				t.Fatalf("%q, %v", raw, err)
			}
			return
		}
		stricter := !utf8.ValidString(text) || strings.Contains(err.Error(), "is there twice") || strings.Contains(err.Error(), "nested more than")
		if !stricter && json.Valid([]byte(text)) {
			t.Fatalf("%q is json: %v", text, err)
		}
	})
}
