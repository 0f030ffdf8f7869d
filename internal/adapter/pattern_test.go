package adapter

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
)

// TestFind matches patterns as PEFT's get_pattern_key.
func TestFind(t *testing.T) {
	const module = "model.language_model.layers.10.self_attn.q_proj"
	for key, want := range map[string]bool{
		"q_proj":                           true,
		"self_attn.q_proj":                 true,
		"selfXattn.q_proj":                 false,
		"self.attn.q_proj":                 true, // a point is any character
		"_proj":                            false,
		"proj":                             false,
		module:                             true,
		"^" + module:                       true,
		"^language_model.*":                false,
		`layers\.\d+\.self_attn\.q_proj`:   true,
		`layers\.\d\.self_attn\.q_proj`:    false,
		"q_proj|v_proj":                    true,
		"v_proj|k_proj":                    false,
		"layers.10":                        false,
		"layers.10.*":                      true,
		".*q_proj":                         true,
		"[q]_proj":                         true,
		"[_]proj":                          false, // not after a point
		"":                                 false,
		"x." + module:                      false,
		`.*language_model.*\.(q|v)_proj`:   true,
		`(?i)Q_PROJ`:                       true,
		"model.language_model.layers.1.*":  true,
		`model\.language_model\.layers\.1`: false,
	} {
		p := compile(key, 5)
		if p.err != nil {
			t.Fatal(p.err)
		}
		got, err := find([]patternValue{compile("nothing", 4), p, compile(".*", 6)}, module, 7)
		if err != nil || (got == 5) != want {
			t.Errorf("%q matches: %v, want %v (%v)", key, got == 5, want, err)
		}
	}
}

// TestPatternLimits bounds what regular expressions may take.
func TestPatternLimits(t *testing.T) {
	many := map[string]int{}
	for i := range 200 {
		many[`(.{1,900})x\d`+strconv.Itoa(i)] = 1
	}
	layers := map[string]int{}
	for i := range 500 {
		layers[`model\.language_model\.layers\.`+strconv.Itoa(i)+`\.self_attn\.(q|k|v|o)_proj`] = 1
	}
	for name, test := range map[string]struct {
		pattern map[string]int
		want    string
	}{
		"a large one":       {map[string]int{strings.Repeat("(.{1,1000})", 300): 1}, "too large"},
		"many":              {many, "too large"},
		"one for each part": {layers, ""},
		"nested":            {map[string]int{"((a{1,1000}){1,1000}){1,1000}": 1}, ""}, // an error where it is used
	} {
		t.Run(name, func(t *testing.T) {
			b, err := json.Marshal(map[string]any{"peft_type": "LORA", "alpha_pattern": test.pattern})
			if err != nil {
				t.Fatal(err)
			}
			if _, err = parseConfig(string(b)); test.want == "" && err != nil {
				t.Error(err)
			} else if test.want != "" {
				refused(t, err, "alpha_pattern", test.want, "names of the modules")
			}
		})
	}
}
