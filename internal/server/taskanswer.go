package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"paligemma/internal/draw"
	"paligemma/internal/drawing"
	"paligemma/internal/engine"
	"paligemma/internal/result"
)

// The forms of a task's answer, besides JSON.
const (
	formEvents = "text/event-stream"
	formPNG    = "image/png"
	formJPEG   = "image/jpeg"
)

// task answers a request of a task.
func (s *Server) task(w http.ResponseWriter, r *http.Request, e *endpoint) {
	in, err := s.readTask(r, e)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	c, err := s.newCall(e, in)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	form, err := wantedForm(r.Header.Values("Accept"), e, in)
	switch {
	case err != nil:
		s.fail(w, r, err)
	case form == formEvents:
		s.streamTask(w, r, c)
	case form == formPNG:
		s.drawTask(w, r, c, draw.PNG)
	case form == formJPEG:
		s.drawTask(w, r, c, draw.JPEG)
	default:
		res, err := s.answerTask(r.Context(), c)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		s.reply(w, r, http.StatusOK, res)
	}
}

// wantedForm returns the form of the answer that a request wants: the first of the
// header Accept that there is.
func wantedForm(accept []string, e *endpoint, in *taskRequest) (string, error) {
	if in.stream {
		return formEvents, nil
	}
	refuse := func(message string) (string, error) {
		return "", &apiError{http.StatusNotAcceptable, result.CodeInvalid, "", message}
	}
	for want := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		switch kind, _, _ := strings.Cut(want, ";"); strings.ToLower(strings.TrimSpace(kind)) {
		case "*/*", "application/*", "application/json", "text/json":
			return "", nil
		case formEvents:
			if e.maxTokens == 0 {
				return refuse(e.name + " writes no text that could be streamed: want application/json")
			}
			return formEvents, nil
		case formPNG, formJPEG, "image/*":
			switch {
			case !e.draws:
				return refuse(e.name + " draws nothing: want application/json")
			case len(in.pictures) == 0:
				return "", invalid("image", "a drawing needs the image: what is to be drawn on?")
			case strings.Contains(strings.ToLower(kind), "jpeg"):
				return formJPEG, nil
			}
			return formPNG, nil
		}
	}
	return "", nil
}

// answerTask answers a call as the command does: with the names of the pictures.
func (s *Server) answerTask(ctx context.Context, c *call) (result.Result, error) {
	names := make([]string, len(c.pictures))
	for i := range c.pictures {
		p := &c.pictures[i]
		if names[i] = p.name; p.name == "" {
			p.name = p.param
		}
	}
	res, err := s.answerOrRead(ctx, c)
	switch {
	case len(names) == 1:
		res.Image = names[0]
	case len(names) > 1:
		for i := range c.pictures {
			res.Images = append(res.Images, c.pictures[i].name)
		}
	}
	return res, err
}

// answerOrRead answers a call. Text that was written before needs no model, unless there
// are masks in it, or its picture is to be read.
func (s *Server) answerOrRead(ctx context.Context, c *call) (res result.Result, err error) {
	written := c.question.Written
	if written == nil {
		return s.answer(ctx, c)
	}
	if len(c.pictures) == 0 && !strings.Contains(*written, "<seg") {
		res.Task = c.task
		err = c.question.Answer(ctx, nil, &res)
	} else {
		res, err = s.answer(ctx, c)
	}
	res.Model = "" // which no model wrote
	return res, err
}

// delta is a piece of text of a stream.
type delta struct {
	Delta string `json:"delta"`
}

// streamTask answers with events: the text as it comes, and what would be the answer.
func (s *Server) streamTask(w http.ResponseWriter, r *http.Request, c *call) {
	live, ctx := s.newLiveAnswer(w, r, formEvents, []byte(": ping\n\n"))
	defer live.close()
	event := func(kind string, body any) error {
		data, err := result.Marshal(body)
		if err != nil {
			return err
		}
		return live.write(fmt.Appendf(nil, "event: %s\ndata: %s\n\n", kind, data))
	}
	sent := 0
	send := func(text string) error {
		if sent += len(text); text == "" {
			return nil
		}
		return event("delta", delta{text})
	}
	if !c.question.Request.StopRepeats { // which takes back what it has written
		c.text = send
	}
	res, err := s.answerTask(ctx, c)
	if err == nil && sent > 0 && res.Text != nil && len(*res.Text) > sent {
		err = send((*res.Text)[sent:]) // the bytes of a character that stayed incomplete
	}
	switch {
	case err == nil:
		_ = event("result", res)
	case live.withdraw():
		s.fail(w, r, err)
	default:
		_, body := newErrorBody(err)
		_ = event("error", body)
	}
}

// legendHeader is the header that says what the numbers in a drawing stand for.
const legendHeader = "Paligemma-Legend"

// maxLegend bounds it, in bytes.
const maxLegend = 4096

// canvas is what a call's objects are drawn on, once they are found.
type canvas struct {
	server  *Server
	call    *call
	ctx     context.Context
	drawing *drawing.Drawing // nil: not begun
	legend  []draw.LegendEntry
}

// begin decodes the picture, when there is a place for it.
func (d *canvas) begin() (err error) {
	if d.drawing != nil {
		return nil
	}
	select {
	case d.server.canvases <- struct{}{}:
	case <-d.ctx.Done():
		return d.ctx.Err()
	}
	defer func() {
		if d.drawing == nil {
			<-d.server.canvases
		}
	}()
	d.drawing, err = d.decode()
	return err
}

// decode decodes the picture, when a decoder is free.
func (d *canvas) decode() (*drawing.Drawing, error) {
	decoders := d.server.models.decoders
	if err := decoders.Take(d.ctx); err != nil {
		return nil, err
	}
	defer decoders.Give()
	p := &d.call.pictures[0]
	drawn, err := drawing.New(p.data, d.server.o.Limits)
	if err != nil {
		return nil, p.failed(result.ImageError{Err: err})
	}
	return drawn, nil
}

// end gives the place back.
func (d *canvas) end() {
	if d.drawing != nil {
		d.drawing = nil
		<-d.server.canvases
	}
}

// mask draws a mask.
func (d *canvas) mask(found *engine.Objects, i int, pixels []byte) error {
	if err := d.begin(); err != nil {
		return err
	}
	return d.drawing.Mask(found, i, pixels)
}

// objects draws boxes and labels.
func (d *canvas) objects(found *engine.Objects) (err error) {
	if err := d.begin(); err != nil {
		return err
	}
	d.legend, err = d.drawing.Objects(found)
	return err
}

// drawTask answers with the picture, and on it what was found.
func (s *Server) drawTask(w http.ResponseWriter, r *http.Request, c *call, format draw.Format) {
	picture, legend, err := s.drawn(r.Context(), c, format)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if legend != "" {
		w.Header().Set(legendHeader, legend)
	}
	w.Header().Set("Content-Type", "image/"+string(format))
	s.writeBody(w, http.StatusOK, picture)
}

// drawn returns the drawing of a call, and its legend.
func (s *Server) drawn(ctx context.Context, c *call, format draw.Format) (picture []byte, legend string, err error) {
	c.keep = true
	d := &canvas{server: s, call: c, ctx: ctx}
	defer d.end()
	c.question.OnMask, c.question.OnObjects = d.mask, d.objects
	if _, err := s.answerTask(ctx, c); err != nil {
		return nil, "", err
	}
	var b bytes.Buffer
	if err := draw.Encode(&b, d.drawing.Image, format); err != nil {
		return nil, "", err
	}
	return b.Bytes(), legendOf(d.legend), nil
}

// legendOf returns a legend as an object of JSON in ASCII, as headers want it; what does
// not fit is left out.
func legendOf(entries []draw.LegendEntry) string {
	legend, size := map[string]string{}, 0
	for _, e := range entries {
		if size += 6*len(e.Label) + 10; size > maxLegend {
			break
		}
		legend[strconv.Itoa(e.Number)] = e.Label
	}
	data, err := json.Marshal(legend)
	if err != nil || len(legend) == 0 {
		return ""
	}
	var b strings.Builder
	for _, r := range string(data) {
		if r < utf8.RuneSelf {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}
