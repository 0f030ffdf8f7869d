package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// step is something that is tried.
type step struct {
	name string
	try  func(p *page) error
}

var steps = []step{
	{"the page loads without foreign assets", tryLoad},
	{"an answer without a picture is a sentence", tryNoPicture},
	{"text is streamed", tryCaption},
	{"boxes are drawn, by keyboard alone", tryBoxes},
	{"masks are drawn where they are", tryMasks},
	{"texts are rated", tryScores},
	{"text of another program is parsed", tryParse},
	{"a part of the picture is chosen with the mouse", tryPart},
	{"a picture is pasted", tryPaste},
	{"a picture is dropped", tryDrop},
	{"what is not a picture is refused", tryNotPicture},
	{"errors of the server stand at their field", tryFieldError},
	{"the curl line gives the same", tryCurl},
	{"a server that wants a key gets it", tryKey},
	{"a server that is gone is a sentence", tryGone},
	{"narrow screens need no sideways scrolling", tryNarrow},
	{"everything has a name for screen readers", tryNames},
}

func tryLoad(p *page) error {
	if err := p.open(); err != nil {
		return err
	}
	foreign, err := p.js(`performance.getEntriesByType('resource').filter((e) => !e.name.startsWith(location.origin)).length`)
	if err == nil && foreign != "0" {
		err = fmt.Errorf("%s foreign assets", foreign)
	}
	return err
}

func tryNoPicture(p *page) error {
	if _, err := p.js(`document.getElementById('ask').click()`); err != nil {
		return err
	}
	return p.shows("error", "Choose a picture first.")
}

func tryCaption(p *page) error {
	if err := p.choose(); err != nil {
		return err
	}
	answer, err := p.ask()
	if err != nil {
		return err
	}
	return p.shows("text", answer["text"].(string))
}

// tryBoxes goes to the task with Tab and the arrows, types, and asks with Ctrl+Enter.
func tryBoxes(p *page) error {
	if _, err := p.js(`document.querySelector('#tasks input:checked').focus()`); err != nil {
		return err
	}
	if err := p.do(
		chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowRight), // Boxes
		chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent("square ; cross ; circle"),
		chromedp.KeyEvent(kb.Enter, chromedp.KeyModifiers(chromedp.ModifierCtrl)),
	); err != nil {
		return err
	}
	answer, err := p.answer()
	if err != nil {
		return err
	}
	objects := answer["objects"].([]any)
	if len(objects) == 0 {
		return errors.New("no objects")
	}
	rows, err := p.js(`document.querySelectorAll('#found tbody tr').length`)
	if err == nil && rows != fmt.Sprint(len(objects)) {
		err = fmt.Errorf("%s rows of %d objects", rows, len(objects))
	}
	if err != nil {
		return err
	}
	for _, o := range objects {
		box := o.(map[string]any)["box"].([]any)
		if err := p.colored(o.(map[string]any)["label"].(string), box[2].(float64), (box[1].(float64)+box[3].(float64))/2); err != nil {
			return err
		}
	}
	return p.until(`document.getElementById('canvas').getAttribute('aria-label').includes('objects')`)
}

// colored makes sure that a point of the canvas has the color of a label.
func (p *page) colored(label string, x, y float64) error {
	want, err := p.js(fmt.Sprintf(`[...document.querySelectorAll('#found tr')].find((r) => r.innerText.startsWith(%q)).querySelector('.swatch').style.backgroundColor.match(/\d+/g)`, label))
	if err != nil {
		return err
	}
	for _, dx := range []float64{0, -1, 1} {
		if got, err := p.pixel(x+dx, y); err != nil || got == want {
			return err
		}
	}
	return fmt.Errorf("the edge of %s at %.0f,%.0f is not %s", label, x, y, want)
}

func tryMasks(p *page) error {
	before, err := p.pixel(205, 130)
	if err != nil {
		return err
	}
	if err := errors.Join(p.task("segment"), p.fill("objects", "cross")); err != nil {
		return err
	}
	if _, err := p.ask(); err != nil {
		return err
	}
	inside, err := p.pixel(205, 130) // in the middle of the cross
	if err != nil {
		return err
	}
	outside, err := p.pixel(20, 20)
	if err != nil {
		return err
	}
	if before == inside {
		return fmt.Errorf("the cross is %s with and without its mask", inside)
	}
	var r, g, b int
	if _, err := fmt.Sscanf(outside, "%d,%d,%d", &r, &g, &b); err != nil || r < 100 || g < 90 {
		return fmt.Errorf("the background is %s", outside)
	}
	return p.shows("found", "Pixels")
}

func tryScores(p *page) error {
	if err := errors.Join(p.task("score"), p.fill("prompt", "what color is the cross?"), p.fill("suffixes", "red\nblue\ngreen")); err != nil {
		return err
	}
	if _, err := p.ask(); err != nil {
		return err
	}
	if err := p.until(`document.querySelectorAll('#found tbody tr').length === 3`); err != nil {
		return err
	}
	return p.shows("found", "red")
}

func tryParse(p *page) error {
	if err := errors.Join(p.task("parse"), p.fill("text", "<loc0256><loc0128><loc0768><loc0896> 猫")); err != nil {
		return err
	}
	if _, err := p.ask(); err != nil {
		return err
	}
	return p.shows("found", "猫")
}

func tryPart(p *page) error {
	if err := p.task("caption"); err != nil {
		return err
	}
	where, err := p.js(`(() => { scrollTo(0, 0); const r = document.getElementById('canvas').getBoundingClientRect(); return [r.left, r.top, r.width, r.height].join(' ') })()`)
	if err != nil {
		return err
	}
	var x, y, w, h float64
	if _, err := fmt.Sscan(where, &x, &y, &w, &h); err != nil {
		return err
	}
	if err := p.do(chromedp.DragAndDropXY(x+w/4, y+h/4, x+w/2, y+h/2, 5)); err != nil {
		return err
	}
	if err := p.until(`/^\d+,\d+,\d+,\d+$/.test(document.getElementById('field-box').value)`); err != nil {
		return err
	}
	answer, err := p.ask()
	if err != nil {
		return err
	}
	if prompt := answer["prompt"].(string); !strings.HasPrefix(prompt, "caption <loc") {
		return fmt.Errorf("the prompt is %q", prompt)
	}
	return nil
}

// transfer is a script that makes what a clipboard or a drag holds: the sample.
const transfer = `const t = new DataTransfer(); t.items.add(new File([await (await fetch('/page/sample.jpg')).blob()], 'given.jpg', {type: 'image/jpeg'}));`

func (p *page) given(event string) error {
	if _, err := p.js(`document.getElementById('clear').click()`); err != nil {
		return err
	}
	if _, err := p.js(`(async () => { ` + transfer + event + ` })()`); err != nil {
		return err
	}
	return p.shows("picture-name", "given.jpg, 472 × 335")
}

func tryPaste(p *page) error {
	return p.given(`dispatchEvent(new ClipboardEvent('paste', {clipboardData: t, bubbles: true}))`)
}

func tryDrop(p *page) error {
	return p.given(`document.getElementById('drop').dispatchEvent(new DragEvent('drop', {dataTransfer: t, bubbles: true, cancelable: true}))`)
}

func tryNotPicture(p *page) error {
	if _, err := p.js(`(() => { const t = new DataTransfer(); t.items.add(new File(['a'], 'a.txt', {type: 'text/plain'})); document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: t, bubbles: true})) })()`); err != nil {
		return err
	}
	return p.shows("error", "That is not a picture.")
}
