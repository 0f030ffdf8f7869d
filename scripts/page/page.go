package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/chromedp"
)

// page is the page in a browser.
type page struct {
	ctx     context.Context
	address string
	picture string

	mu    sync.Mutex
	wrong error // what the console said
}

// complaints returns what the console said, and forgets it.
func (p *page) complaints() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.wrong
	p.wrong = nil
	return err
}

// watch collects what the console says: errors of scripts, and of the policy.
func (p *page) watch() {
	for message, err := range chromedp.Console(p.ctx) {
		if err != nil {
			return
		}
		if message.Type == "error" || message.IsException() {
			// Answers with an error status are shown as sentences, and logged by the browser.
			if !strings.Contains(message.Text, "Failed to load resource") {
				p.mu.Lock()
				p.wrong = errors.Join(p.wrong, errors.New(message.String()))
				p.mu.Unlock()
			}
		}
	}
}

// do runs actions, with a limit.
func (p *page) do(actions ...chromedp.Action[chromedp.Void]) error {
	ctx, cancel := context.WithTimeout(p.ctx, time.Minute)
	defer cancel()
	return chromedp.Do(ctx, actions...)
}

// js runs a script and returns its text.
func (p *page) js(script string) (string, error) {
	ctx, cancel := context.WithTimeout(p.ctx, time.Minute)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[string](`String(`+script+`)`))
}

// until waits until a condition of a script holds.
func (p *page) until(condition string) error {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if got, err := p.js(condition); err != nil || got == "true" {
			return err
		}
	}
	shown, _ := p.js(`document.querySelector('.answer').innerText`)
	return fmt.Errorf("it never holds that %s; the answer is %q", condition, shown)
}

// open loads the page anew.
func (p *page) open() error {
	if err := p.do(chromedp.Navigate(p.address + "/")); err != nil {
		return err
	}
	return p.until(`document.querySelectorAll('#tasks input').length > 5`)
}

// choose gives the page the picture, as the dialog does.
func (p *page) choose() error {
	if err := p.do(chromedp.SetUploadFiles(chromedp.CSS("#file"), []string{p.picture})); err != nil {
		return err
	}
	return p.until(`!document.getElementById('canvas').hidden`)
}

// task chooses a task, as a click does.
func (p *page) task(name string) error {
	_, err := p.js(fmt.Sprintf(`document.querySelector('#tasks input[value=%s]').click()`, name))
	return err
}

// fill types into a field.
func (p *page) fill(name, text string) error {
	id := "#field-" + name
	if _, err := p.js(fmt.Sprintf(`(document.querySelector(%q).closest('details')?.setAttribute('open', ''), document.querySelector(%q).value = '')`, id, id)); err != nil {
		return err
	}
	return p.do(chromedp.SendKeys(chromedp.CSS(id), text))
}

// ask asks, and waits for the answer.
func (p *page) ask() (map[string]any, error) {
	if _, err := p.js(`document.getElementById('ask').click()`); err != nil {
		return nil, err
	}
	return p.answer()
}

// answer waits for the answer, and returns its JSON.
func (p *page) answer() (map[string]any, error) {
	if err := p.until(`!document.getElementById('ask').disabled && !document.getElementById('raw').hidden`); err != nil {
		return nil, err
	}
	text, err := p.js(`document.getElementById('json').textContent`)
	if err != nil {
		return nil, err
	}
	var answer map[string]any
	return answer, json.Unmarshal([]byte(text), &answer)
}

// shows waits until an element shows a text.
func (p *page) shows(id, text string) error {
	if err := p.until(fmt.Sprintf(`document.getElementById(%q).innerText.includes(%q)`, id, text)); err != nil {
		got, _ := p.js(fmt.Sprintf(`document.getElementById(%q).innerText`, id))
		return fmt.Errorf("%s is %q, want %q", id, got, text)
	}
	return nil
}

// pixel returns the color of the canvas at a point of the picture, as "r,g,b".
func (p *page) pixel(x, y float64) (string, error) {
	return p.js(fmt.Sprintf(`(() => { const c = document.getElementById('canvas'), k = c.width / %d; return [...c.getContext('2d').getImageData(%g * k, %g * k, 1, 1).data.slice(0, 3)] })()`, pictureWidth, x, y))
}

// pictureWidth is that of testdata/scenes/shapes.jpg.
const pictureWidth = 472
