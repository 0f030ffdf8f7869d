package cli

import (
	"cmp"
	"context"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"paligemma/internal/result"
	"paligemma/internal/task"
)

// askOptions are the arguments and flags of the commands that ask a model about
// images. Not every command has all of them.
type askOptions struct {
	images   []string
	image    imageOptions
	model    modelOptions
	sampling samplingOptions
	box      box
	batch    batchOptions
}

// askFlags adds the flags that these commands share.
func askFlags(cmd *cobra.Command, o *askOptions, maxTokens int) {
	o.model.flags(cmd.Flags())
	o.image.flags(cmd.Flags())
	o.image.streamFlag(cmd.Flags())
	o.image.pathFlags(cmd.Flags())
	o.sampling.flags(cmd.Flags(), maxTokens)
	o.batch.flags(cmd)
}

const imageKinds = `
IMAGE is a JPEG, PNG, GIF, WebP, BMP, TIFF or PPM file, - for standard input, a
folder (-r: with the folders in it) or a pattern such as '*.jpg'.`

const streamKinds = imageKinds + ` With
--stream-images - is any number of PNG or JPEG pictures, one after the other, as
ffmpeg -f image2pipe writes them; they are called -#1, -#2 and so on.`

const imageHelp = streamKinds + ` With more than one, each result is a line: the path, a
tab and the text, in which backslash, newline and carriage return are escaped
as \\, \n and \r.` + batchHelp

const answerHelp = imageHelp + `

With --scores the confidence and a tab come before the text. It is e to the mean
log-probability of the tokens written, the end token included: between 0 and 1.`

// request is what a command asks of a model. It is made from options, and does not
// change while it is carried out.
type request struct {
	task     string
	items    []item
	model    modelOptions
	limits   limitOptions
	sampling samplingOptions
	box      *box     // of the image, appended to the prompts; nil: none
	suffixes []string // scored in place of a generation; nil: none
	pick     bool     // the answer is the likeliest suffix
	join     bool     // an item has any number of images
	stream   bool     // text is written as it comes
	objects  *objectOptions
	paths    bool     // text has the images' paths
	masks    bool     // of the objects
	labels   []string // that the objects are asked for by
	keep     bool     // the files of the images, to draw on

	batch    *batchOptions              // the answers go to files; nil: to standard output
	inputs   askOptions                 // of a batch: what its items come from,
	requests string                     // a file of JSON Lines, also without a batch; "": none
	prompts  []string                   // asked of those that have none
	wrap     func(prompt string) string // makes the prompts of the others; nil: they are not asked
	rate     bool                       // texts are rated, and none is written
	seeded   bool                       // the seed was asked for
}

// item is what prompts are asked of: an image, several or none.
type item struct {
	sources []source
	prompts []string

	line      int         // of --requests; 0: it is of the command line
	box       *[4]float64 // nil: that of the command line
	maxTokens int         // to write; 0: as many as the command says
}

// streams reports whether the item is a stream of images, each asked by itself.
func (it *item) streams() bool { return len(it.sources) > 0 && it.sources[0].stream }

// newRequest makes a request without its items, and checks the options.
func newRequest(task string, o askOptions) (request, error) {
	if err := cmp.Or(o.model.check(), o.image.check()); err != nil {
		return request{}, err
	}
	q := request{task: task, model: o.model, limits: o.image.limits, sampling: o.sampling}
	if o.box.given() {
		q.box = &o.box
	}
	return q, nil
}

// newImageRequest makes a request that asks each prompt about each image.
func (a *app) newImageRequest(ctx context.Context, task string, prompts []string, o askOptions) (request, error) {
	q, err := newRequest(task, o)
	if err != nil {
		return q, err
	}
	if o.batch.given() {
		return q, q.takeBatch(o, prompts)
	}
	sources, err := a.expandImages(ctx, o.images, o.image)
	if err != nil {
		return q, err
	}
	if len(sources) == 0 {
		return q, usageError{errors.New("IMAGE is missing: a file, a folder, a pattern, - or --files-from")}
	}
	q.items = splitItems(sources, prompts)
	q.paths = o.image.paths(o.images, sources)
	return q, nil
}

// takeBatch makes a request that of a batch.
func (q *request) takeBatch(o askOptions, prompts []string) error {
	if len(o.images) == 0 && o.image.FilesFrom == "" {
		return usageError{errors.New("IMAGE is missing: a file, a folder, a pattern, a file of records or --files-from")}
	}
	q.batch, q.inputs, q.prompts, q.seeded = &o.batch, o, prompts, o.sampling.Seeded
	return nil
}

// newPromptRequest makes a request whose images may be left out, or joined in one
// prompt.
func (a *app) newPromptRequest(cmd *cobra.Command, prompts []string, o askOptions, join bool) (request, error) {
	q, err := newRequest(cmd.Name(), o)
	if err != nil {
		return q, err
	}
	if q.join = join; join && q.box != nil {
		return q, usageError{errors.New("--box and --join exclude each other: a box is of one image")}
	}
	if o.batch.given() {
		return q, q.takeBatch(o, prompts)
	}
	sources, err := a.expandImages(cmd.Context(), o.images, o.image)
	if err != nil {
		return q, err
	}
	if len(sources) == 0 && q.box != nil {
		if typed(cmd.Flags(), "box") {
			return q, usageError{errors.New("--box needs an image")}
		}
		q.box = nil
	}
	if join && len(sources) > 0 && sources[0].stream {
		return q, usageError{errors.New("--join and --stream-images exclude each other: a stream has any number of images")}
	}
	if join || len(sources) == 0 {
		q.items = []item{{sources: sources, prompts: prompts}}
	} else {
		q.items = splitItems(sources, prompts)
		q.paths = o.image.paths(o.images, sources)
	}
	return q, nil
}

// several reports whether there is, or may be, more than one item to answer.
func (q *request) several() bool {
	return q.requests != "" || len(q.items) > 1 || q.items[0].streams()
}

// splitItems makes an item of each image.
func splitItems(sources []source, prompts []string) []item {
	items := make([]item, len(sources))
	for i := range sources {
		items[i] = item{sources: sources[i : i+1], prompts: prompts}
	}
	return items
}

// sources are the images of all items, in the order in which they are read.
func (q *request) sources() (all []*source) {
	for _, it := range q.items {
		for i := range it.sources {
			all = append(all, &it.sources[i])
		}
	}
	return all
}

// hopeless returns the error of a request that cannot succeed, so that it fails
// before a model is loaded.
func (q *request) hopeless() error {
	if q.several() {
		return nil // the others are answered
	}
	for _, s := range q.items[0].sources {
		if s.err != nil {
			return result.ImageError{Err: s.err}
		}
	}
	return nil
}

// wants reports whether the answer to an item's prompt is read for objects, and
// whether their masks are asked for.
func (q *request) wants(it *item, prompt string) (objects, masks bool) {
	switch {
	case q.objects == nil:
		return false, false
	case it.line > 0:
		return asksObjects(it, prompt), task.AsksMasks(prompt)
	}
	return true, q.masks
}

// asksObjects reports whether the answer to a prompt of --requests holds objects: it
// is then read as that of detect or segment.
func asksObjects(it *item, prompt string) bool {
	return len(it.sources) == 1 && (task.AsksBoxes(prompt) || task.AsksMasks(prompt))
}

// boxUsage describes --box, where it does not say more.
const boxUsage = "ask about a part of the image, `x0,y0,x1,y1` in pixels: its location tokens go to the end of the prompt"

// boxFlag adds --box.
func (o *askOptions) boxFlag(f *pflag.FlagSet, usage string) { f.Var(&o.box, "box", usage) }
