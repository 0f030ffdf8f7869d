package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRefused: what the hub says no to is one sentence about what to do, and is not
// asked for again.
func TestRefused(t *testing.T) {
	refuse := func(status int, header ...string) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			return true
		}
	}
	for _, tt := range []struct {
		name, token string
		fault       func(w http.ResponseWriter, r *http.Request) bool
		want        string
	}{
		{"gated, no token", "", nil, "google/tiny is gated: accept its license at http://127.0.0.1:PORT/google/tiny, then log in"},
		{"gated, a token without access", "hf_other", nil, "accept its license at http://127.0.0.1:PORT/google/tiny with the account whose token is in HF_TOKEN"},
		{"no such repository", "", refuse(401, "X-Error-Code", "RepoNotFound", "X-Error-Message", "Repository not found"), "no model google/tiny, or it is private"},
		{"401 without a code", "", refuse(401), "no model google/tiny, or it is private"},
		{"404 without a code", "hf_x", refuse(404), "the account whose token is in HF_TOKEN may not see it"},
		{"a bad token", "hf_x", refuse(401, "X-Error-Message", "Invalid credentials in Authorization header"), "does not accept the token in HF_TOKEN"},
		{"no such revision", "", refuse(404, "X-Error-Code", "RevisionNotFound"), `google/tiny has no revision "main"`},
		{"no such file", "", refuse(404, "X-Error-Code", "EntryNotFound"), "google/tiny has no file"},
		{"forbidden", "hf_x", refuse(403, "X-Error-Message", "Your \u202eplan"), "does not give google/tiny to you: Your"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSetup(t)
			s.Gate(id, "hf_right")
			s.client.Token, s.client.TokenFrom = tt.token, "HF_TOKEN"
			s.SetFault(tt.fault)
			err := s.fetch(t.Context())
			var no *RefusedError
			want := strings.ReplaceAll(tt.want, "PORT", s.client.Endpoint.Port())
			if !errors.As(err, &no) || !strings.Contains(err.Error(), want) {
				t.Fatalf("%v, want a refusal with %q", err, want)
			}
			if len(err.Error()) > 500 || strings.ContainsAny(err.Error(), "\u202e\n") {
				t.Errorf("%q", err)
			}
			if n := len(s.Requests()); tt.fault != nil && n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
	t.Run("the right token", func(t *testing.T) {
		s := newSetup(t)
		s.Gate(id, "hf_right")
		s.client.Token = "hf_right"
		if err := s.fetch(t.Context()); err != nil { // the storage refuses whoever sends it a token
			t.Fatal(err)
		}
		s.check(t)
	})
}

// TestToken: the token goes to the hub and to nobody else, whoever sends us there.
func TestToken(t *testing.T) {
	s := newSetup(t)
	s.client.Token = "hf_secret"
	var other *httptest.Server
	got := make(chan string, 100)
	other = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header.Get("Authorization")
		http.Redirect(w, r, s.client.Endpoint.String()+r.URL.Path+"?back=1", http.StatusTemporaryRedirect)
	}))
	t.Cleanup(other.Close)
	back := make(chan string, 100)
	s.SetFault(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/api/") && r.URL.Query().Get("back") == "" {
			http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
			return true
		}
		if strings.HasPrefix(r.URL.Path, "/api/") {
			back <- r.Header.Get("Authorization")
		}
		return false
	})
	if err := s.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := <-got; a != "" {
		t.Errorf("another host got %q", a)
	}
	if a := <-back; a != "Bearer hf_secret" {
		t.Errorf("the hub got %q", a)
	}
}

// TestRedirectWithoutEncryption: from https nothing goes on in the clear.
func TestRedirectWithoutEncryption(t *testing.T) {
	s := newSetup(t)
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
	}))
	t.Cleanup(secure.Close)
	c := testClient(t, secure.URL)
	t.Cleanup(c.Close)
	c.transport.TLSClientConfig = secure.Client().Transport.(*http.Transport).TLSClientConfig
	if _, err := c.Snapshot(t.Context(), id, "main"); err == nil || !strings.Contains(err.Error(), "without encryption") {
		t.Error(err)
	}
	_ = s
}

// TestEscapes: names are parts of an address, whatever is in them.
func TestEscapes(t *testing.T) {
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.URL.EscapedPath()+"?"+r.URL.RawQuery)
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(server.Close)
	c := testClient(t, server.URL+"/a/hub")
	t.Cleanup(c.Close)
	_, err := c.Snapshot(t.Context(), id, "refs/pr/1#%2f")
	s := &Snapshot{ID: id, Revision: "main", Commit: "c"}
	for _, name := range []string{"a b#c%2f.json", "..json"} {
		err = errors.Join(err, c.Fetch(t.Context(), s, []File{{Path: name, Size: 1, SHA256: strings.Repeat("0", 64)}}, t.TempDir(), nil))
	}
	want := []string{
		"/a/hub/api/models/google/tiny/revision/refs%2Fpr%2F1%23%252f?", "/a/hub/google/tiny/resolve/c/a%20b%23c%252f.json?", "/a/hub/google/tiny/resolve/c/..json?",
	}
	if !slices.Equal(got, want) {
		t.Errorf("asked for %q, want %q; %v", got, want, err)
	}
}

// TestUnreachable: nobody is asked six times who is not there.
func TestUnreachable(t *testing.T) {
	c := testClient(t, "http://127.0.0.1:1")
	t.Cleanup(c.Close)
	_, err := c.Snapshot(t.Context(), id, "main")
	var no *RefusedError
	if err == nil || errors.As(err, &no) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Error(err)
	}
}

// TestAnswers: lists that no hub gives are refused.
func TestAnswers(t *testing.T) {
	commit := strings.Repeat("a", 40)
	info := fmt.Sprintf(`{"sha": %q, "safetensors": {"parameters": {"BF16": 7}, "total": 7}, "new": [{"x": null}]}`, commit)
	entry := func(path string, more string) string {
		name, _ := json.Marshal(path)
		return fmt.Sprintf(`[{"type": "file", "path": %s, "oid": %q, "size": 1%s}]`, name, strings.Repeat("0", 40), more)
	}
	for _, tt := range []struct{ name, info, tree, want string }{
		{"sound", info, entry("a.json", ""), ""},
		{"folders", info, `[{"type": "directory", "path": "a", "oid": "x", "size": 0}]`, ""},
		{"no json", "<html>", "", "otherwise than a hub"},
		{"half", info[:40], "", "otherwise than a hub"},
		{"a commit that is none", `{"sha": "../../etc"}`, "", "is not a commit"},
		{"no commit", `{}`, "", "is not a commit"},
		{"a key twice", info[:len(info)-1] + `, "sha": "b"}`, "", "twice"},
		{"deep", info, strings.Repeat("[", 1<<20), "nested"},
		{"a list that is none", info, `{"error": "x"}`, "an object where a list"},
		{"parent", info, entry("../model.safetensors", ""), "leave the folder"},
		{"parent within", info, entry("a/../../b", ""), "leave the folder"},
		{"absolute", info, entry("/etc/passwd", ""), "leave the folder"},
		{"empty", info, entry("", ""), "not a path"},
		{"nul", info, entry("a\x00.json", ""), "control characters"},
		{"size", info, strings.Replace(entry("a", ""), `"size": 1`, `"size": -1`, 1), "-1"},
		{"huge size", info, strings.Replace(entry("a", ""), `"size": 1`, `"size": 1e30`, 1), "1e30"},
		{"no size", info, strings.Replace(entry("a", ""), `"size": 1`, `"sizes": 1`, 1), "size is missing"},
		{"two sizes", info, entry("a", `, "lfs": {"oid": "`+strings.Repeat("1", 64)+`", "size": 2}`), "there twice"},
		{"no hash", info, strings.Replace(entry("a", ""), strings.Repeat("0", 40), "zz", 1), "hash is missing"},
		{"bad lfs hash", info, entry("a", `, "lfs": {"oid": "12", "size": 1}`), "hash is missing"},
		{"too much", info, `["` + strings.Repeat("x", maxAnswer) + `"]`, "more than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				text := tt.tree
				if strings.Contains(r.URL.Path, "/revision/") {
					text = tt.info
				}
				_, _ = w.Write([]byte(text))
			}))
			t.Cleanup(server.Close)
			c := testClient(t, server.URL)
			t.Cleanup(c.Close)
			s, err := c.Snapshot(t.Context(), id, "main")
			if tt.want == "" {
				if err != nil || s.Commit != commit || s.Parameters != 7 {
					t.Errorf("%+v, %v", s, err)
				}
			} else if err == nil || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 500 {
				t.Errorf("%v, want an error with %q", err, tt.want)
			}
		})
	}
}

// TestPages: pages are followed on the hub alone, and not for ever.
func TestPages(t *testing.T) {
	for _, tt := range []struct{ name, next, want string }{
		{"for ever", "/api/models/google/tiny/tree/x?cursor=1", "more than 100 pages"},
		{"elsewhere", "http://127.0.0.2:1/api", "at another place, 127.0.0.2:1"},
		{"a mirror that names the hub", DefaultEndpoint + "/last", ""},
		{"no address", "http://[", "is not an address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case strings.Contains(r.URL.Path, "/revision/"):
					fmt.Fprintf(w, `{"sha": %q}`, strings.Repeat("a", 40))
					return
				case r.URL.Path != "/last":
					w.Header().Set("Link", `<x>; rel="prev", <`+tt.next+`>; rel="next"`)
				}
				fmt.Fprint(w, "[]")
			}))
			t.Cleanup(server.Close)
			c := testClient(t, server.URL)
			t.Cleanup(c.Close)
			if _, err := c.Snapshot(t.Context(), id, "main"); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"model.safetensors", "config.json", "a b.json", "é.json", "..json", "console.json"} {
		if err := CheckFile(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{
		"", ".", "..", "../x", "a/b", "/etc/passwd", `..\x`, `C:\x`, "c:x", "a\x00b", "a\nb", "a\x7f", "\xff", "CON", "con.json", "nul.safetensors", "COM1", "lpt9.json",
		"com¹.json", "aux .json", "a.", "a ", "a*", "a?", `a"`, "a<b", "a|b", strings.Repeat("x", 256),
	} {
		if err := CheckFile(name); err == nil {
			t.Errorf("%q is accepted", name)
		} else if len(err.Error()) > 300 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	}
	for _, id := range []string{"google/paligemma2-3b-mix-224", "a/b", "A_b/c.d-e_f"} {
		if err := CheckID(id); err != nil {
			t.Error(err)
		}
	}
	for _, id := range []string{"", "a", "a/b/c", "a/", "/b", "../b", "a/..", "a/b--c", "a/b..c", "-a/b", "a/b-", "a/.b", "con/b", "a/nul", "a b/c", "a/b\x00", "é/b", "a\\b/c", "a%2f/b", strings.Repeat("a", 90) + "/bcdefgh"} {
		if CheckID(id) == nil {
			t.Errorf("%q is accepted", id)
		}
	}
	for _, revision := range []string{"main", "refs/pr/1", "v1.0", strings.Repeat("a", 40)} {
		if err := CheckRevision(revision); err != nil {
			t.Error(err)
		}
	}
	for _, revision := range []string{"", "..", "a..b", "a b", "a\x00", "/a", "a/", "a:b", `a\b`, "a\xffb", strings.Repeat("a", 201)} {
		if CheckRevision(revision) == nil {
			t.Errorf("%q is accepted", revision)
		}
	}
	twice := []File{{Path: "a.json"}, {Path: "A.json"}}
	if err := checkDistinct(twice); err == nil {
		t.Error("names that differ in case only are accepted")
	}
}

func TestSettings(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write(".cache/huggingface/token", "hf_home\n")
	other := write("other", " hf_other\r\n")
	empty, bad := write("empty", "\n"), write("bad", "hf_a\x01")
	write("hf/token", "hf_in_hf_home")
	for _, tt := range []struct {
		name, env          string
		token, from, cache string
		offline            bool
		endpoint, err      string
	}{
		{"nothing", "", "hf_home", ".cache/huggingface/token", ".cache/huggingface/hub", false, DefaultEndpoint, ""},
		{"token", "HF_TOKEN= hf_a \n", "hf_a", "HF_TOKEN", ".cache/huggingface/hub", false, DefaultEndpoint, ""},
		{"old token", "HUGGING_FACE_HUB_TOKEN=hf_b", "hf_b", "HUGGING_FACE_HUB_TOKEN", ".cache/huggingface/hub", false, DefaultEndpoint, ""},
		{"both", "HUGGING_FACE_HUB_TOKEN=hf_b,HF_TOKEN=hf_a", "hf_a", "HF_TOKEN", ".cache/huggingface/hub", false, DefaultEndpoint, ""},
		{"token path", "HF_TOKEN_PATH=" + other, "hf_other", "other", ".cache/huggingface/hub", false, DefaultEndpoint, ""},
		{"home", "HF_HOME=~/hf", "hf_in_hf_home", "hf/token", "hf/hub", false, DefaultEndpoint, ""},
		{"xdg", "XDG_CACHE_HOME=" + dir + "/none", "", "", "none/huggingface/hub", false, DefaultEndpoint, ""},
		{"cache", "HF_HUB_CACHE=$BASE/c,BASE=" + dir, "hf_home", ".cache/huggingface/token", "c", false, DefaultEndpoint, ""},
		{"old cache", "HUGGINGFACE_HUB_CACHE=" + dir + "/c", "hf_home", ".cache/huggingface/token", "c", false, DefaultEndpoint, ""},
		{"not sent", "HF_HUB_DISABLE_IMPLICIT_TOKEN=1", "", "", ".cache/huggingface/hub", false, DefaultEndpoint, ""},
		{"empty file", "HF_TOKEN_PATH=" + empty, "", "", ".cache/huggingface/hub", false, DefaultEndpoint, ""},
		{"offline", "HF_HUB_OFFLINE=yes", "hf_home", ".cache/huggingface/token", ".cache/huggingface/hub", true, DefaultEndpoint, ""},
		{"endpoint", "HF_ENDPOINT=http://localhost:8080/hub/", "hf_home", ".cache/huggingface/token", ".cache/huggingface/hub", false, "http://localhost:8080/hub", ""},
		{"no home", "HOME=none", "", "", "", false, DefaultEndpoint, ""},
		{"bad endpoint", "HF_ENDPOINT=localhost:8080", "", "", "", false, "", "HF_ENDPOINT"},
		{"endpoint with a password", "HF_ENDPOINT=https://u:p@h", "", "", "", false, "", "HF_ENDPOINT"},
		{"bad token", "HF_TOKEN=hf_é", "", "", "", false, "", "the token in HF_TOKEN is not one"},
		{"bad token file", "HF_TOKEN_PATH=" + bad, "", "", "", false, "", "is not one"},
		{"a folder", "HF_TOKEN_PATH=" + dir, "", "", "", false, "", "is a folder"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := map[string]string{}
			for pair := range strings.SplitSeq(tt.env, ",") {
				name, value, _ := strings.Cut(pair, "=")
				env[name] = value
			}
			home := dir
			if env["HOME"] == "none" {
				home = ""
			}
			s, err := ReadSettings(func(name string) string { return env[name] }, home)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "hf_a\x01") {
					t.Errorf("%v, want an error with %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			from := tt.from
			if strings.Contains(from, "/") || from == "other" {
				from = filepath.Join(dir, from)
			}
			if s.Token != tt.token || s.TokenFrom != from || home != "" && s.Cache != filepath.Join(dir, tt.cache) || home == "" && s.Cache != "" || s.Offline != tt.offline || s.Endpoint.String() != tt.endpoint {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestSpans compares spans with a bitmap.
func TestSpans(t *testing.T) {
	const size = 40
	var s spans
	have := [size]bool{}
	for i := range 500 {
		from := int64((i * 7919) % size)
		to := min(size, from+1+int64(i*31%5))
		var want int64
		for j := from; j < to; j++ {
			if !have[j] {
				want++
			}
			have[j] = true
		}
		if got := s.add(span{from, to}); got != want {
			t.Fatalf("step %d: %d bytes gained, want %d", i, got, want)
		}
		if !s.valid(size) {
			t.Fatalf("step %d: %v", i, s)
		}
		missing := map[int64]bool{}
		for _, m := range s.missing(size, 3) {
			if m.to-m.from > 3 {
				t.Fatalf("a piece of %d", m.to-m.from)
			}
			for j := m.from; j < m.to; j++ {
				missing[j] = true
			}
		}
		for j := range have {
			if have[j] == missing[int64(j)] {
				t.Fatalf("step %d: byte %d is %v and %v", i, j, have[j], missing[int64(j)])
			}
		}
		if s.length() == size {
			s, have = nil, [size]bool{}
		}
	}
}

// TestState: what lies there from an earlier run is used if it can be right, and
// does no harm if it is not.
func TestState(t *testing.T) {
	s := newSetup(t)
	path := filepath.Join(s.dir, "model.safetensors")
	want := s.Entry("model.safetensors", s.files["model.safetensors"])
	state := func(text string) string {
		return strings.NewReplacer("SIZE", fmt.Sprint(want.Size), "SHA", want.LFS.OID).Replace(text)
	}
	half := make([]byte, want.Size)
	copy(half, s.files["model.safetensors"][:3<<20])
	for _, tt := range []struct{ name, state string }{
		{"right", state(`{"size": SIZE, "sha256": "SHA", "blob": "", "etag": "", "have": [[0, 3145728]]}`)},
		{"right, of another tag", state(`{"size": SIZE, "sha256": "SHA", "blob": "", "etag": "\"x\"", "have": [[0, 3145728]]}`)},
		{"says too much", state(`{"size": SIZE, "sha256": "SHA", "blob": "", "etag": "", "have": [[0, SIZE]]}`)},
		{"of another file", state(`{"size": SIZE, "sha256": "0", "blob": "", "etag": "", "have": [[0, 1000]]}`)},
		{"beyond the end", state(`{"size": SIZE, "sha256": "SHA", "blob": "", "etag": "", "have": [[0, 99999999]]}`)},
		{"overlapping", state(`{"size": SIZE, "sha256": "SHA", "blob": "", "etag": "", "have": [[0, 10], [5, 20]]}`)},
		{"backwards", state(`{"size": SIZE, "sha256": "SHA", "blob": "", "etag": "", "have": [[10, 0]]}`)},
		{"triples", state(`{"size": SIZE, "sha256": "SHA", "blob": "", "etag": "", "have": [[0, 1, 2]]}`)},
		{"no json", "\x00"},
		{"empty", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			os.Remove(path)
			for name, data := range map[string][]byte{path + partSuffix: half, path + stateSuffix: []byte(tt.state)} {
				if err := os.WriteFile(name, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			before := len(s.Requests())
			if err := s.fetch(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.check(t)
			asked := strings.Join(slices.DeleteFunc(s.Requests()[before:], func(line string) bool { return !strings.Contains(line, "/storage/") }), "\n")
			if again := strings.Contains(asked, "bytes=0-"); again == (tt.name == "right") {
				t.Errorf("asked:\n%s", asked)
			}
		})
	}
	for _, tt := range []struct {
		name string
		data []byte
	}{{"a wrong file", make([]byte, want.Size)}, {"a short file", []byte("x")}} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(path, tt.data, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := s.fetch(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.check(t)
		})
	}
}

// TestCache: files of the hub's cache are used, if they are sound, and stay.
func TestCache(t *testing.T) {
	s := newSetup(t)
	cache := t.TempDir()
	s.client.Cache = cache
	repository := filepath.Join(cache, "models--google--tiny")
	snapshot := filepath.Join(repository, "snapshots", s.Commit(id))
	for _, dir := range []string{snapshot, filepath.Join(repository, "blobs"), filepath.Join(repository, "refs")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	add := func(name string, data []byte) {
		t.Helper()
		e := s.Entry(name, s.files[name])
		hash := e.OID
		if e.LFS != nil {
			hash = e.LFS.OID
		}
		err := os.WriteFile(filepath.Join(repository, "blobs", hash), data, 0o600)
		os.Remove(filepath.Join(snapshot, name))
		if err = errors.Join(err, os.Symlink("../../blobs/"+hash, filepath.Join(snapshot, name))); err != nil {
			t.Fatal(err)
		}
	}
	add("model.safetensors", s.files["model.safetensors"])
	add("config.json", []byte("[]\n")) // of the right size
	add("empty.json", nil)
	if err := s.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.check(t)
	for _, line := range s.Requests() {
		if strings.Contains(line, "model.safetensors") {
			t.Error(line)
		}
	}
	if data, err := os.ReadFile(filepath.Join(snapshot, "config.json")); err != nil || string(data) != "[]\n" {
		t.Errorf("the cache has %q, %v now", data, err)
	}

	s.client.Offline = true
	before := len(s.Requests())
	var no *RefusedError
	if _, err := s.client.Snapshot(t.Context(), id, "main"); !errors.As(err, &no) {
		t.Errorf("no branch: %v", err)
	}
	if err := os.WriteFile(filepath.Join(repository, "refs", "main"), []byte(s.Commit(id)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.dir = t.TempDir()
	if err := s.fetch(t.Context()); !errors.As(err, &no) { // config.json is not sound
		t.Errorf("an unsound file: %v", err)
	}
	add("config.json", s.files["config.json"])
	if err := s.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.check(t)
	if n := len(s.Requests()) - before; n != 0 {
		t.Errorf("%d requests", n)
	}
}

// TestRedirectBody: the answer that redirects is done with before the next request, though
// it has not ended.
func TestRedirectBody(t *testing.T) {
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/target" {
			select {
			case <-ended:
			case <-time.After(10 * time.Second):
				w.WriteHeader(http.StatusInternalServerError)
			}
			return
		}
		w.Header().Set("Location", "/target")
		w.WriteHeader(http.StatusFound)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(ended)
	}))
	t.Cleanup(server.Close)
	c := testClient(t, server.URL)
	c.Stall = time.Minute
	resp, err := c.get(t.Context(), c.url("file"), nil, asked{}, nil, http.StatusOK)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}
