package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"paligemma/internal/task"
)

// maxRequests bounds a file of requests, in bytes.
const maxRequests = 256 << 20

// request is a line of --requests.
type request struct {
	Image  string   `json:"image"`
	Images []string `json:"images"` // several in one prompt
	Prompt *string  `json:"prompt"`
}

// readRequests reads --requests: a view for each run of lines about the same
// images, so that these are encoded once.
func (a *app) readRequests(ctx context.Context, path string) ([]view, error) {
	shown := path
	if shown == stdinName {
		shown = "standard input"
	}
	data, err := a.readAll(ctx, path, maxRequests)
	if err != nil {
		return nil, fmt.Errorf("--requests %s: %w", shown, err)
	}
	var views []view
	var last []string
	number := 0
	for line := range bytes.Lines(data) {
		number++
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		images, prompt, err := parseRequest(line)
		if err != nil {
			return nil, usageError{fmt.Errorf("--requests %s, line %d: %w", shown, number, err)}
		}
		if len(views) == 0 || !slices.Equal(images, last) {
			v := view{}
			for _, image := range images {
				v.inputs = append(v.inputs, expandImage(image, false)[:1]...)
			}
			views, last = append(views, v), images
		}
		v := &views[len(views)-1]
		v.prompts, v.lines = append(v.prompts, prompt), append(v.lines, number)
	}
	if len(views) == 0 {
		return nil, usageError{fmt.Errorf("--requests %s: there are no requests in it", shown)}
	}
	return views, nil
}

// parseRequest reads one line.
func parseRequest(line []byte) (images []string, prompt string, err error) {
	var r request
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return nil, "", fmt.Errorf(`want {"image": PATH, "prompt": TEXT}: %w`, err)
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

// findsObjects reports whether the answer to a request holds boxes: it is then
// read as that of detect or segment.
func findsObjects(v *view, prompt string) bool {
	return len(v.inputs) == 1 && (strings.HasPrefix(prompt, task.Detect("")) || asksMasks(prompt))
}

func asksMasks(prompt string) bool { return strings.HasPrefix(prompt, task.Segment("")) }

// findingOf is what becomes of the objects in the answers to requests: as JSON
// they have boxes and masks, as text they are text. It is nil if there are none.
func findingOf(views []view, format string) *finding {
	if format == formatText {
		return nil
	}
	var find *finding
	for i := range views {
		for _, prompt := range views[i].prompts {
			if findsObjects(&views[i], prompt) {
				find = cmp.Or(find, &finding{})
				find.segment = find.segment || asksMasks(prompt)
			}
		}
	}
	return find
}
