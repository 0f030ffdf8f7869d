package fetch

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"

	"paligemma/internal/quote"
	"paligemma/internal/result"
)

// data decodes what comes after data: in a URI of RFC 2397: a media type with
// parameters, a comma, and bytes as base64 or with percent signs. The type is left
// alone: what a picture is, its bytes say.
func (f *Fetcher) data(uri string) ([]byte, error) {
	head, body, ok := strings.Cut(uri, ",")
	if !ok {
		return nil, refuse("a data: URI has a comma before the bytes: data:image/png;base64,…")
	}
	encoded := false
	if i := strings.LastIndexByte(head, ';'); i >= 0 {
		encoded = strings.EqualFold(strings.TrimSpace(head[i+1:]), "base64")
	}
	if !encoded {
		return f.percent(body)
	}
	if strings.Contains(body, "%") { // as in %3D; what comes out of it is shorter
		decoded, err := url.PathUnescape(body)
		if err != nil {
			return nil, badPercent(err)
		}
		body = decoded
	}
	return f.Base64(body)
}

// percent decodes bytes that are written with percent signs.
func (f *Fetcher) percent(text string) ([]byte, error) {
	if err := f.checkSize(int64(len(text) - 2*strings.Count(text, "%"))); err != nil {
		return nil, err
	}
	data, err := url.PathUnescape(text)
	if err != nil {
		return nil, badPercent(err)
	}
	return []byte(data), nil
}

func badPercent(err error) error {
	return refuse("a data: URI is malformed: %w", quote.Error(err))
}

// space is what may stand between the characters of base64.
const space = " \t\r\n\f"

// Base64 decodes the bytes of a picture, in standard base64 with or without padding,
// white space left out. Their number is checked before.
func (f *Fetcher) Base64(text string) ([]byte, error) {
	if err := f.checkSize(base64Len(text)); err != nil {
		return nil, err
	}
	if strings.ContainsAny(text, space) {
		text = strings.Map(func(r rune) rune {
			if strings.ContainsRune(space, r) {
				return -1
			}
			return r
		}, text)
	}
	text = strings.TrimSuffix(strings.TrimSuffix(text, "="), "=")
	data, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return nil, result.RequestError{Err: fmt.Errorf("the picture is not base64: %w", err)}
	}
	return data, nil
}

// base64Len returns how many bytes base64 stands for.
func base64Len(text string) int64 {
	n := len(text)
	for _, c := range []byte(space + "=") {
		n -= strings.Count(text, string(c))
	}
	return int64(n) * 3 / 4
}
