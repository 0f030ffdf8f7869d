package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"paligemma/internal/quote"
	"paligemma/internal/strictjson"
)

// params are the parameters that an object of JSON may have: what reads the value of
// each. A value that is null is a parameter that is missing.
type params map[string]reader

// bodyText reads the body of a request.
func bodyText(r *http.Request) (string, error) {
	var b strings.Builder
	b.Grow(int(min(max(r.ContentLength, 0), 1<<20)))
	if _, err := io.Copy(&b, r.Body); err != nil {
		return "", broken(err)
	}
	return b.String(), nil
}

// readParams reads a text that is an object. other gets the value of a parameter that is
// not known. Errors name the parameter.
func readParams(text string, known params, other func(name string, value any) error) error {
	in, err := strictjson.NewReader(text)
	if err != nil {
		return notJSON(err)
	}
	if err = readObject(in, "", known, other); err == nil {
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
			return wrong(param, read(in))
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

// laterInto keeps a value of any kind as text, to be read when more is known.
func laterInto(to *string) reader {
	return func(in *strictjson.Reader) (err error) { *to, err = in.Text(in.Skip); return err }
}

// shortInto reads a value of any kind of which only its being there counts.
func shortInto(to *any) reader {
	return func(in *strictjson.Reader) (err error) { *to, err = shortValue(in); return err }
}

// object reads a value that is an object, parameters unknown to it skipped.
func object(path string, known params) reader {
	return func(in *strictjson.Reader) error { return readObject(in, path, known, nil) }
}
