package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"paligemma/internal/hub/hubtest"
)

const id = "google/tiny"

// big has several pieces of the smallest size, and the small one is kept in git.
func testFiles() map[string][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	big := make([]byte, 5<<20+123)
	for i := range big {
		big[i] = byte(r.Uint32())
	}
	return map[string][]byte{"config.json": []byte("{}\n"), "model.safetensors": big, "empty.json": {}}
}

// setup is a hub and a storage on another port, and a client of it that is in a hurry.
type setup struct {
	*hubtest.Hub
	client *Client
	dir    string
	files  map[string][]byte
}

// newSetup starts the servers. Whatever was started has to have ended when the test does.
func newSetup(t *testing.T) *setup {
	t.Helper()
	goroutines := runtime.NumGoroutine()
	h := hubtest.New()
	hubServer, storage := httptest.NewServer(h), httptest.NewServer(h)
	h.Storage = storage.URL
	s := &setup{Hub: h, dir: t.TempDir(), files: testFiles()}
	h.Add(id, s.files)
	s.client = testClient(t, hubServer.URL)
	t.Cleanup(func() {
		s.client.Close()
		hubServer.Close()
		storage.Close()
		for wait := 0; runtime.NumGoroutine() > goroutines && wait < 200; wait++ {
			time.Sleep(10 * time.Millisecond)
		}
		if n := runtime.NumGoroutine(); n > goroutines {
			stacks := make([]byte, 1<<20)
			t.Errorf("%d goroutines before, %d after:\n%s", goroutines, n, stacks[:runtime.Stack(stacks, true)])
		}
	})
	return s
}

func testClient(t *testing.T, address string) *Client {
	t.Helper()
	endpoint, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(Settings{Endpoint: endpoint})
	c.Backoff, c.Stall = time.Millisecond, 5*time.Second
	return c
}

// fetch downloads all files.
func (s *setup) fetch(ctx context.Context) error {
	snapshot, err := s.client.Snapshot(ctx, id, "main")
	if err != nil {
		return err
	}
	return s.client.Fetch(ctx, snapshot, snapshot.Files, s.dir, nil)
}

// check holds the folder against the files, and that nothing else is there.
func (s *setup) check(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(s.files) {
		t.Errorf("the folder has %v", entries)
	}
	for name, want := range s.files {
		if got, err := os.ReadFile(filepath.Join(s.dir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(want))
		}
	}
}

func TestFetch(t *testing.T) {
	s := newSetup(t)
	s.PageSize = 1
	if err := s.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.check(t)
	ranges := 0
	for _, line := range s.Requests() {
		if strings.Contains(line, "/storage/") && strings.Contains(line, "bytes=") {
			ranges++
		}
	}
	if ranges < 5 {
		t.Errorf("%d ranges", ranges)
	}
	before := len(s.Requests())
	if err := s.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(s.Requests()) - before; n != 4 { // the commit, three pages and no file
		t.Errorf("again: %d requests", n)
	}
}

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

// TestChangedETag: bytes of two versions of a file are never mixed.
func TestChangedETag(t *testing.T) {
	s := newSetup(t)
	old := bytes.Repeat([]byte("old"), 5<<20/3+100)[:len(s.files["model.safetensors"])]
	early := first(4)
	s.SetFault(func(w http.ResponseWriter, r *http.Request) bool {
		if !isStorage(r) || !early() {
			return false
		}
		w.Header().Set("ETag", `"old"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(old))
		return true
	})
	if err := s.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.check(t)
}

// TestStall: a connection on which nothing comes is given up; one that is slow is not.
func TestStall(t *testing.T) {
	t.Run("stalled", func(t *testing.T) {
		s := newSetup(t)
		s.client.Stall = time.Second
		once := first(1)
		s.SetFault(func(w http.ResponseWriter, r *http.Request) bool {
			if !isStorage(r) || !once() {
				return false
			}
			w.Header().Set("Content-Range", "bytes 0-1048575/5243003")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(s.files["model.safetensors"][:100])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return true
		})
		if err := s.fetch(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.check(t)
	})
	t.Run("stalled for ever", func(t *testing.T) {
		s := newSetup(t)
		s.client.Stall = 20 * time.Millisecond
		s.SetFault(func(w http.ResponseWriter, r *http.Request) bool {
			if isStorage(r) {
				<-r.Context().Done()
			}
			return isStorage(r)
		})
		if err := s.fetch(t.Context()); !errors.Is(err, errStalled) {
			t.Fatal(err)
		}
	})
	t.Run("slow", func(t *testing.T) {
		s := newSetup(t)
		s.client.Stall = 1500 * time.Millisecond
		small := []byte(strings.Repeat("0123456789", 200))
		s.files = map[string][]byte{"slow.json": small}
		s.Add(id, s.files)
		s.SetRate(500) // 4 s, and 20 ms between pieces
		if err := s.fetch(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.check(t)
		if n := strings.Count(strings.Join(s.Requests(), "\n"), "/storage/"); n != 1 {
			t.Errorf("%d requests", n)
		}
	})
}

// TestCancel: an interrupted download goes on where it was.
func TestCancel(t *testing.T) {
	s := newSetup(t)
	ctx, cancel := context.WithCancel(t.Context())
	whole := first(1) // the first piece
	s.SetFault(func(w http.ResponseWriter, r *http.Request) bool {
		if isStorage(r) && !whole() {
			cancel()
		}
		return false
	})
	if err := s.fetch(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	snapshot, err := s.client.Snapshot(t.Context(), id, "main")
	if err != nil {
		t.Fatal(err)
	}
	missing := s.client.Missing(snapshot, snapshot.Files, s.dir)
	if missing == 0 || missing > 4<<20+123 {
		t.Errorf("%d bytes are missing", missing)
	}
	s.SetFault(nil)
	if err := s.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.check(t)
}

func setRange(r *http.Request, from, to int) {
	r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to))
}
