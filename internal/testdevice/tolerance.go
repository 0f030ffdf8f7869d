package testdevice

import "strings"

// What docs/devices.md aims at for f32 on GPUs.
const (
	gpuDistance = 3e-3 // of the largest magnitude
	halves      = 5e-3 // the same on Vulkan, which multiplies in F16
	gpuGap      = 1e-2 // between the two best logits, below which either may be taken
	gpuLogProb  = 5e-2 // of log-probabilities
)

// onGPU reports whether one of the devices has arithmetic of its own; rpc0 and the like
// compute on the CPU.
func (d Device) onGPU() bool {
	for name := range strings.SplitSeq(d.Name, ",") {
		if name != cpu && !strings.HasPrefix(name, rpc) && !strings.HasPrefix(name, fake) {
			return true
		}
	}
	return false
}

// Tolerance returns how far results may be from those wanted, in parts of the largest
// magnitude: as far as on the CPU, and on a GPU at least as far as f32 may be there.
func (d Device) Tolerance(onCPU float64) float64 {
	switch {
	case strings.Contains(d.Name, "vulkan"):
		return max(onCPU, halves)
	case d.onGPU():
		return max(onCPU, gpuDistance)
	}
	return onCPU
}

// TypeTolerance is Tolerance for results of files of a type, where it is less or more: CUDA
// multiplies F32 in F32, and many rows of f16 files in BF16, which has the range of F32.
func (d Device) TypeTolerance(typ string, onCPU float64) float64 {
	const f32, bf16 = 1e-5, 0.03 // as docs/devices.md has them
	switch {
	case !strings.Contains(d.Name, "cuda") || strings.Contains(d.Name, "vulkan"):
		return d.Tolerance(onCPU)
	case typ == "f32":
		return max(onCPU, f32)
	case typ == "f16":
		return max(onCPU, bf16)
	}
	return d.Tolerance(onCPU)
}

// SameRows reports whether equal rows of one product have equal bits: a GPU may take the sum
// of each in other parts.
func (d Device) SameRows() bool { return !d.onGPU() }

// Gap returns how far the best logit must be above the second for the choice to be sure.
func (d Device) Gap() float64 {
	if d.onGPU() {
		return gpuGap
	}
	return 0
}

// LogProbTolerance returns how far log-probabilities, and sums of them in parts of
// themselves, may be from those wanted: as far as on the CPU, and on a GPU at least as far
// as its tolerance moves logits of 10 to 20.
func (d Device) LogProbTolerance(onCPU float64) float64 {
	if d.onGPU() {
		return max(onCPU, gpuLogProb)
	}
	return onCPU
}
