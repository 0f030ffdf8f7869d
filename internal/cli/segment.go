package cli

import (
	"paligemma/internal/task"

	"github.com/spf13/cobra"
)

func (a *app) segmentCommand() *cobra.Command {
	o := &locateOptions{}
	cmd := &cobra.Command{
		Use:        "segment OBJECT IMAGE...",
		SuggestFor: []string{"mask", "masks", "cut"},
		Short:      "Find objects in images and give their masks",
		Long: `Find an object in each image and give its box and its mask. OBJECT comes before
the images.
` + streamKinds + "\n" + tableHelp + "\n" + boxFormatsHelp + labelDirHelp + batchHelp + `

Masks are decoded by the decoder of PaliGemma's mask codec, vae-oid.npz. It is
in the model if that was made with convert --mask-decoder, or is given here with
--mask-decoder; without it there are boxes and codes. With --mask-dir the masks
are files, NAME-1.png, NAME-2.png and so on, white on black, as large as the
image.`,
		Example: `  paligemma segment cat photo.jpg -m model.gguf --mask-dir masks --draw overlay.png
  paligemma segment cat photo.jpg --mask-decoder vae-oid.npz --format json | jq '.masks[].rle'`,
		Annotations: map[string]string{givesBoxes: "yes"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.parse(cmd, args); err != nil {
				return err
			}
			return a.runLocate(cmd, o, task.Segment, true)
		},
	}
	askFlags(cmd, &o.ask, task.MaxTokensObjects)
	o.ask.sampling.repeatFlag(cmd.Flags())
	o.objects.maskFlags(cmd.Flags())
	o.objects.labelFlag(cmd.Flags())
	o.objects.drawFlags(cmd.Flags(), drawUsage)
	return cmd
}
