package server

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"

	"paligemma/internal/quote"
	"paligemma/internal/strictjson"
)

// params are the parameters that an object of JSON may have: what reads the value of
// each. A value that is null is a parameter that is missing.
type params map[string]func() error

// bodyText reads the body of a request.
func bodyText(r *http.Request) (string, error) {
	var b strings.Builder
	b.Grow(int(min(max(r.ContentLength, 0), 1<<20)))
	if _, err := io.Copy(&b, r.Body); err != nil {
		return "", broken(err)
	}
	return b.String(), nil
}

// readParams reads a text that is an object. newParams makes its parameters; other gets
// the value of one that is not among them. Errors name the parameter.
func readParams(text string, newParams func(in *strictjson.Reader) params, other func(name string, value any) error) error {
	in, err := strictjson.NewReader(text)
	if err != nil {
		return notJSON(err)
	}
	if err = readObject(in, "", newParams(in), other); err == nil {
		err = in.End()
	}
	return notJSON(err)
}

// notJSON is the error of a text that is not the JSON that is wanted; one that says
// which parameter is wrong stays.
func notJSON(err error) error {
	if known := (*apiError)(nil); err == nil || errors.As(err, &known) {
		return err
	}
	return invalid("", "want an object of JSON: "+quote.Error(err).Error())
}

// Limits of what a request may say without a meaning here.
const (
	maxOthers = 100  // parameters that are not known
	maxOther  = 1000 // bytes of a list or an object whose elements count
)

// long stands for a list or an object of more than maxOther bytes.
type long struct{}

// readObject reads an object in a request, whose parameters are called path and their
// names. other is nil where those that are not among them are skipped.
func readObject(in *strictjson.Reader, path string, known params, other func(name string, value any) error) error {
	others := 0
	return in.Object(func(name string) error {
		param := path + quote.Line(name, quote.Max)
		read, ok := known[name]
		switch {
		case ok:
			if null, err := in.Null(); null || err != nil {
				return err
			}
			return wrong(param, read())
		case others == maxOthers:
			return invalid(param, fmt.Sprintf("more than %d parameters that are not known", maxOthers))
		}
		if others++; other == nil {
			return in.Skip()
		}
		value, err := shortValue(in)
		if err != nil {
			return err
		}
		return wrong(param, other(name, value))
	})
}

// shortValue reads a value of any kind. Of a long list or object no more is kept than
// that it was one.
func shortValue(in *strictjson.Reader) (any, error) {
	text, err := in.Text(in.Skip)
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxOther && (text[0] == '[' || text[0] == '{'):
		return long{}, nil
	}
	return strictjson.Parse(text)
}

// wrong is the error of a parameter, unless it names one already.
func wrong(param string, err error) error {
	if known := (*apiError)(nil); err == nil || errors.As(err, &known) {
		return err
	}
	return invalid(param, param+": "+quote.Error(err).Error())
}

// object reads a value that is an object, parameters unknown to it skipped.
func object(in *strictjson.Reader, path string, known params) func() error {
	return func() error { return readObject(in, path, known, nil) }
}

// readString reads a string of any length, a prompt or a picture.
func readString(in *strictjson.Reader) (string, error) { return readText(in, math.MaxInt) }

func stringInto(in *strictjson.Reader, to *string) func() error {
	return func() (err error) { *to, err = readString(in); return err }
}

func boolInto(in *strictjson.Reader, to *bool) func() error {
	return func() (err error) { *to, err = in.Bool(); return err }
}

func intInto(in *strictjson.Reader, to *int, low, high int64) func() error {
	return func() error {
		n, err := in.Int(low, high)
		*to = int(n)
		return err
	}
}

func floatInto(in *strictjson.Reader, to *float64) func() error {
	return func() error {
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

// stringsInto reads a list of at most most strings, or one string.
func stringsInto(in *strictjson.Reader, to *[]string, most int) func() error {
	return func() error {
		*to = []string{}
		add := func() error {
			s, err := readString(in)
			if *to = append(*to, s); err == nil && len(*to) > most {
				err = fmt.Errorf("want at most %d", most)
			}
			return err
		}
		if in.Kind() == strictjson.String {
			return add()
		}
		return in.List(add)
	}
}

// boxInto reads [x0, y0, x1, y1].
func boxInto(in *strictjson.Reader, to **[4]float64) func() error {
	return func() error {
		var box [4]float64
		n := 0
		err := in.List(func() error {
			var v float64
			err := floatInto(in, &v)()
			if n < len(box) {
				box[n] = v
			}
			n++
			return err
		})
		if err != nil {
			return err
		}
		if n != len(box) || box[0] < 0 || box[1] < 0 || box[2] <= box[0] || box[3] <= box[1] || math.IsInf(box[2]+box[3], 0) {
			return errors.New("want [x0, y0, x1, y1] in pixels, 0 ≤ x0 < x1 and 0 ≤ y0 < y1")
		}
		*to = &box
		return nil
	}
}
