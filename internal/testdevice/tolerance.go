package testdevice

import "strings"

// What docs/devices.md aims at for f32 on GPUs.
const (
	gpuDistance = 3e-3 // of the largest magnitude
	gpuGap      = 1e-2 // between the two best logits, below which either may be taken
	gpuLogProb  = 5e-2 // of log-probabilities
)

// onGPU reports whether the device has arithmetic of its own; rpc0 and the like compute
// on the CPU.
func (d Device) onGPU() bool {
	for _, name := range []string{cpu, rpc, fake} {
		if strings.HasPrefix(d.Name, name) {
			return false
		}
	}
	return true
}

// Tolerance returns how far results may be from those wanted, in parts of the largest
// magnitude: as far as on the CPU, and on a GPU at least as far as f32 may be there.
func (d Device) Tolerance(onCPU float64) float64 {
	if d.onGPU() {
		return max(onCPU, gpuDistance)
	}
	return onCPU
}

// Gap returns how far the best logit must be above the second for the choice to be sure.
func (d Device) Gap() float64 {
	if d.onGPU() {
		return gpuGap
	}
	return 0
}

// LogProbTolerance returns how far log-probabilities may be from those wanted: as far as on
// the CPU, and on a GPU at least as far as its tolerance moves logits of 10 to 20.
func (d Device) LogProbTolerance(onCPU float64) float64 {
	if d.onGPU() {
		return max(onCPU, gpuLogProb)
	}
	return onCPU
}
