package hub

import (
	"bytes"
	"context"
	"errors"
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
