package server

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// getPage asks for a page; etag is that of an answer before.
func getPage(t *testing.T, path, etag string) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.TrimSuffix(taskURL(t, ""), "/v1/")+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if etag != "" {
		r.Header.Set("If-None-Match", etag)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, data
}

// The page and what it consists of have their types, and a policy that lets in nothing
// foreign.
func TestPage(t *testing.T) {
	files, err := pageFiles.ReadDir("page")
	if err != nil {
		t.Fatal(err)
	}
	paths := map[string]string{"/": "text/html; charset=utf-8"}
	for _, f := range files {
		ext := f.Name()[strings.LastIndexByte(f.Name(), '.'):]
		paths["/page/"+f.Name()] = pageTypes[ext]
	}
	for path, kind := range paths {
		t.Run(path, func(t *testing.T) {
			resp, data := getPage(t, path, "")
			h := resp.Header
			if resp.StatusCode != http.StatusOK || kind == "" || h.Get("Content-Type") != kind || len(data) == 0 {
				t.Errorf("status %d, type %q, %d bytes", resp.StatusCode, h.Get("Content-Type"), len(data))
			}
			if h.Get("Content-Security-Policy") != pagePolicy || h.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("headers %v", h)
			}
			if resp, data := getPage(t, path, h.Get("ETag")); resp.StatusCode != http.StatusNotModified || len(data) != 0 {
				t.Errorf("again: status %d, %d bytes", resp.StatusCode, len(data))
			}
		})
	}
}

// There is nothing else, and nothing outside of the page.
func TestPageMissing(t *testing.T) {
	for _, path := range []string{"/page/", "/page/no.js", "/page/..%2fserver.go", "/page/%2e%2e/page.go", "/index.html", "/favicon.ico"} {
		t.Run(path, func(t *testing.T) {
			if resp, _ := getPage(t, path, ""); resp.StatusCode != http.StatusNotFound {
				t.Errorf("status %d", resp.StatusCode)
			}
		})
	}
}

// What the page names is there, and nothing of it is foreign or inline.
func TestPageAssets(t *testing.T) {
	_, html := getPage(t, "/", "")
	if regexp.MustCompile(`(?i)<script(?:[^>]*[^>c])?>[^<]|<style|\sstyle=|\son[a-z]+=`).Match(html) {
		t.Error("a script or a style is inline")
	}
	found := 0
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllSubmatch(html, -1) {
		path := string(m[1])
		if path == "/openapi.json" || path == "/health" {
			continue
		}
		found++
		if resp, _ := getPage(t, path, ""); !strings.HasPrefix(path, "/page/") || resp.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d", path, resp.StatusCode)
		}
	}
	_, script := getPage(t, "/page/script.js", "")
	for _, m := range regexp.MustCompile(`from '\./([^']+)'`).FindAllSubmatch(script, -1) {
		found++
		if resp, _ := getPage(t, "/page/"+string(m[1]), ""); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d", m[1], resp.StatusCode)
		}
	}
	if found < 7 {
		t.Errorf("%d assets", found)
	}
}
