package task

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"paligemma/internal/quote"
)

// Styles of Caption and the words PaliGemma was trained with.
const (
	StyleShort    = "short"    // cap: a few words
	StyleCOCO     = "coco"     // caption: one sentence, as in COCO
	StyleDetailed = "detailed" // describe: a longer description
)

// How many tokens a text has at most where nobody says so.
const (
	MaxTokensText    = 128 // a caption, an answer
	MaxTokensOCR     = 512
	MaxTokensObjects = 512
)

// DefaultLang is the language of a caption when none is asked for.
const DefaultLang = "en"

// Caption returns the prompt for a caption in a language (a code such as "en"
// or "de"; "" means DefaultLang) and a style ("" means StyleCOCO). It fails on
// an unknown style and on a language that is not a code.
func Caption(lang, style string) (string, error) {
	if lang == "" {
		lang = DefaultLang
	}
	if err := CheckLang(lang); err != nil {
		return "", err
	}
	switch style {
	case StyleShort:
		return "cap " + lang, nil
	case StyleCOCO, "":
		return "caption " + lang, nil
	case StyleDetailed:
		return "describe " + lang, nil
	}
	return "", fmt.Errorf("unknown caption style %s: use %s, %s or %s", quote.Short(style), StyleShort, StyleCOCO, StyleDetailed)
}

// CheckLang reports whether lang can be the code of a language: 1 to 16 letters,
// digits, '-' or '_'. Which languages a checkpoint knows is the checkpoint's affair.
func CheckLang(lang string) error {
	ok := len(lang) >= 1 && len(lang) <= 16
	for i := 0; ok && i < len(lang); i++ {
		c := lang[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
	}
	if !ok {
		return fmt.Errorf("language %s is not a code such as en or de", quote.Short(lang))
	}
	return nil
}

// VQA returns the prompt that asks question: the question as it is, or
// "answer LANG QUESTION" when lang is given, as the checkpoints want that were
// trained on several languages (see CheckLang for what lang may be).
func VQA(question, lang string) string {
	if lang == "" {
		return question
	}
	return "answer " + lang + " " + question
}

// Detect returns the prompt that asks for boxes of objects, several of them
// joined by " ; " ("cat ; dog").
func Detect(objects string) string { return "detect " + objects }

// Segment returns the prompt that asks for boxes and masks of object.
func Segment(object string) string { return "segment " + object }

// AsksBoxes reports whether a prompt is one of Detect's.
func AsksBoxes(prompt string) bool { return strings.HasPrefix(prompt, Detect("")) }

// AsksMasks reports whether a prompt is one of Segment's.
func AsksMasks(prompt string) bool { return strings.HasPrefix(prompt, Segment("")) }

// OCR returns the prompt that asks for the text in the image.
func OCR() string { return "ocr" }

// CheckBox finds what is wrong with a box [x0, y0, x1, y1] that a prompt is to be about.
func CheckBox(box [4]float64) error {
	finite := !math.IsInf(box[2], 0) && !math.IsInf(box[3], 0)
	if box[0] >= 0 && box[1] >= 0 && box[2] > box[0] && box[3] > box[1] && finite { // false for NaN
		return nil
	}
	return errors.New("want 0 ≤ x0 < x1 and 0 ≤ y0 < y1")
}

// CheckInside finds a box that leaves an image W wide and H high, in pixels.
func CheckInside(box [4]float64, W, H int) error {
	if Inside(box, W, H) {
		return nil
	}
	return fmt.Errorf("the box %v leaves the image, which is %d×%d pixels", box, W, H)
}

// Inside reports whether a box ends in an image W wide and H high, in pixels.
func Inside(box [4]float64, W, H int) bool { return box[2] <= float64(W) && box[3] <= float64(H) }

// Ground appends a box in an image W wide and H high to a prompt, as location tokens:
// "caption" becomes "caption <loc…><loc…><loc…><loc…>".
func Ground(prompt string, box [4]float64, W, H int) string {
	if prompt != "" && !strings.HasSuffix(prompt, " ") {
		prompt += " "
	}
	return prompt + BoxTokens(box, W, H)
}

// BoxTokens writes a box [x0, y0, x1, y1], in pixels of an image W wide and H
// high, as the four location tokens of a grounded prompt, in the model's order:
// y0 x0 y1 x1, each <locNNNN> = round(1023·coordinate/size), ties to even as
// tf.round has it (big_vision: pp/proj/paligemma/segmentation.py), clamped to
// 0..1023. A NaN, and any coordinate of an image without pixels, gives 0.
func BoxTokens(box [4]float64, W, H int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<loc%04d>", locBin(box[1], H))
	fmt.Fprintf(&b, "<loc%04d>", locBin(box[0], W))
	fmt.Fprintf(&b, "<loc%04d>", locBin(box[3], H))
	fmt.Fprintf(&b, "<loc%04d>", locBin(box[2], W))
	return b.String()
}

// locBin is the bin, 0..1023, of coordinate v on a side of size pixels.
func locBin(v float64, size int) int {
	if size <= 0 {
		return 0
	}
	v = math.RoundToEven(v / float64(size) * maxLoc)
	switch {
	case v >= maxLoc:
		return maxLoc
	case v > 0: // false for NaN
		return int(v)
	}
	return 0
}

// maxLoc is the largest <locNNNN> value; it stands for the far edge of the image.
const maxLoc = 1023
