package cli

import (
	"paligemma/internal/task"

	"github.com/spf13/cobra"
)

func (a *app) detectCommand() *cobra.Command {
	o := &locateOptions{}
	cmd := &cobra.Command{
		Use:        "detect OBJECTS IMAGE...",
		SuggestFor: []string{"find", "locate", "box", "boxes"},
		Short:      "Find objects in images and give their boxes",
		Long: `Find objects in each image. OBJECTS are what to look for, several with " ; "
between them; they come before the images.
` + streamKinds + "\n" + tableHelp + "\n" + boxFormatsHelp + labelDirHelp + batchHelp + `

A group of location tokens that is not whole is left out, and so is text without
a box; a line on standard error counts them, -v and JSON list them. Small
checkpoints are prone to write the same object until --max-tokens ends it:
--stop-repeats ends the text there, and leaves out the object that is a repeat.`,
		Example: `  paligemma detect "cat ; dog" photo.jpg -m model.gguf --draw boxes.png
  paligemma detect car 'street/*.jpg' --draw 'drawn/{}.jpg' --format jsonl`,
		Annotations: map[string]string{givesBoxes: "yes"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.parse(cmd, args); err != nil {
				return err
			}
			return a.runLocate(cmd, o, task.Detect, false)
		},
	}
	askFlags(cmd, &o.ask, task.MaxTokensObjects)
	o.ask.sampling.repeatFlag(cmd.Flags())
	o.objects.labelFlag(cmd.Flags())
	o.objects.drawFlags(cmd.Flags(), drawUsage)
	return cmd
}
