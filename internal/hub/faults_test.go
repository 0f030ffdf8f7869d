package hub

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"paligemma/internal/hub/hubtest"
)

// A fault is what a server does wrong with files, before it does right again or for ever.
type fault struct {
	name string
	does func(s *setup, w http.ResponseWriter, r *http.Request) bool
	want string // part of the error; "": the files are there in the end
}

// isStorage reports whether a request is for the bytes of a large file.
func isStorage(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/storage/") }

// raw answers with a status, a header and a body whatever the header says of it.
func raw(w http.ResponseWriter, status string, header string, body []byte) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte("HTTP/1.1 " + status + "\r\n" + header + "Connection: close\r\n\r\n"))
	_, _ = conn.Write(body)
}

// first reports whether a fault is among the first n; it counts.
func first(n int) func() bool {
	c := make(chan struct{}, n)
	return func() bool {
		select {
		case c <- struct{}{}:
			return true
		default:
			return false
		}
	}
}

// recorded runs the sound handler and returns what it answers.
func recorded(s *setup, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	sound := *r
	serveSound(s, w, &sound)
	return w
}

// serveSound answers as a hub without faults.
func serveSound(s *setup, w http.ResponseWriter, r *http.Request) {
	h := hubtest.New()
	h.Storage = s.Storage
	h.Add(id, s.files)
	h.ServeHTTP(w, r)
}

func faults() []fault {
	few := first(3)
	status := func(code int, header ...string) func(*setup, http.ResponseWriter, *http.Request) bool {
		twice := first(2)
		return func(_ *setup, w http.ResponseWriter, r *http.Request) bool {
			if !isStorage(r) || !twice() {
				return false
			}
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
			return true
		}
	}
	drop := func(s *setup, w http.ResponseWriter, r *http.Request) bool {
		if !isStorage(r) {
			return false
		}
		a := recorded(s, r)
		body := a.Body.Bytes()
		w.Header().Set("ETag", a.Header().Get("ETag"))
		w.Header().Set("Content-Range", a.Header().Get("Content-Range"))
		w.Header().Set("Content-Length", a.Header().Get("Content-Length"))
		w.WriteHeader(a.Code)
		if len(body) > 1000 {
			_, _ = w.Write(body[:len(body)/2])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(body)
		return true
	}
	return []fault{
		{"drops in the middle of every answer", drop, ""},
		{"drops before the answer", func(_ *setup, w http.ResponseWriter, r *http.Request) bool {
			if few() {
				panic(http.ErrAbortHandler)
			}
			return false
		}, ""},
		{"drops for ever", func(_ *setup, w http.ResponseWriter, r *http.Request) bool {
			if isStorage(r) {
				panic(http.ErrAbortHandler)
			}
			return false
		}, "EOF"},
		{"ignored range", func(s *setup, w http.ResponseWriter, r *http.Request) bool {
			if !isStorage(r) {
				return false
			}
			r.Header.Del("Range")
			serveSound(s, w, r)
			return true
		}, ""},
		{"ignored range, and drops", func(s *setup, w http.ResponseWriter, r *http.Request) bool {
			if !isStorage(r) {
				return false
			}
			r.Header.Del("Range")
			a := recorded(s, r)
			n := 4 << 20
			if few() {
				n = 1<<20 + int(rand.Uint32N(1<<20))
			} else {
				n = a.Body.Len()
			}
			raw(w, "200 OK", "Content-Length: "+a.Header().Get("Content-Length")+"\r\n", a.Body.Bytes()[:n])
			return true
		}, ""},
		{"another range", func(s *setup, w http.ResponseWriter, r *http.Request) bool {
			if !isStorage(r) || r.Header.Get("Range") == "" {
				return false
			}
			r.Header.Set("Range", "bytes=7-1000")
			serveSound(s, w, r)
			return true
		}, ""},
		{"a range of another length", func(s *setup, w http.ResponseWriter, r *http.Request) bool {
			if !isStorage(r) || r.Header.Get("Range") == "" {
				return false
			}
			raw(w, "206 Partial Content", "Content-Range: bytes 0-9/10\r\nContent-Length: 10\r\n", make([]byte, 10))
			return true
		}, "the server has 10 bytes of it"},
		{"a range of no length", func(s *setup, w http.ResponseWriter, r *http.Request) bool {
			if !isStorage(r) || r.Header.Get("Range") == "" {
				return false
			}
			raw(w, "206 Partial Content", "Content-Length: 10\r\n", make([]byte, 10))
			return true
		}, ""},
		{"shorter ranges", func(s *setup, w http.ResponseWriter, r *http.Request) bool {
			var from, to int
			if !isStorage(r) || !scanRange(r, &from, &to) || to-from < 1<<16 {
				return false
			}
			setRange(r, from, from+(to-from)/2)
			serveSound(s, w, r)
			return true
		}, ""},
		{"416", func(s *setup, w http.ResponseWriter, r *http.Request) bool {
			if !isStorage(r) || r.Header.Get("Range") == "" {
				return false
			}
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return true
		}, ""},
		{"429", status(429, "Retry-After", "0"), ""},
		{"500", status(500), ""},
		{"503", status(503, "Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT"), ""},
		{"an address that is too old", status(403), ""},
		{"500 for ever", func(_ *setup, w http.ResponseWriter, r *http.Request) bool {
			if isStorage(r) {
				w.WriteHeader(500)
			}
			return isStorage(r)
		}, "500 Internal Server Error"},
		{"truncated with success", func(s *setup, w http.ResponseWriter, r *http.Request) bool {
			if !isStorage(r) {
				return false
			}
			r.Header.Del("Range")
			body := recorded(s, r).Body.Bytes()
			raw(w, "200 OK", "", body[:len(body)-1])
			return true
		}, "the answer ended early"},
		{"too long with success", func(s *setup, w http.ResponseWriter, r *http.Request) bool {
			if !isStorage(r) {
				return false
			}
			r.Header.Del("Range")
			raw(w, "200 OK", "", append(recorded(s, r).Body.Bytes(), 0))
			return true
		}, "more than the"},
		{"wrong length", func(s *setup, w http.ResponseWriter, r *http.Request) bool {
			if !isStorage(r) {
				return false
			}
			raw(w, "200 OK", "Content-Length: 3\r\n", []byte("abc"))
			return true
		}, "the server has 3 bytes of it"},
		{"one wrong byte at first", func(s *setup, w http.ResponseWriter, r *http.Request) bool {
			if !isStorage(r) || !few() {
				return false
			}
			return flipped(s, w, r)
		}, ""},
		{"one wrong byte for ever", func(s *setup, w http.ResponseWriter, r *http.Request) bool {
			return isStorage(r) && flipped(s, w, r)
		}, "its hash is not the one in the hub's list"},
		{"a wrong byte in a small file", func(s *setup, w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "config.json") {
				return false
			}
			_, _ = w.Write([]byte("[]\n"))
			return true
		}, "its hash is not the one in the hub's list"},
		{"gzip", func(s *setup, w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Encoding", "gzip")
			return false
		}, "encoded as \"gzip\""},
		{"redirects in a circle", func(_ *setup, w http.ResponseWriter, r *http.Request) bool {
			if isStorage(r) {
				w.Header().Set("Location", r.URL.String())
				w.WriteHeader(http.StatusFound)
			}
			return isStorage(r)
		}, "redirects more than 10 times"},
		{"a redirect to nowhere", func(_ *setup, w http.ResponseWriter, r *http.Request) bool {
			if isStorage(r) {
				w.Header().Set("Location", "ftp://example.invalid/")
				w.WriteHeader(http.StatusFound)
			}
			return isStorage(r)
		}, "which is not an address"},
		{"a relative redirect", func(_ *setup, w http.ResponseWriter, r *http.Request) bool {
			if !isStorage(r) || r.URL.Query().Get("again") != "" {
				return false
			}
			w.Header().Set("Location", r.URL.Path+"?again=1")
			w.WriteHeader(http.StatusTemporaryRedirect)
			return true
		}, ""},
		{"another commit", func(_ *setup, w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/resolve/") {
				return false
			}
			w.Header().Set("X-Repo-Commit", "0123")
			w.WriteHeader(http.StatusOK)
			return true
		}, "the hub sends commit"},
		{"another hash", func(_ *setup, w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/model.safetensors") {
				return false
			}
			w.Header().Set("X-Linked-Etag", `"`+strings.Repeat("0", 64)+`"`)
			w.WriteHeader(http.StatusOK)
			return true
		}, "different hashes"},
		{"another size", func(_ *setup, w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/model.safetensors") {
				return false
			}
			w.Header().Set("X-Linked-Size", "4")
			w.WriteHeader(http.StatusOK)
			return true
		}, "the server has 4 bytes of it"},
	}
}

// TestFaults: whatever a server does, the file is the right one or there is an error,
// and the next run with a sound server brings it.
func TestFaults(t *testing.T) {
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			s := newSetup(t)
			s.SetFault(func(w http.ResponseWriter, r *http.Request) bool { return f.does(s, w, r) })
			err := s.fetch(t.Context())
			if f.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				s.check(t)
				return
			}
			if err == nil || !strings.Contains(err.Error(), f.want) || len(err.Error()) > 500 {
				t.Errorf("%v, want an error with %q", err, f.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the signature is shown: %v", err)
			}
			s.SetFault(nil)
			if err := s.fetch(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.check(t)
		})
	}
}

// scanRange reads the Range of a request.
func scanRange(r *http.Request, from, to *int) bool {
	text, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	if !ok {
		return false
	}
	_, err := fmt.Sscanf(text, "%d-%d", from, to)
	return err == nil
}

func setRange(r *http.Request, from, to int) {
	r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to))
}

// flipped answers with a changed byte.
func flipped(s *setup, w http.ResponseWriter, r *http.Request) bool {
	a := recorded(s, r)
	body := bytes.Clone(a.Body.Bytes())
	body[len(body)/2] ^= 1
	for key, values := range a.Header() {
		w.Header()[key] = values
	}
	w.WriteHeader(a.Code)
	_, _ = w.Write(body)
	return true
}
