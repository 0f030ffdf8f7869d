package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"paligemma/internal/quote"
	"paligemma/internal/strictjson"
	"paligemma/internal/task"
)

// maxRequests bounds a file of requests, in bytes.
const maxRequests = 256 << 20

// requestLine is a line of --requests.
type requestLine struct {
	image  string
	images []string // several in one prompt
	prompt *string  // nil where it is missing
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
	in, err := strictjson.NewReader(string(line))
	if err != nil {
		return nil, "", wrongRequest(err)
	}
	var r requestLine
	if err := r.read(in); err != nil {
		return nil, "", wrongRequest(err)
	}
	if in.End() != nil {
		return nil, "", errors.New("want one JSON object a line")
	}
	if r.prompt == nil {
		return nil, "", errors.New(`"prompt" is missing (it may be "")`)
	}
	if r.image != "" {
		if len(r.images) > 0 {
			return nil, "", errors.New(`"image" and "images" exclude each other`)
		}
		return []string{r.image}, *r.prompt, nil
	}
	return r.images, *r.prompt, nil
}

// wrongRequest says what a line should be.
func wrongRequest(err error) error {
	return fmt.Errorf(`want {"image": PATH, "prompt": TEXT}: %w`, quote.Error(err))
}

// read fills r from an object. null is a field that is missing.
func (r *requestLine) read(in *strictjson.Reader) error {
	return in.Object(func(key string) error {
		if !slices.Contains([]string{"image", "images", "prompt"}, key) {
			return fmt.Errorf("unknown field %s", quote.Short(key))
		}
		if null, err := in.Null(); null || err != nil {
			return err
		}
		if err := r.readField(in, key); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
}

// readField reads the value of a field that requestLine has.
func (r *requestLine) readField(in *strictjson.Reader, key string) (err error) {
	switch key {
	case "image":
		r.image, err = in.String()
	case "images":
		err = in.List(func() error {
			image, err := in.String()
			r.images = append(r.images, image)
			return err
		})
	case "prompt":
		var prompt string
		prompt, err = in.String()
		r.prompt = &prompt
	}
	return err
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
				q.masks = q.masks || task.AsksMasks(prompt)
			}
		}
	}
}
