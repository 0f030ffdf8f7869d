package adapter

import (
	"fmt"
	"slices"
	"strings"

	"paligemma/internal/layout"
	"paligemma/internal/safetensors"
)

// Parts of an update, by the names of PEFT's fields.
const (
	partA          = "lora_A"
	partB          = "lora_B"
	partBias       = "lora_B.bias"
	partEmbeddingA = "lora_embedding_A"
	partEmbeddingB = "lora_embedding_B"
	partMagnitude  = "lora_magnitude_vector"
)

var updateParts = []string{partA, partB, partEmbeddingA, partEmbeddingB, partMagnitude}

// update is the low-rank update of one module.
type update struct {
	module string // its canonical name
	path   string // its name in the file, without base_model.model.: what patterns match
	parts  map[string]safetensors.Tensor
}

// embedding reports whether the update is of an embedding.
func (u *update) embedding() bool {
	_, a := u.parts[partEmbeddingA]
	_, b := u.parts[partEmbeddingB]
	return a || b
}

// tensor returns the name of one of the tensors, the same each time.
func (u *update) tensor() string {
	return u.first(partA, partB, partEmbeddingA, partEmbeddingB, partMagnitude, partBias)
}

// first returns the name of the first of some parts that is there.
func (u *update) first(parts ...string) string {
	for _, part := range parts {
		if t, ok := u.parts[part]; ok {
			return t.Name
		}
	}
	return u.path
}

// copied is a tensor that replaces one of the model.
type copied struct {
	tensor safetensors.Tensor
	names  []string // canonical names that it may stand for, the likelier first
	saved  bool     // its name says modules_to_save
	base   bool     // its name says base_layer: it is the base's own tensor
}

// key is a tensor's name, taken apart.
type key struct {
	module string // before the part; of a copy the whole name
	part   string // one of updateParts, or partBias; "" of a copy
	copies []string
	saved  bool // says modules_to_save
	base   bool // says base_layer
}

// parseKey takes a tensor's name apart. Behind a part there may be the adapter's
// name, and weight.
func parseKey(name string) (key, error) {
	words := strings.Split(name, ".")
	for i := len(words) - 1; i > 0; i-- {
		if !slices.Contains(updateParts, words[i]) {
			continue
		}
		k := key{module: strings.Join(words[:i], "."), part: words[i]}
		rest := words[i+1:]
		leaf := ""
		if n := len(rest); n > 0 && (rest[n-1] == "weight" || rest[n-1] == "bias") {
			leaf, rest = rest[n-1], rest[:n-1]
		}
		linear := k.part == partA || k.part == partB
		switch {
		case len(rest) > 1, linear && leaf == "", leaf == "bias" && k.part != partB:
			return key{}, errUnknownPart
		case leaf == "bias":
			k.part = partBias
		}
		return k, nil
	}
	if slices.ContainsFunc(words, func(w string) bool {
		return strings.HasPrefix(w, "lora_") || w == "original_module" || w == "token_adapter"
	}) {
		return key{}, errUnknownPart
	}
	return parseCopy(words), nil
}

var errUnknownPart = fmt.Errorf("it is of a kind of adapter that is not supported: %s", advice)

// parseCopy takes the name of a whole tensor apart.
func parseCopy(words []string) key {
	k := key{module: strings.Join(words, "."), base: slices.Contains(words, "base_layer")}
	words = slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "base_layer" })
	if i := slices.Index(words, "modules_to_save"); i >= 0 {
		k.saved = true
		if rest := words[i+1:]; len(rest) > 1 { // the adapter's name comes first
			k.copies = append(k.copies, strings.Join(slices.Concat(words[:i], rest[1:]), "."))
		}
		words = slices.Delete(words, i, i+1)
	}
	k.copies = append(k.copies, strings.Join(words, "."))
	return k
}

// sort files an adapter's tensors by module and part.
func (a *Adapter) sort(tensors []safetensors.Tensor) error {
	keys := make([]key, len(tensors))
	bare := make([]string, len(tensors))
	for i, t := range tensors {
		var err error
		if keys[i], err = parseKey(t.Name); err != nil {
			return fmt.Errorf("tensor %s: %w", shown(t.Name), err)
		}
		bare[i] = strings.TrimPrefix(keys[i].module, peftPrefix)
	}
	prefix := layout.CommonPrefix(bare)
	canonical := func(name string) string {
		return layout.Canonical(strings.TrimPrefix(strings.TrimPrefix(name, peftPrefix), prefix))
	}
	for i, t := range tensors {
		k := keys[i]
		if k.part == "" {
			c := copied{tensor: t, saved: k.saved, base: k.base}
			for _, name := range k.copies {
				c.names = append(c.names, canonical(name))
			}
			a.copies = append(a.copies, c)
			continue
		}
		module := canonical(k.module + ".weight")
		u := a.updates[module]
		if u == nil {
			u = &update{module: strings.TrimSuffix(module, ".weight"), path: bare[i], parts: map[string]safetensors.Tensor{}}
			a.updates[module] = u
		}
		if other, twice := u.parts[k.part]; twice {
			return fmt.Errorf("tensors %s and %s are the same part of one module: save one adapter to a file", shown(other.Name), shown(t.Name))
		}
		u.parts[k.part] = t
	}
	return nil
}

// peftPrefix is what PEFT puts before the names of the base's modules.
const peftPrefix = "base_model.model."
