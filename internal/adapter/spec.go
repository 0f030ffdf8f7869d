package adapter

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"paligemma/internal/folder"
	"paligemma/internal/quote"
)

// Spec is what --lora names: an adapter and how much of it.
type Spec struct {
	Path  string
	Scale float64 // 1 where it is not said
}

// ParseSpec reads PATH or PATH:SCALE. A path that exists counts as a whole, colons
// in it or not.
func ParseSpec(s string) (Spec, error) {
	if s == "" {
		return Spec{}, errors.New("the path is empty: want PATH or PATH:SCALE")
	}
	at := strings.LastIndexByte(s, ':')
	if at < 1 || folder.Exists(s) {
		return Spec{s, 1}, nil
	}
	scale, err := ParseScale(s[at+1:])
	switch {
	case err == nil:
		return Spec{s[:at], scale}, nil
	case errors.Is(err, strconv.ErrRange) || folder.Exists(s[:at]):
		return Spec{}, fmt.Errorf("%s: the scale %s is not a number in range: want PATH:SCALE, such as %s:0.5", quote.Short(s), quote.Short(s[at+1:]), quote.Line(s[:at], quote.Max))
	}
	return Spec{s, 1}, nil // Open says that there is no such file
}

// ParseScale reads a scale. NaN, and what a float32 does not hold, is [strconv.ErrRange].
func ParseScale(s string) (float64, error) {
	scale, err := strconv.ParseFloat(s, 64)
	if err == nil && (math.IsNaN(scale) || math.Abs(scale) > math.MaxFloat32) {
		err = strconv.ErrRange
	}
	return scale, err
}

// Loaded is an open adapter and how much of it counts.
type Loaded struct {
	*Adapter
	Scale float64
}

// OpenAll opens adapters, all or none.
func OpenAll(specs []Spec) ([]Loaded, error) {
	var all []Loaded
	for _, s := range specs {
		a, err := Open(s.Path)
		if err != nil {
			CloseAll(all)
			return nil, err
		}
		all = append(all, Loaded{a, s.Scale})
	}
	return all, nil
}

// CloseAll closes adapters.
func CloseAll(all []Loaded) {
	for _, l := range all {
		l.Close()
	}
}
