// Package jsonschema checks values against the part of JSON Schema that the
// documentation of this program uses, for tests. It is stricter than the standard: a
// field that is not in properties is wrong, so that none stays undocumented, unless
// additionalProperties says something.
package jsonschema

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Schema is a schema, or a part of one.
type Schema struct {
	Title                string             `json:"title"`
	Type                 Types              `json:"type"`
	Required             []string           `json:"required"`
	Properties           map[string]*Schema `json:"properties"`
	AdditionalProperties *bool              `json:"additionalProperties"` // nil: as if false, but only where there are properties
	Items                *Schema            `json:"items"`
	Enum                 []any              `json:"enum"`
	Const                any                `json:"const"`
	OneOf                []*Schema          `json:"oneOf"`
	AllOf                []*Schema          `json:"allOf"`
	Minimum              *float64           `json:"minimum"`
	Maximum              *float64           `json:"maximum"`
	MinItems             int                `json:"minItems"`
	MaxItems             int                `json:"maxItems"` // 0: any number
	Ref                  string             `json:"$ref"`
}

// Types are the kinds that a value may be of.
type Types []string

// UnmarshalJSON reads one kind, or a list of them.
func (t *Types) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*t = Types{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(t))
}

// Refs are the schemas that others name, by what $ref says.
type Refs map[string]*Schema

// Check returns what is wrong with a value, as encoding/json reads it; path names the
// value.
func (s *Schema) Check(path string, v any) []string { return Refs(nil).Check(s, path, v) }

// Check returns what is wrong with a value of a schema that may name others.
func (r Refs) Check(s *Schema, path string, v any) (wrong []string) {
	bad := func(format string, args ...any) {
		wrong = append(wrong, path+": "+fmt.Sprintf(format, args...))
	}
	if s.Ref != "" {
		to := r[s.Ref]
		if to == nil {
			bad("no schema %s", s.Ref)
			return wrong
		}
		return r.Check(to, path, v)
	}
	if s.Enum != nil && !slices.Contains(s.Enum, v) {
		bad("%v is none of %v", v, s.Enum)
	}
	if s.Const != nil && v != s.Const {
		bad("%v, want %v", v, s.Const)
	}
	if kind := kindOf(v); s.Type != nil && !s.Type.has(kind, v) {
		bad("%s, want %s", kind, strings.Join(s.Type, " or "))
		return wrong
	}
	wrong = append(wrong, r.checkSome(s, path, v)...)
	switch x := v.(type) {
	case float64:
		if !s.inRange(x) {
			bad("%v is out of range", x)
		}
	case []any:
		wrong = append(wrong, r.checkList(s, path, x)...)
	case map[string]any:
		wrong = append(wrong, r.checkObject(s, path, x)...)
	}
	return wrong
}

// inRange reports whether a number is within the bounds.
func (s *Schema) inRange(x float64) bool {
	return (s.Minimum == nil || x >= *s.Minimum) && (s.Maximum == nil || x <= *s.Maximum)
}

// kindOf returns what JSON Schema calls the kind of a value.
func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "string"
	case bool:
		return "boolean"
	case float64:
		return "number"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	}
	return fmt.Sprintf("%T", v)
}

// has reports whether a value of a kind is one of the types.
func (t Types) has(kind string, v any) bool {
	if slices.Contains(t, kind) {
		return true
	}
	x, number := v.(float64)
	return number && x == math.Trunc(x) && slices.Contains(t, "integer")
}

// checkSome checks a value against oneOf and allOf.
func (r Refs) checkSome(s *Schema, path string, v any) (wrong []string) {
	for _, all := range s.AllOf {
		wrong = append(wrong, r.Check(all, path, v)...)
	}
	if s.OneOf == nil {
		return wrong
	}
	fits := 0
	var first []string
	for _, one := range s.OneOf {
		errs := r.Check(one, path, v)
		if len(errs) == 0 {
			fits++
		} else if first == nil {
			first = errs
		}
	}
	if fits != 1 {
		wrong = append(wrong, fmt.Sprintf("%s: fits %d schemas of oneOf, want 1: %v", path, fits, first))
	}
	return wrong
}

// checkList checks a list.
func (r Refs) checkList(s *Schema, path string, list []any) (wrong []string) {
	if len(list) < s.MinItems || s.MaxItems > 0 && len(list) > s.MaxItems {
		wrong = append(wrong, fmt.Sprintf("%s: %d items", path, len(list)))
	}
	if s.Items == nil {
		if s.Type != nil {
			wrong = append(wrong, path+": its items are not documented")
		}
		return wrong
	}
	for i, item := range list {
		wrong = append(wrong, r.Check(s.Items, fmt.Sprintf("%s[%d]", path, i), item)...)
	}
	return wrong
}

// checkObject checks an object.
func (r Refs) checkObject(s *Schema, path string, object map[string]any) (wrong []string) {
	for _, name := range s.Required {
		if _, ok := object[name]; !ok {
			wrong = append(wrong, path+": "+name+" is missing")
		}
	}
	if s.Properties == nil { // anything goes
		return wrong
	}
	open := s.AdditionalProperties != nil && *s.AdditionalProperties
	for name, field := range object {
		if p, ok := s.Properties[name]; ok {
			wrong = append(wrong, r.Check(p, path+"."+name, field)...)
		} else if !open {
			wrong = append(wrong, fmt.Sprintf("%s: %s is not documented", path, name))
		}
	}
	return wrong
}
