package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
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
