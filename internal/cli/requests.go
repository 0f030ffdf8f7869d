package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"paligemma/internal/quote"
)

// maxRequests bounds a file of requests, in bytes.
const maxRequests = 256 << 20

// requestLine is a line of --requests.
type requestLine struct {
	Image  string   `json:"image"`
	Images []string `json:"images"` // several in one prompt
	Prompt *string  `json:"prompt"`
}

// readRequests reads --requests: an item for each run of lines about the same
// images, so that these are encoded once.
func (a *app) readRequests(ctx context.Context, path string) ([]item, error) {
	shown := source{path: path}.shown()
	a.noteWaiting(path)
	data, err := a.readAll(ctx, path, maxRequests)
	if err != nil {
		return nil, fmt.Errorf("--requests %s: %w", shown, err)
	}
	var items []item
	var last []string
	for number, line := range numberedLines(data) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		images, prompt, err := parseRequest(line)
		if err != nil {
			return nil, dataError{fmt.Errorf("--requests %s, line %d: %w", shown, number, err)}
		}
		if len(items) == 0 || !slices.Equal(images, last) {
			it := item{}
			for _, image := range images {
				it.sources = append(it.sources, requestedImage(image))
			}
			items, last = append(items, it), images
		}
		it := &items[len(items)-1]
		it.prompts, it.lines = append(it.prompts, prompt), append(it.lines, number)
	}
	if len(items) == 0 {
		return nil, dataError{fmt.Errorf("--requests %s holds no requests", shown)}
	}
	return items, nil
}

// requestedImage is the one file that a request names: no folder, pattern or -.
func requestedImage(path string) source {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return source{path: path, err: pathError(path, err)}
	case info.IsDir():
		return source{path: path, err: fmt.Errorf("%s is a folder: a request names the file of one image", path)}
	}
	return source{path: notStdin(path)}
}

// parseRequest reads one line.
func parseRequest(line []byte) (images []string, prompt string, err error) {
	if len(line) > maxLine {
		return nil, "", errLongLine
	}
	var r requestLine
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return nil, "", fmt.Errorf(`want {"image": PATH, "prompt": TEXT}: %w`, quote.Error(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, "", errors.New("want one JSON object a line")
	}
	if r.Prompt == nil {
		return nil, "", errors.New(`"prompt" is missing (it may be "")`)
	}
	if r.Image != "" {
		if len(r.Images) > 0 {
			return nil, "", errors.New(`"image" and "images" exclude each other`)
		}
		return []string{r.Image}, *r.Prompt, nil
	}
	return r.Images, *r.Prompt, nil
}

// readObjects makes the objects in the answers to --requests part of JSON: boxes,
// and masks where they are asked for. As text they stay text.
func (q *request) readObjects(format string) {
	if format == formatText {
		return
	}
	for i := range q.items {
		for _, prompt := range q.items[i].prompts {
			if asksObjects(&q.items[i], prompt) {
				q.objects = &objectOptions{}
				q.masks = q.masks || asksMasks(prompt)
			}
		}
	}
}
