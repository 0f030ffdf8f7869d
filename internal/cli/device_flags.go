package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"paligemma/internal/ggml"
	"paligemma/internal/model"
	"paligemma/internal/nearest"
	"paligemma/internal/quote"
	"paligemma/internal/units"
)

// Words of --device and --split.
const (
	deviceAuto = "auto"
	deviceCPU  = "cpu"
	splitAuto  = "auto"
)

// deviceOptions are the flags that say what computes a model.
type deviceOptions struct {
	Device    string
	Split     string
	GPULayers layerCount
}

func (o *deviceOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.Device, "device", deviceAuto, "`NAME` of what to compute on (see paligemma devices); several with commas between them share the layers")
	f.StringVar(&o.Split, "split", "", "`SHARES` of several devices: auto, by their free memory, or A,B,…: layers, or proportions of them")
	f.Var(&o.GPULayers, "gpu-layers", "compute the last `N` layers on the GPU and the others on the CPU")
	exclude(f, "gpu-layers", "split")
}

// layerCount is a flag's number of layers.
type layerCount struct {
	n     int
	given bool
}

// Set implements [pflag.Value].
func (c *layerCount) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return errors.New("want a whole number, 0 or more")
	}
	*c = layerCount{n, true}
	return nil
}

// String implements [pflag.Value].
func (c *layerCount) String() string {
	if !c.given {
		return ""
	}
	return strconv.Itoa(c.n)
}

// Type implements [pflag.Value].
func (c *layerCount) Type() string { return "uint64" }

// splits reports whether a flag says which layers a device gets.
func (o *deviceOptions) splits() bool { return o.Split != "" || o.GPULayers.given }

func (o *deviceOptions) check() error {
	_, _, err := o.resolve()
	return err
}

// resolve returns the devices that the flags ask for, as engine.Options have them.
func (o *deviceOptions) resolve() (devices string, split model.Split, err error) {
	if o.GPULayers.given && o.Split != "" {
		return "", split, usageError{errors.New("--gpu-layers and --split exclude each other")}
	}
	if split.Shares, err = parseShares(o.Split); err != nil {
		return "", split, err
	}
	if err := o.checkNames(); err != nil {
		return "", split, err
	}
	if o.GPULayers.given {
		return o.gpuLayers()
	}
	devices = o.Device
	if o.Split != "" && (devices == "" || devices == deviceAuto) {
		devices = allDevices(len(split.Shares))
	}
	if n := strings.Count(devices, ",") + 1; split.Shares != nil && len(split.Shares) != n {
		return "", split, usageError{fmt.Errorf("--split %s: %s for --device %s; want one for each device", quote.Short(o.Split), units.Count(len(split.Shares), "share", "shares"), devices)}
	}
	return devices, split, nil
}

// gpuLayers resolves --gpu-layers. Without a GPU the CPU computes all layers.
func (o *deviceOptions) gpuLayers() (devices string, split model.Split, err error) {
	found, err := ggml.FindDevices(o.Device)
	if err != nil {
		return "", split, err
	}
	if len(found) > 1 {
		return "", split, usageError{errors.New("--gpu-layers is for one GPU: --split says who of several devices gets what")}
	}
	if found[0].Kind == ggml.KindCPU || o.GPULayers.n == 0 {
		return deviceCPU, split, nil
	}
	split.Last = o.GPULayers.n
	return deviceCPU + "," + found[0].Name, split, nil
}

// checkNames compares --device with the devices that there are.
func (o *deviceOptions) checkNames() error {
	if o.Device == "" || o.Device == deviceAuto || strings.EqualFold(o.Device, ggml.CPU().Name) {
		return nil // for the CPU no plug-in is loaded
	}
	var names []string
	for _, d := range ggml.Devices() {
		names = append(names, d.Name)
	}
	for name := range strings.SplitSeq(o.Device, ",") {
		if !slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) }) {
			if name == o.Device {
				names = slices.Insert(names, 0, deviceAuto) // which stands alone
			}
			known := strings.Join(names, ", ") + nearest.DidYouMean(nearest.Word(name, names))
			return usageError{fmt.Errorf("--device %s: this build has %s", quote.Short(name), strings.Join(append([]string{known}, unused()...), "; "))}
		}
	}
	if _, err := ggml.FindDevices(o.Device); err != nil {
		return usageError{fmt.Errorf("--device: %w", err)}
	}
	return nil
}

// allDevices lists the GPUs, and the CPU for what has no room on them, or where there are
// more shares than GPUs.
func allDevices(shares int) string {
	names := devicesOf(ggml.KindGPU)
	if len(names) == 0 {
		names = devicesOf(ggml.KindIGPU)
	}
	if shares == 0 || shares > len(names) {
		names = append(names, deviceCPU)
	}
	return strings.Join(names, ",")
}

// devicesOf returns the names of all devices of a kind that start.
func devicesOf(kind ggml.DeviceKind) (names []string) {
	for _, d := range ggml.Devices() {
		if d.Kind == kind && d.Starts() == nil {
			names = append(names, d.Name)
		}
	}
	return names
}

// parseShares reads --split: nil stands for auto.
func parseShares(text string) ([]float64, error) {
	if text == "" || text == splitAuto {
		return nil, nil
	}
	var shares []float64
	sum := 0.0
	for part := range strings.SplitSeq(text, ",") {
		share, err := strconv.ParseFloat(part, 64)
		if err != nil || !(share >= 0 && share <= 1e9) {
			return nil, usageError{fmt.Errorf("--split %s: want auto, or a number for each device, such as 3,1", quote.Short(text))}
		}
		shares, sum = append(shares, share), sum+share
	}
	if sum == 0 {
		return nil, usageError{fmt.Errorf("--split %s: one of the numbers must be above 0", quote.Short(text))}
	}
	return shares, nil
}
