package cli

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"paligemma/internal/engine"
	"paligemma/internal/model"
	"paligemma/internal/units"
)

// place plans what devices would compute of a model, where that is asked for.
func (i *inspection) place(o *inspectOptions) error {
	if !o.devices.splits() {
		return nil
	}
	if i.plan == nil {
		return &engine.ModelError{Err: fmt.Errorf("%s: only the layers of a GGUF file are placed on devices: make one with `paligemma convert`", i.Path)}
	}
	adapters, err := adapterSpecs(o.LoRA)
	if err != nil {
		return err
	}
	devices, split, err := o.devices.resolve()
	if err != nil {
		return err
	}
	plan, err := i.plan(engine.Options{Device: devices, Split: split, Adapters: adapters, Parallel: 1})
	if err != nil {
		return &engine.ModelError{Err: fmt.Errorf("%s: %w", i.Path, err)}
	}
	i.Plan, i.LoRA = &plan, o.LoRA
	return nil
}

// writePlan prints a plan as a table, what adapters it is made for, and what does not fit.
func writePlan(out io.Writer, p model.Plan, lora []string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.DiscardEmptyColumns)
	adapters := func(s string) string {
		if len(lora) == 0 {
			return ""
		}
		return s
	}
	fmt.Fprintf(w, "\nDEVICE\tLAYERS\tALSO\tWEIGHTS\t%s\tCACHE\tCOMPUTE\tNEEDS\tFREE\n", adapters("ADAPTERS"))
	for _, s := range p.Shares {
		layers, free, also := "-", "unknown", []string{}
		if s.Layers > 0 {
			layers = fmt.Sprintf("%d–%d", s.First, s.First+s.Layers-1)
		}
		if s.Vision {
			also = append(also, "tower")
		}
		if s.Head {
			also = append(also, "head")
		}
		if s.Free > 0 {
			free = units.Bytes(s.Free)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Device, layers, cmp.Or(strings.Join(also, ", "), "-"),
			units.Bytes(s.Weights), adapters(units.Bytes(s.Adapters)), units.Bytes(s.Cache), units.Bytes(s.Compute), units.Bytes(s.Needs()), free)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(lora) > 0 {
		fmt.Fprintf(out, "adapters: %s\n", escapePath.Replace(strings.Join(lora, ", ")))
	}
	if s, short := p.Short(); short {
		fmt.Fprintf(out, "%s has too little memory: it needs %s\n", s.Device, units.Bytes(s.Needs()-s.Free)+" more")
	}
	return nil
}
