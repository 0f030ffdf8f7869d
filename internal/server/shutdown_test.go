package server

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// howEnded returns how an answer ended: whole, with an error, or in the middle.
func howEnded(path string, status int, body string, err error) string {
	switch {
	case err != nil:
		return "cut: " + err.Error()
	case status != http.StatusOK:
		if status == http.StatusServiceUnavailable && strings.Contains(body, `"error":`) {
			return "error"
		}
		return fmt.Sprintf("%d %s", status, body)
	}
	body = strings.TrimSpace(body)
	last := body[strings.LastIndex(body, "\n")+1:] // an event's data, or a line
	switch {
	case strings.Contains(last, `{"error":`):
		return "error"
	case last == "data: [DONE]", strings.Contains(last, `"done":true`), strings.HasPrefix(last, `data: {"task"`), strings.HasSuffix(path, "?whole") && strings.HasSuffix(last, "}"):
		return "whole"
	}
	return "half of it: " + last
}

// TestShutdownUnderLoad: the answers of all interfaces that are under way when the server
// ends are whole or end with an error, whatever time they have.
func TestShutdownUnderLoad(t *testing.T) {
	for _, c := range []struct {
		name   string
		time   time.Duration
		tokens int
		end    string // that there must be
		never  string
	}{
		{"time enough", time.Hour, 20, "whole", "error"},
		{"no time", time.Millisecond, 400, "error", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := testOptions(tinyModel(t, "pg1-tiny"))
			o.MaxQueue = 100
			r := start(t, o, c.time, nil)
			long := fmt.Sprintf(`"max_tokens": %d, "temperature": 20, "seed": 6`, c.tokens)
			var mu sync.Mutex
			ends := map[string]int{}
			var all sync.WaitGroup
			begun := make(chan bool, 100)
			for i := range 24 {
				path, body := "/v1/chat/completions", user(`"x"`, `, "stream": true, `+long)
				switch i % 4 {
				case 1:
					path, body = "/v1/chat/completions?whole", user(`"x"`, `, `+long)
				case 2:
					path, body = "/api/generate", fmt.Sprintf(`{"prompt": "x", "options": {"num_predict": %d, "temperature": 20, "seed": 6}}`, c.tokens)
				case 3:
					path, body = "/v1/generate", `{"prompt": "x", "stream": true, `+long+`}`
				}
				all.Go(func() {
					resp, err := http.Post(r.url(path), "application/json", strings.NewReader(body))
					if err != nil { // it came too late
						return
					}
					defer resp.Body.Close()
					begun <- true
					data, err := io.ReadAll(resp.Body)
					mu.Lock()
					defer mu.Unlock()
					ends[howEnded(path, resp.StatusCode, string(data), err)]++
				})
			}
			<-begun // one streams, and others wait
			if err := r.end(); err != nil {
				t.Error(err)
			}
			all.Wait()
			for how, n := range ends {
				if how != "whole" && how != "error" || how == c.never {
					t.Errorf("%d answers: %s", n, how)
				}
			}
			if ends[c.end] == 0 {
				t.Errorf("none ended so: %s; %v", c.end, ends)
			}
		})
	}
}
