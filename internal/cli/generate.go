package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"paligemma/internal/task"
)

type generateOptions struct {
	ask      askOptions
	Prompts  []string
	Join     bool
	Requests string
}

func (a *app) generateCommand() *cobra.Command {
	o := &generateOptions{}
	cmd := &cobra.Command{
		Use:        "generate [IMAGE...] --prompt PROMPT",
		SuggestFor: []string{"run", "prompt", "complete"},
		Short:      "Continue any prompt, with or without images",
		Long: `Continue each prompt, as it is, for each image. The text is written as it comes
(with --stop-repeats when it has ended, since its end may be dropped).
With --special an <image> typed in the prompt is where an image goes.

With --requests what is asked of which image comes from a file, a JSON object a
line: {"image": PATH, "prompt": TEXT}, or {"images": [PATH, ...], "prompt": TEXT}
for several in one prompt. Paths start from its folder. A line is answered as soon as
it is written; one that cannot be answered is a failure, and the others follow.
Neighboring lines about the same images are best: an image is then encoded once. In
JSON the answers to detect and segment prompts have boxes and masks.
` + answerHelp + promptHelp,
		Example: `  cat photo.jpg | paligemma generate - --prompt "describe en" -m model.gguf --format json
  paligemma generate before.png after.png --join --prompt "what has changed?" -m model.gguf
  jq -c '{image, prompt}' questions.json | paligemma generate --requests - --format jsonl`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.ask.images = args
			return a.runGenerate(cmd, o)
		},
	}
	askFlags(cmd, &o.ask, task.MaxTokensText)
	cmd.Flags().StringArrayVarP(&o.Prompts, "prompt", "p", nil, "the `PROMPT`, taken as it is; may be repeated")
	o.ask.boxFlag(cmd.Flags(), boxUsage)
	cmd.Flags().StringVar(&o.Requests, "requests", "", "ask what the lines of `FILE` say (- is standard input)")
	cmd.Flags().BoolVar(&o.Join, "join", false, "put all images into one prompt")
	exclude(cmd.Flags(), "requests", "prompt", "join", "box", "files-from", "null")
	exclude(cmd.Flags(), "join", "box")
	o.ask.sampling.repeatFlag(cmd.Flags())
	return cmd
}

func (a *app) runGenerate(cmd *cobra.Command, o *generateOptions) error {
	if err := o.ask.sampling.check(a, cmd.Flags()); err != nil {
		return err
	}
	q, err := a.generateRequest(cmd, o)
	if err != nil {
		return err
	}
	q.stream = true
	return a.execute(cmd.Context(), q)
}

// asIs returns a prompt as it is.
func asIs(prompt string) string { return prompt }

// generateRequest makes the request of the prompts, or of --requests.
func (a *app) generateRequest(cmd *cobra.Command, o *generateOptions) (request, error) {
	if len(o.ask.images) > 0 && !typed(cmd.Flags(), "requests") {
		o.Requests = ""
	}
	if o.Requests == "" {
		if len(o.Prompts) == 0 && !o.ask.batch.given() {
			return request{}, usageError{errors.New("--prompt is missing (it may be \"\")")}
		}
		prompts, err := a.readPrompts(cmd.Context(), o.Prompts, o.ask)
		if err != nil {
			return request{}, err
		}
		q, err := a.newPromptRequest(cmd, prompts, o.ask, o.Join)
		q.wrap = asIs
		return q, err
	}
	return a.requestsRequest(cmd, o)
}

// requestsRequest makes the request of --requests.
func (a *app) requestsRequest(cmd *cobra.Command, o *generateOptions) (request, error) {
	if len(o.ask.images) > 0 || len(o.Prompts) > 0 || o.Join || o.ask.box.given() || o.ask.image.FilesFrom != "" {
		return request{}, usageError{errors.New("--requests says everything: it excludes IMAGE, --files-from, --prompt, --join and --box")}
	}
	q, err := newRequest(cmd.Name(), o.ask)
	if err != nil {
		return q, err
	}
	if o.ask.batch.given() {
		q.batch, q.inputs, q.requests, q.wrap, q.seeded = &o.ask.batch, o.ask, o.Requests, asIs, o.ask.sampling.Seeded
		return q, nil
	}
	q.requests, q.paths = o.Requests, !o.ask.image.NoPath
	if a.common.json() { // else the answers stay text
		q.objects = &objectOptions{}
	}
	return q, a.checkRequests(o.Requests)
}
