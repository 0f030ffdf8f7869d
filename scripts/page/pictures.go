package main

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// pictures takes the pictures of the documentation: wide and light, narrow and dark.
func (p *page) pictures(folder string) error {
	for _, shot := range []struct {
		name, scheme  string
		width, height int64
		task          string
		fields        [][2]string
	}{
		{"page.png", "light", 1240, 800, "segment", [][2]string{{"objects", "cross"}}},
		{"page-narrow.png", "dark", 390, 960, "vqa", [][2]string{{"prompt", "what color is the cross?"}}},
	} {
		if err := p.do(chromedp.EmulateViewport(shot.width, shot.height)); err != nil {
			return err
		}
		features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: shot.scheme}}
		if _, err := chromedp.Call[emulation.SetEmulatedMediaParams, cdp.Empty](p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features}); err != nil {
			return err
		}
		if err := p.open(); err != nil {
			return err
		}
		if err := errors.Join(p.choose(), p.task(shot.task)); err != nil {
			return err
		}
		for _, f := range shot.fields {
			if err := p.fill(f[0], f[1]); err != nil {
				return err
			}
		}
		if _, err := p.ask(); err != nil {
			return err
		}
		if _, err := p.js(`(document.querySelectorAll('details').forEach((d) => { d.open = false }), scrollTo(0, 0), document.activeElement.blur())`); err != nil {
			return err
		}
		if _, err := p.js(`document.getElementById('curl').textContent = document.getElementById('curl').textContent.replace(location.host, '127.0.0.1:8080')`); err != nil {
			return err
		}
		time.Sleep(200 * time.Millisecond)
		data, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, shot.name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
