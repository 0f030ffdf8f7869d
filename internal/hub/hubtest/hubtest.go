// Package hubtest is a hub of models in memory, for tests: it answers as the Hugging
// Face Hub does, and misbehaves where a test wants it to.
package hubtest

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Hub is a handler of HTTP requests. Large files are at another address than the
// hub's, as they are in truth: see Storage.
type Hub struct {
	Storage  string // address of a server with this handler, for large files; "": the hub itself
	Large    int    // bytes from which on a file is large
	PageSize int    // files of a page of a list

	mu    sync.Mutex
	rate  int
	fault func(w http.ResponseWriter, r *http.Request) bool
	repos map[string]*repo
	log   []string
}

// repo is a repository with one branch.
type repo struct {
	files  map[string][]byte
	hashes map[string]string // SHA-256 of each file
	commit string
	token  string // "": open to all
}

// New returns a hub without repositories.
func New() *Hub { return &Hub{Large: 1 << 10, PageSize: 1000, repos: map[string]*repo{}} }

// SetFault has a function asked first, which may answer a request in the hub's place:
// it then returns true. nil ends that.
func (h *Hub) SetFault(fault func(w http.ResponseWriter, r *http.Request) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = fault
}

// SetRate bounds each large answer to so many bytes a second; 0 is any.
func (h *Hub) SetRate(rate int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rate = rate
}

// Add adds a repository, or a commit to it.
func (h *Hub) Add(id string, files map[string][]byte) {
	sum, hashes := sha1.New(), map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		hashes[name] = sha(files[name])
		fmt.Fprintf(sum, "%s %s\n", name, hashes[name])
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.repos[id] = &repo{files: files, hashes: hashes, commit: hex.EncodeToString(sum.Sum(nil))}
}

// AddFolder adds the files of a folder as a repository.
func (h *Hub) AddFolder(id, dir string) error {
	files := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type().IsRegular() {
			if files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	h.Add(id, files)
	return nil
}

// Gate makes a repository one whose files only the holder of a token gets.
func (h *Hub) Gate(id, token string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.repos[id].token = token
}

// Commit returns the commit of a repository.
func (h *Hub) Commit(id string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.repos[id].commit
}

// Requests returns the requests so far, as METHOD PATH RANGE.
func (h *Hub) Requests() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.log)
}

// ServeHTTP answers a request.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.log = append(h.log, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+r.Header.Get("Range")))
	fault := h.fault
	h.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	parts := strings.Split(strings.Trim(r.URL.EscapedPath(), "/"), "/")
	for i := range parts {
		parts[i], _ = url.PathUnescape(parts[i])
	}
	switch {
	case parts[0] == "storage" && len(parts) == 2:
		h.serveStorage(w, r, parts[1])
	case parts[0] == "api" && len(parts) >= 4 && parts[1] == "models":
		h.serveAPI(w, r, parts[2]+"/"+parts[3], parts[4:])
	case len(parts) >= 5 && parts[2] == "resolve":
		h.serveFile(w, r, parts[0]+"/"+parts[1], parts[3], strings.Join(parts[4:], "/"))
	default:
		refuse(w, http.StatusNotFound, "", "no such page")
	}
}

// refuse answers as the hub does where it has not what is asked for.
func refuse(w http.ResponseWriter, status int, code, message string) {
	if code != "" {
		w.Header().Set("X-Error-Code", code)
	}
	w.Header().Set("X-Error-Message", message)
	http.Error(w, message, status)
}

// find returns a repository at a revision, or answers that there is none.
func (h *Hub) find(w http.ResponseWriter, id, revision string) *repo {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.repos[id]
	switch {
	case r == nil:
		refuse(w, http.StatusUnauthorized, "RepoNotFound", "Repository not found")
		return nil
	case revision != "main" && revision != r.commit:
		refuse(w, http.StatusNotFound, "RevisionNotFound", "Invalid rev id: "+revision)
		return nil
	}
	return r
}

func (h *Hub) serveAPI(w http.ResponseWriter, req *http.Request, id string, rest []string) {
	revision := "main"
	if len(rest) == 2 {
		revision = rest[1]
	}
	r := h.find(w, id, revision)
	if r == nil {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if len(rest) == 2 && rest[0] == "tree" {
		h.serveTree(w, req, r)
		return
	}
	siblings := []map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(r.files)) {
		siblings = append(siblings, map[string]string{"rfilename": name})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"_id": "0", "id": id, "modelId": id, "sha": r.commit, "private": false, "gated": r.token != "", "disabled": false,
		"tags": []string{"paligemma"}, "siblings": siblings, "downloads": 1, "likes": 0,
	})
}

// Entry is a file in the hub's list.
type Entry struct {
	Type string `json:"type"`
	OID  string `json:"oid"`
	Size int    `json:"size"`
	Path string `json:"path"`
	LFS  *LFS   `json:"lfs,omitempty"`
}

// LFS is what the list has of a large file.
type LFS struct {
	OID         string `json:"oid"`
	Size        int    `json:"size"`
	PointerSize int    `json:"pointerSize"`
}

// Entry returns what the list has of a file.
func (h *Hub) Entry(name string, data []byte) Entry {
	e := Entry{Type: "file", OID: blob(data), Size: len(data), Path: name}
	if h.isLarge(data) {
		pointer := fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n", sha(data), len(data))
		e.OID, e.LFS = blob([]byte(pointer)), &LFS{sha(data), len(data), len(pointer)}
	}
	return e
}

func (h *Hub) isLarge(data []byte) bool { return len(data) >= h.Large }

func sha(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }

func blob(data []byte) string {
	return fmt.Sprintf("%x", sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(data)), data...)))
}

func (h *Hub) serveTree(w http.ResponseWriter, req *http.Request, r *repo) {
	names := slices.Sorted(maps.Keys(r.files))
	start, _ := strconv.Atoi(req.URL.Query().Get("cursor"))
	start = min(max(0, start), len(names))
	end := min(len(names), start+h.PageSize)
	entries := []Entry{}
	for _, name := range names[start:end] {
		entries = append(entries, h.Entry(name, r.files[name]))
	}
	if end < len(names) {
		next := url.URL{Scheme: "http", Host: req.Host, Path: req.URL.Path}
		query := req.URL.Query()
		query.Set("cursor", strconv.Itoa(end))
		next.RawQuery = query.Encode()
		w.Header().Set("Link", "<"+next.String()+`>; rel="next"`)
	}
	_ = json.NewEncoder(w).Encode(entries)
}

func (h *Hub) serveFile(w http.ResponseWriter, req *http.Request, id, revision, name string) {
	r := h.find(w, id, revision)
	if r == nil {
		return
	}
	w.Header().Set("X-Repo-Commit", r.commit)
	data, ok := r.files[name]
	switch {
	case r.token != "" && req.Header.Get("Authorization") != "Bearer "+r.token:
		status := http.StatusForbidden
		if req.Header.Get("Authorization") == "" {
			status = http.StatusUnauthorized
		}
		refuse(w, status, "GatedRepo", "Access to model "+id+" is restricted.")
	case !ok:
		refuse(w, http.StatusNotFound, "EntryNotFound", "Entry not found")
	case h.isLarge(data):
		w.Header().Set("X-Linked-Size", strconv.Itoa(len(data)))
		w.Header().Set("X-Linked-Etag", `"`+r.hashes[name]+`"`)
		http.Redirect(w, req, h.Storage+"/storage/"+r.hashes[name]+"?signature=secret", http.StatusFound)
	default:
		w.Header().Set("ETag", `"`+blob(data)+`"`)
		http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(data))
	}
}

func (h *Hub) serveStorage(w http.ResponseWriter, req *http.Request, hash string) {
	if req.Header.Get("Authorization") != "" {
		refuse(w, http.StatusBadRequest, "", "a token is sent to the storage")
		return
	}
	data := h.stored(hash)
	if data == nil {
		http.NotFound(w, req)
		return
	}
	w.Header().Set("ETag", `"storage-`+hash[:8]+`"`)
	w.Header().Set("Content-Type", "application/octet-stream")
	h.mu.Lock()
	rate := h.rate
	h.mu.Unlock()
	if rate > 0 {
		w = &slow{ResponseWriter: w, rate: rate}
	}
	http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(data))
}

// stored returns a large file by its hash.
func (h *Hub) stored(hash string) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.repos {
		for name, data := range r.files {
			if h.isLarge(data) && r.hashes[name] == hash {
				return data
			}
		}
	}
	return nil
}

// slow is an answer that takes its time.
type slow struct {
	http.ResponseWriter
	rate int // bytes a second
}

// Write writes piece by piece.
func (s *slow) Write(p []byte) (n int, err error) {
	const pieces = 50 // a second
	for n < len(p) && err == nil {
		time.Sleep(time.Second / pieces)
		var k int
		k, err = s.ResponseWriter.Write(p[n:min(len(p), n+max(1, s.rate/pieces))])
		n += k
		s.ResponseWriter.(http.Flusher).Flush()
	}
	return n, err
}
