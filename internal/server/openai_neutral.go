package server

import (
	"encoding/json"
	"errors"
	"slices"

	"paligemma/internal/quote"
)

// neutral reports which values of a parameter change nothing. Of parameters that are
// not listed these are the empty ones.
var neutral = map[string]func(value any) bool{
	"user": anything, "metadata": anything, "store": anything, "service_tier": anything, "parallel_tool_calls": anything,
	"safety_identifier": anything, "prompt_cache_key": anything, "prompt_cache_retention": anything,
	"frequency_penalty": isNumber(0), "presence_penalty": isNumber(0),
	"repetition_penalty": isNumber(1), "length_penalty": isNumber(1), "min_p": isNumber(0), "min_tokens": isNumber(0),
	"best_of":     isNumber(1),
	"tool_choice": isWord("none", "auto"), "function_call": isWord("none", "auto"),
	"reasoning_effort": isWord("none", "minimal"), "verbosity": isWord("medium"),
	"modalities":          isTextOnly,
	"skip_special_tokens": isTrue, "spaces_between_special_tokens": isTrue, "add_generation_prompt": isTrue,
}

// unsupported refuses a parameter that has no meaning here, unless its value changes
// nothing.
func (t *textRequest) unsupported(name string, value any) error {
	accepts, ok := neutral[name]
	if !ok {
		accepts = isEmpty
	}
	switch {
	case value == nil, accepts(value):
		return nil
	case ok:
		return errors.New("this value is not supported")
	}
	return errors.New("there is no such parameter: " + quote.Short(name))
}

func anything(any) bool { return true }

func isNumber(want float64) func(any) bool {
	return func(value any) bool {
		n, ok := value.(json.Number)
		if !ok {
			return false
		}
		v, err := n.Float64()
		return err == nil && v == want
	}
}

func isWord(words ...string) func(any) bool {
	return func(value any) bool {
		word, ok := value.(string)
		return ok && slices.Contains(words, word)
	}
}

func isTrue(value any) bool { return value == true }

// isTextOnly reports whether a value is ["text"].
func isTextOnly(value any) bool {
	list, ok := value.([]any)
	return ok && len(list) == 1 && list[0] == "text"
}

// isEmpty reports whether a value is null, false, 0, or an empty text, list or object.
func isEmpty(value any) bool {
	switch v := value.(type) {
	case bool:
		return !v
	case string:
		return v == ""
	case json.Number:
		return isNumber(0)(v)
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return value == nil
}
