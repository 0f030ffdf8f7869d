package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"paligemma/internal/quote"
	"paligemma/internal/result"
	"paligemma/internal/units"
)

const (
	maxFormParts = 4096 // of a form
	maxAddress   = 8192 // bytes of a picture's address
	maxName      = 255  // bytes of a file's name; longer ones are left out
)

// readTask reads the request of a task: JSON, a form, or a picture with everything else
// in the query. The query may have fields in each case.
func (s *Server) readTask(r *http.Request, e *endpoint) (*taskRequest, error) {
	t := newTaskReader(e)
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, invalid("", "the query is malformed: "+quote.Error(err).Error())
	}
	if err := t.values(query); err != nil {
		return nil, err
	}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil && r.Header.Get("Content-Type") != "" {
		return nil, &apiError{http.StatusUnsupportedMediaType, result.CodeInvalid, "", "the header Content-Type is malformed"}
	}
	switch {
	case kind == "multipart/form-data":
		err = s.readForm(r, t, params["boundary"])
	case strings.HasPrefix(kind, "image/") || kind == "application/octet-stream":
		err = s.readPicture(r, t)
	case kind == "" || kind == "application/json" || kind == "text/json" || kind == "text/plain" || kind == "application/x-www-form-urlencoded":
		err = t.readText(r, kind)
	default:
		err = &apiError{http.StatusUnsupportedMediaType, result.CodeInvalid, "", fmt.Sprintf("a body of type %s is not read: want application/json, multipart/form-data or image/…", quote.Short(kind))}
	}
	if err != nil {
		return nil, err
	}
	return t.in, s.takePictures(r.Context(), t.in)
}

// values reads fields of a query or a form.
func (t *taskReader) values(values url.Values) error {
	for name, all := range values {
		for _, value := range all {
			if err := t.form(name, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// readText reads a body of JSON, or of a form without files: curl -d calls JSON that,
// too.
func (t *taskReader) readText(r *http.Request, kind string) error {
	text, err := bodyText(r)
	if err != nil {
		return err
	}
	start := strings.TrimLeft(text, " \t\r\n")
	switch {
	case start == "":
		return nil // the query may say everything
	case start[0] != '{' && kind == "application/x-www-form-urlencoded":
		values, err := url.ParseQuery(text)
		if err != nil {
			return invalid("", "the form is malformed: "+quote.Error(err).Error())
		}
		return t.values(values)
	}
	return t.object(text)
}

// broken is the error of a body that cannot be read to its end.
func broken(err error) error {
	var guarded *apiError
	var image result.ImageError
	if errors.As(err, &guarded) || errors.As(err, &image) {
		return err
	}
	return invalid("", "the body breaks off: "+quote.Error(err).Error())
}

// readBytes reads a picture.
func (s *Server) readBytes(r io.Reader, size int64) ([]byte, error) {
	data, err := s.fetcher.ReadAll(r, size)
	switch {
	case err != nil:
		return nil, broken(err)
	case len(data) == 0:
		return nil, errEmptyPicture
	}
	return data, nil
}

// errEmptyPicture is the error of a picture without bytes.
var errEmptyPicture = result.ImageError{Err: errors.New("the picture is empty")}

// readPicture reads a body that is a picture.
func (s *Server) readPicture(r *http.Request, t *taskReader) error {
	if _, err := t.find("image"); err != nil {
		return err
	}
	p := picture{param: "image"}
	data, err := s.readBytes(r.Body, r.ContentLength)
	if err != nil {
		return p.failed(err)
	}
	p.data = data
	t.in.pictures = append(t.in.pictures, p)
	return nil
}

// readForm reads a form with files.
func (s *Server) readForm(r *http.Request, t *taskReader, boundary string) error {
	if boundary == "" {
		return invalid("", "the header Content-Type names no boundary: let the client set it")
	}
	parts := multipart.NewReader(r.Body, boundary)
	for range maxFormParts {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return broken(err)
		}
		if err := s.readFormPart(part, t); err != nil {
			return err
		}
	}
	return invalid("", fmt.Sprintf("the form has more than %d parts", maxFormParts))
}

// readFormPart reads a field of a form: a file, or a text.
func (s *Server) readFormPart(part *multipart.Part, t *taskReader) error {
	defer part.Close()
	name, kind := part.FormName(), part.Header.Get("Content-Type")
	isPicture := name == "image" || name == "images"
	if !isPicture || part.FileName() == "" && (kind == "" || strings.HasPrefix(kind, "text/")) {
		most := int64(maxText)
		if isPicture {
			most = s.o.MaxBody // of the whole request
		}
		var text strings.Builder
		n, err := io.Copy(&text, io.LimitReader(part, most+1))
		if err != nil {
			return broken(err)
		}
		if n > most {
			return invalid(name, fmt.Sprintf("%s: a text is longer than %s bytes", quote.Line(name, quote.Max), units.Number(most)))
		}
		return t.form(name, text.String())
	}
	if _, err := t.find(name); err != nil {
		return err
	}
	if err := s.checkCount(len(t.in.pictures) + 1); err != nil {
		return err
	}
	p := picture{param: name}
	if file := part.FileName(); len(file) <= maxName {
		p.name = file
	}
	data, err := s.readBytes(part, 0)
	if err != nil {
		return p.failed(err)
	}
	p.data = data
	t.in.pictures = append(t.in.pictures, p)
	return nil
}

// checkCount makes sure that a request has not too many pictures.
func (s *Server) checkCount(n int) error {
	if most := max(1, s.o.MaxImages); n > most {
		return invalid("images", fmt.Sprintf("more than %d images in a request", most))
	}
	return nil
}

// takePictures makes pictures of the images that a request names. Their number and
// sizes are checked first; addresses are read later, when there is a place for the
// request.
func (s *Server) takePictures(ctx context.Context, in *taskRequest) error {
	if in.has("image") && in.has("images") {
		return invalid("images", "image and images exclude each other")
	}
	if err := s.checkCount(len(in.images) + len(in.pictures)); err != nil {
		return err
	}
	for i, text := range in.images {
		p := picture{param: "image"}
		if in.has("images") {
			p.param = fmt.Sprintf("images[%d]", i)
		}
		in.images[i] = "" // not to hold both
		var err error
		switch scheme, _, found := strings.Cut(text[:min(len(text), 64)], ":"); {
		case !found:
			p.data, err = s.fetcher.Base64(text)
		case strings.EqualFold(scheme, "data"):
			p.data, err = s.fetcher.Read(ctx, text)
		case len(text) > maxAddress:
			err = result.RequestError{Err: fmt.Errorf("an address of %d bytes is longer than %d", len(text), maxAddress)}
		default:
			p.name, p.reference = text, text
		}
		if err == nil && p.reference == "" && len(p.data) == 0 {
			err = errEmptyPicture
		}
		if err != nil {
			return p.failed(err)
		}
		in.pictures = append(in.pictures, p)
	}
	return nil
}
