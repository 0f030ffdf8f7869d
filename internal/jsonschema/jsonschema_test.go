package jsonschema

import (
	"encoding/json"
	"testing"
)

// TestCheck finds what each part of a schema is there to find.
func TestCheck(t *testing.T) {
	refs := Refs{"#/a": {Type: Types{"string"}}}
	for _, c := range []struct {
		name, schema, value string
		wrong               int
	}{
		{"type", `{"type": "string"}`, `"a"`, 0},
		{"other type", `{"type": "string"}`, `1`, 1},
		{"one of types", `{"type": ["string", "null"]}`, `null`, 0},
		{"none of types", `{"type": ["string", "null"]}`, `true`, 1},
		{"integer", `{"type": "integer"}`, `2`, 0},
		{"fraction", `{"type": "integer"}`, `2.5`, 1},
		{"range", `{"type": "number", "minimum": 0, "maximum": 1}`, `1`, 0},
		{"below", `{"type": "number", "minimum": 0}`, `-1`, 1},
		{"above", `{"type": "number", "maximum": 1}`, `2`, 1},
		{"word", `{"enum": ["a", "b"]}`, `"b"`, 0},
		{"other word", `{"enum": ["a", "b"]}`, `"c"`, 1},
		{"constant", `{"const": "a"}`, `"b"`, 1},
		{"items", `{"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2}`, `["a", 1]`, 1},
		{"too few items", `{"type": "array", "items": {}, "minItems": 1}`, `[]`, 1},
		{"too many items", `{"type": "array", "items": {}, "maxItems": 1}`, `[1, 2]`, 1},
		{"items not documented", `{"type": "array"}`, `[]`, 1},
		{"field", `{"properties": {"a": {"type": "string"}}}`, `{"a": 1}`, 1},
		{"field missing", `{"required": ["a"]}`, `{}`, 1},
		{"field not documented", `{"properties": {}}`, `{"a": 1}`, 1},
		{"other fields", `{"properties": {}, "additionalProperties": true}`, `{"a": 1}`, 0},
		{"any object", `{"type": "object"}`, `{"a": 1}`, 0},
		{"one", `{"oneOf": [{"type": "string"}, {"type": "number"}]}`, `1`, 0},
		{"none", `{"oneOf": [{"type": "string"}, {"type": "number"}]}`, `null`, 1},
		{"both", `{"oneOf": [{"type": "integer"}, {"type": "number"}]}`, `1`, 1},
		{"all", `{"allOf": [{"required": ["a"]}, {"required": ["b"]}]}`, `{"a": 1}`, 1},
		{"reference", `{"items": {"$ref": "#/a"}}`, `["a", 1]`, 1},
		{"reference to nothing", `{"$ref": "#/b"}`, `1`, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s Schema
			var v any
			if err := json.Unmarshal([]byte(c.schema), &s); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(c.value), &v); err != nil {
				t.Fatal(err)
			}
			if wrong := refs.Check(&s, "v", v); len(wrong) != c.wrong {
				t.Errorf("%v, want %d errors", wrong, c.wrong)
			}
		})
	}
}
