package server

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"paligemma/internal/quote"
	"paligemma/internal/strictjson"
	"paligemma/internal/task"
	"paligemma/internal/units"
)

// reader reads a value of JSON, and puts it where it belongs.
type reader func(in *strictjson.Reader) error

// anyLength is the limit of texts that only the limit of the whole request bounds: prompts
// and pictures.
const anyLength = math.MaxInt

// checkLength makes sure that a text has at most most bytes.
func checkLength(s string, most int) error {
	if len(s) > most {
		return fmt.Errorf("a text is longer than %s bytes", units.Number(most))
	}
	return nil
}

// textInto reads a string of at most most bytes. A short one is a copy, so that it does
// not keep the body, which may hold pictures.
func textInto(most int, to func(string) error) reader {
	return func(in *strictjson.Reader) error {
		s, err := in.String()
		if err == nil {
			err = checkLength(s, most)
		}
		if err != nil {
			return err
		}
		if len(s) <= maxText {
			s = strings.Clone(s)
		}
		return to(s)
	}
}

// stringInto reads a string of any length.
func stringInto(to *string) reader {
	return textInto(anyLength, func(s string) error { *to = s; return nil })
}

// listInto reads a list of strings of at most most bytes, each of which element gets, or
// one string, which alone gets.
func listInto(most int, alone, element func(string) error) reader {
	return func(in *strictjson.Reader) error {
		if in.Kind() == strictjson.String {
			return textInto(most, alone)(in)
		}
		next := textInto(most, element)
		return in.List(func() error { return next(in) })
	}
}

// stringsInto reads a list of at most most strings, or one string.
func stringsInto(to *[]string, most int) reader {
	add := func(s string) error {
		if len(*to) == most {
			return fmt.Errorf("want at most %d", most)
		}
		*to = append(*to, s)
		return nil
	}
	read := listInto(anyLength, add, add)
	return func(in *strictjson.Reader) error {
		*to = []string{}
		return read(in)
	}
}

func boolInto(to *bool) reader {
	return func(in *strictjson.Reader) (err error) { *to, err = in.Bool(); return err }
}

func intInto(to *int, low, high int64) reader {
	return func(in *strictjson.Reader) error {
		n, err := in.Int(low, high)
		*to = int(n)
		return err
	}
}

// wholeInto reads a whole number of 32 bits, however it is written.
func wholeInto(to *int) reader {
	return func(in *strictjson.Reader) error {
		var v float64
		if err := floatInto(&v)(in); err != nil {
			return err
		}
		if v != math.Trunc(v) || math.Abs(v) > math.MaxInt32 {
			return fmt.Errorf("%v where an integer of 32 bits is wanted", v)
		}
		*to = int(v)
		return nil
	}
}

func floatInto(to *float64) reader {
	return func(in *strictjson.Reader) error {
		n, err := in.Number()
		if err != nil {
			return err
		}
		if *to, err = n.Float64(); err != nil {
			return fmt.Errorf("%s is beyond a float64", quote.Short(string(n)))
		}
		return nil
	}
}

// boxInto reads [x0, y0, x1, y1], or the text that the flag takes.
func boxInto(to **[4]float64) reader {
	return func(in *strictjson.Reader) error {
		if in.Kind() == strictjson.String {
			return textInto(maxText, func(s string) error { return parseBox(s, to) })(in)
		}
		wrongCount := errors.New("want [x0, y0, x1, y1] in pixels")
		var box [4]float64
		n := 0
		err := in.List(func() error {
			if n == len(box) {
				return wrongCount
			}
			n++
			return floatInto(&box[n-1])(in)
		})
		if err == nil && n < len(box) {
			err = wrongCount
		}
		if err == nil {
			err = task.CheckBox(box)
		}
		*to = &box
		return err
	}
}

// parseBox reads the text that the flag takes.
func parseBox(s string, to **[4]float64) error {
	box, err := task.ParseBox(s)
	*to = &box
	return err
}
