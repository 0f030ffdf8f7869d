package server

import (
	"bufio"
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

// chatAbout is a request about a picture; more are members of its JSON.
func chatAbout(t testing.TB, picture, prompt, more string) string {
	t.Helper()
	if more != "" {
		more = ", " + more
	}
	return `{"messages": [{"role": "user", "content": [{"type": "text", "text": ` + asJSON(prompt) + `},
		{"type": "image_url", "image_url": {"url": "data:image/png;base64,` + imageText(t, picture) + `"}}]}]` + more + `}`
}

// events returns the data of server-sent events.
func events(t testing.TB, stream string) []string {
	t.Helper()
	var out []string
	for _, event := range strings.SplitAfter(stream, "\n\n") {
		data, ok := strings.CutPrefix(event, "data: ")
		if event == "" || event == ": ping\n\n" {
			continue
		}
		if !ok || !strings.HasSuffix(data, "\n\n") || strings.Contains(strings.TrimSuffix(data, "\n\n"), "\n") {
			t.Fatalf("not an event: %q", event)
		}
		out = append(out, strings.TrimSuffix(data, "\n\n"))
	}
	return out
}

// streamedText puts the pieces of a text together, and returns the last one's choice.
func streamedText(t testing.TB, stream string, index int) (text string, last map[string]any) {
	t.Helper()
	all := events(t, stream)
	if all[len(all)-1] != "[DONE]" {
		t.Fatalf("the stream ends with %s", all[len(all)-1])
	}
	for _, data := range all[:len(all)-1] {
		var v map[string]any
		if err := json.Unmarshal([]byte(data), &v); err != nil {
			t.Fatal(err)
		}
		choice, _ := at(v, "choices", 0).(map[string]any)
		if choice == nil || choice["index"] != float64(index) {
			continue
		}
		for _, piece := range []any{at(choice, "delta", "content"), choice["text"]} {
			if piece != nil {
				text += piece.(string)
			}
		}
		last = choice
	}
	return text, last
}

// varying are the parts of an answer that are others each time.
var varying = regexp.MustCompile(`"(id|created|created_at|confidence|[a-z_]*duration)":("[^"]*"|[0-9.e-]+)`)

// regexpIDs are those of them that name an answer and its time.
var regexpIDs = regexp.MustCompile(`"(id|created)":("[^"]*"|[0-9]+)`)

// steady replaces what varies in an answer.
func steady(text string) string { return varying.ReplaceAllString(text, `"$1":_`) }

// readLine reads a line of a stream.
func readLine(t testing.TB, r *bufio.Reader) string {
	t.Helper()
	line, err := r.ReadBytes('\n')
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return string(bytes.TrimSuffix(line, []byte("\n")))
}
