package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"paligemma/internal/ggml"
	"paligemma/internal/units"
)

func (a *app) devicesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "devices",
		Short: "List what the program can run on",
		Long: `List the devices that --device takes. With auto, the first GPU is used, else the CPU.

A model that is too large for one of them can be split: each computes some of its
layers. paligemma inspect MODEL --split auto shows who would get what.

GPUs are computed on by plug-ins, libggml-cuda-*.so and libggml-vulkan-*.so, next to the
program or in ../lib/paligemma; PALIGEMMA_BACKENDS names other folders (separated by
colons; empty: none). What keeps one from being used is said on stderr.`,
		Example: `  paligemma devices
  paligemma caption photo.jpg --device cpu
  paligemma caption photo.jpg -m model.gguf --device cuda0,cuda1
  paligemma caption photo.jpg -m model.gguf --gpu-layers 12`,
		Args: argsBetween(0, 0, ""),
		RunE: func(*cobra.Command, []string) error { return a.runDevices() },
	}
}

// listedDevice is a device with its memory.
type listedDevice struct {
	ggml.Device
	MemoryFree  int64 `json:"memory_free"` // bytes
	MemoryTotal int64 `json:"memory_total"`
}

func (a *app) runDevices() error {
	var devices []listedDevice
	for _, d := range ggml.Devices() {
		if d.Starts() != nil {
			continue
		}
		free, total := d.Memory()
		devices = append(devices, listedDevice{d, free, total})
	}
	for _, line := range unused() {
		a.note("%s", line)
	}
	if a.common.Format != formatText {
		p := a.newPrinter(layout{many: true, lines: true})
		for _, d := range devices {
			if err := p.object(d); err != nil {
				return err
			}
		}
		return p.close()
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tKIND\tBACKEND\tFREE\tTOTAL\tDESCRIPTION")
	for _, d := range devices {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", d.Name, d.Kind, d.Backend, units.Bytes(d.MemoryFree), units.Bytes(d.MemoryTotal), d.Description)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return a.writeTable(b.String(), "NAME")
}
