package cli

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"paligemma/internal/task"
)

// What max-tokens is where nobody says.
const (
	maxTokensCaption = 128
	maxTokensOCR     = 512
	maxTokensObjects = 512
)

// askFlags adds the flags that all commands of this file share.
func askFlags(cmd *cobra.Command, q *asking, maxTokens int) {
	q.model.flags(cmd.Flags())
	q.image.flags(cmd.Flags())
	q.sampling.flags(cmd.Flags(), maxTokens)
}

const imageKinds = `
IMAGE is a JPEG, PNG, GIF, WebP, BMP, TIFF or PPM file, - for standard input, a
folder (-r: with the folders in it) or a pattern such as '*.jpg'.`

const imageHelp = imageKinds + ` With more than one, each result is a line: the path, a
tab and the text, in which backslash, newline and carriage return are escaped
as \\, \n and \r.`

const answerHelp = imageHelp + `

With --scores the confidence and a tab come before the text. It is e to the mean
log-probability of the tokens written, the end token included: between 0 and 1.`

// What --box is about.
const boxUsage = "ask about a part of the image, `x0,y0,x1,y1` in pixels: its location tokens go to the end of the prompt"

type captionOptions struct {
	asking
	Lang  string
	Style string
}

func init() { enums["style"] = []string{task.StyleShort, task.StyleCOCO, task.StyleDetailed} }

func (a *app) captionCommand() *cobra.Command {
	o := &captionOptions{}
	cmd := &cobra.Command{
		Use:   "caption IMAGE...",
		Short: "Describe images",
		Long: `Describe each image in a sentence, or with --box a part of it: the prompt is then
"caption <loc…><loc…><loc…><loc…>", without a language.
` + answerHelp,
		Example: `  paligemma caption photo.jpg -m model.gguf
  paligemma caption 'holidays/*.jpg' --lang de --style detailed --format jsonl
  paligemma caption photo.jpg --box 120,40,380,300 --beams 4`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.images = args
			return a.runCaption(cmd, o)
		},
	}
	askFlags(cmd, &o.asking, maxTokensCaption)
	cmd.Flags().StringVar(&o.Lang, "lang", task.DefaultLang, "`CODE` of the caption's language, such as en or de")
	boxFlag(cmd.Flags(), &o.asking, "describe a part of the image, `x0,y0,x1,y1` in pixels, if the checkpoint has learned to")
	cmd.Flags().StringVar(&o.Style, "style", task.StyleCOCO, "`STYLE` of the caption: short, coco or detailed")
	return cmd
}

func (a *app) runCaption(cmd *cobra.Command, o *captionOptions) error {
	if err := o.sampling.check(a, cmd.Flags()); err != nil {
		return err
	}
	prompt, err := task.Caption(o.Lang, o.Style)
	if err != nil {
		return usageError{err}
	}
	if o.box.given() {
		if cmd.Flags().Changed("lang") {
			a.note("--lang does nothing with --box: the prompt for a box names no language")
		}
		prompt, _, _ = strings.Cut(prompt, " ")
	}
	o.task, o.prompts = "caption", []string{prompt}
	return a.ask(cmd.Context(), o.asking)
}

type vqaOptions struct {
	asking
	Questions []string
	Choices   string
	Lang      string
}

func (a *app) vqaCommand() *cobra.Command {
	o := &vqaOptions{}
	cmd := &cobra.Command{
		Use:   "vqa IMAGE... --prompt QUESTION",
		Short: "Answer questions about images",
		Long: `Answer each question about each image. An image is looked at once for all its
questions. With --choices the answer is the one that the model is likeliest to
write, end token included; it writes nothing else.
` + answerHelp,
		Example: `  paligemma vqa photo.jpg --prompt "Where is the cat standing?" -m model.gguf
  paligemma vqa photo.jpg --prompt "Is there a cat?" --choices yes,no -m model.gguf`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.images = args
			return a.runVQA(cmd, o)
		},
	}
	askFlags(cmd, &o.asking, maxTokensCaption)
	cmd.Flags().StringArrayVar(&o.Questions, "prompt", nil, "the `QUESTION`; may be repeated")
	cmd.Flags().StringVar(&o.Choices, "choices", "", "answer with the likeliest of `A,B,…`")
	boxFlag(cmd.Flags(), &o.asking, boxUsage)
	cmd.Flags().StringVar(&o.Lang, "lang", "", "put \"answer `CODE`\" before the question, as some checkpoints want")
	return cmd
}

func (a *app) runVQA(cmd *cobra.Command, o *vqaOptions) error {
	if err := o.sampling.check(a, cmd.Flags()); err != nil {
		return err
	}
	if len(o.Questions) == 0 {
		return usageError{errors.New("--prompt is missing: what is the question?")}
	}
	if o.Lang != "" {
		if err := task.CheckLang(o.Lang); err != nil {
			return usageError{err}
		}
	}
	if cmd.Flags().Changed("choices") {
		if o.sampling.Temperature != 0 || o.sampling.Beams > 1 || o.sampling.LogProbs > 0 {
			return usageError{errors.New("--choices excludes --temperature, --beams and --logprobs: nothing is generated")}
		}
		var err error
		if o.suffixes, err = splitChoices(o.Choices); err != nil {
			return usageError{err}
		}
		o.pick = true
	}
	o.task, o.prompts = "vqa", nil
	for _, question := range o.Questions {
		o.prompts = append(o.prompts, task.VQA(question, o.Lang))
	}
	return a.ask(cmd.Context(), o.asking)
}

func (a *app) ocrCommand() *cobra.Command {
	o := &asking{}
	cmd := &cobra.Command{
		Use:   "ocr IMAGE...",
		Short: "Read the text in images",
		Long:  "Read the text in each image." + "\n" + answerHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.images = args
			return a.runOCR(cmd, o)
		},
	}
	askFlags(cmd, o, maxTokensOCR)
	return cmd
}

func (a *app) runOCR(cmd *cobra.Command, o *asking) error {
	if err := o.sampling.check(a, cmd.Flags()); err != nil {
		return err
	}
	o.task, o.prompts = "ocr", []string{task.OCR()}
	return a.ask(cmd.Context(), *o)
}

type generateOptions struct {
	asking
	Prompts  []string
	Join     bool
	Requests string
}

func (a *app) generateCommand() *cobra.Command {
	o := &generateOptions{}
	cmd := &cobra.Command{
		Use:   "generate [IMAGE...] --prompt PROMPT",
		Short: "Continue any prompt, with or without images",
		Long: `Continue each prompt, as it is, for each image. The text is written as it comes
(with --stop-repeats when it has ended, since its end may be dropped).
With --special an <image> typed in the prompt is where an image goes.

With --requests what is asked of which image comes from a file, a JSON object a
line: {"image": PATH, "prompt": TEXT}, or {"images": [PATH, ...], "prompt": TEXT}
for several in one prompt. Neighbouring lines about the same images are best: an
image is then encoded once. In JSON the answers to detect and segment prompts
have boxes and masks.
` + answerHelp,
		Example: `  cat photo.jpg | paligemma generate - --prompt "describe en" -m model.gguf --format json
  paligemma generate before.png after.png --join --prompt "what has changed?" -m model.gguf
  jq -c '{image, prompt}' questions.json | paligemma generate --requests - --format jsonl`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.images = args
			return a.runGenerate(cmd, o)
		},
	}
	askFlags(cmd, &o.asking, maxTokensCaption)
	cmd.Flags().StringArrayVar(&o.Prompts, "prompt", nil, "the `PROMPT`, taken as it is; may be repeated")
	boxFlag(cmd.Flags(), &o.asking, boxUsage)
	cmd.Flags().StringVar(&o.Requests, "requests", "", "ask what the lines of `FILE` say (- is standard input)")
	cmd.Flags().BoolVar(&o.Join, "join", false, "put all images into one prompt")
	o.sampling.repeatFlag(cmd.Flags())
	return cmd
}

func (a *app) runGenerate(cmd *cobra.Command, o *generateOptions) error {
	if err := o.sampling.check(a, cmd.Flags()); err != nil {
		return err
	}
	if o.Requests != "" {
		if len(o.images) > 0 || len(o.Prompts) > 0 || o.Join || o.box.given() || o.image.FilesFrom != "" {
			return usageError{errors.New("--requests says everything: it excludes IMAGE, --files-from, --prompt, --join and --box")}
		}
	} else if len(o.Prompts) == 0 {
		return usageError{errors.New("--prompt is missing (it may be \"\")")}
	}
	o.task, o.prompts, o.requests = "generate", o.Prompts, o.Requests
	o.join, o.noImage, o.stream = o.Join, true, true
	return a.ask(cmd.Context(), o.asking)
}
