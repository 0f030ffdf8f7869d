package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"paligemma/internal/quote"
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
		if len(line) > maxLine {
			return nil, usageError{fmt.Errorf("--requests %s, line %d: %w", shown, number, errLongLine)}
		}
		images, prompt, err := parseRequest(line)
		if err != nil {
			return nil, usageError{fmt.Errorf("--requests %s, line %d: %w", shown, number, err)}
		}
		if len(views) == 0 || !slices.Equal(images, last) {
			v := view{}
			for _, image := range images {
				v.inputs = append(v.inputs, requestedImage(image))
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

// requestedImage is the one file that a request names: no folder, pattern or -.
func requestedImage(path string) input {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return input{path, fmt.Errorf("%s: %w", path, cause(err))}
	case info.IsDir():
		return input{path, fmt.Errorf("%s is a folder: a request names the file of one image", path)}
	}
	return input{path: notStdin(path)}
}

// parseRequest reads one line.
func parseRequest(line []byte) (images []string, prompt string, err error) {
	var r request
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

// wants tells whether a result's text is to be read for boxes, and whether masks
// are among what was asked for.
func (q *inquiry) wants(v *view, r Result) (boxes, masks bool) {
	switch {
	case q.find == nil:
		return false, false
	case v.lines != nil:
		return findsObjects(v, *r.Prompt), asksMasks(*r.Prompt)
	}
	return true, q.find.segment
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
