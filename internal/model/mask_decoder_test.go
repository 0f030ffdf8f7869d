package model_test

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"paligemma/internal/ggml"
	"paligemma/internal/model"
)

// maskWeights draws weights that keep activations near 1.
func maskWeights() map[string][]float32 {
	r := rand.New(rand.NewPCG(1, 2))
	out := map[string][]float32{}
	for _, t := range model.MaskTensors() {
		n := 1
		for _, d := range t.Shape {
			n *= d
		}
		scale := 0.1
		if len(t.Shape) == 4 {
			scale = math.Sqrt(2 / float64(n/t.Shape[0]))
		}
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(scale * r.NormFloat64())
		}
		out[t.Name] = values
	}
	return out
}

// plane is an image [c][h][w].
type plane struct {
	c, h, w int
	v       []float64
}

// naiveConv is a convolution as PyTorch defines it, stride 1, "same" size.
func naiveConv(x plane, weight, bias []float32, out, k int) plane {
	y := plane{out, x.h, x.w, make([]float64, out*x.h*x.w)}
	for o := range out {
		for i := range x.h * x.w {
			sum := float64(bias[o])
			for c := range x.c {
				for j := range k * k {
					sy, sx := i/x.w+j/k-k/2, i%x.w+j%k-k/2
					if sy >= 0 && sy < x.h && sx >= 0 && sx < x.w {
						sum += x.v[(c*x.h+sy)*x.w+sx] * float64(weight[(o*x.c+c)*k*k+j])
					}
				}
			}
			y.v[o*x.h*x.w+i] = sum
		}
	}
	return y
}

// naiveUp is a transposed convolution as PyTorch defines it: 4×4, stride 2,
// padding 1. Every input pixel adds its kernel to the output.
func naiveUp(x plane, weight, bias []float32, out int) plane {
	y := plane{out, 2 * x.h, 2 * x.w, make([]float64, 4*out*x.h*x.w)}
	for o := range out {
		for i := range 4 * x.h * x.w {
			y.v[o*4*x.h*x.w+i] = float64(bias[o])
		}
		for c := range x.c {
			for i := range x.h * x.w {
				for j := range 16 {
					ty, tx := 2*(i/x.w)-1+j/4, 2*(i%x.w)-1+j%4
					if ty >= 0 && ty < y.h && tx >= 0 && tx < y.w {
						y.v[(o*y.h+ty)*y.w+tx] += x.v[c*x.h*x.w+i] * float64(weight[(c*out+o)*16+j])
					}
				}
			}
		}
	}
	return y
}

func relu(x plane) plane {
	y := plane{x.c, x.h, x.w, make([]float64, len(x.v))}
	for i, v := range x.v {
		y.v[i] = max(v, 0)
	}
	return y
}

// naiveDecode is the decoder, layer by layer (reference: big_vision's
// segmentation.py and the layers of vae-oid.npz).
func naiveDecode(w map[string][]float32, codes []int) []float64 {
	x := plane{512, 4, 4, make([]float64, 512*16)}
	for i, code := range codes {
		for c := range 512 {
			x.v[c*16+i] = float64(w["mask.codebook"][code*512+c])
		}
	}
	conv := func(layer string, x plane, out, k int) plane {
		return naiveConv(x, w["mask.decoder."+layer+".weight"], w["mask.decoder."+layer+".bias"], out, k)
	}
	x = relu(conv("0", x, 128, 1))
	for _, block := range []string{"2", "3"} {
		y := relu(conv(block+".net.0", x, 128, 3))
		y = relu(conv(block+".net.2", y, 128, 3))
		y = conv(block+".net.4", y, 128, 1)
		for i := range x.v {
			x.v[i] += y.v[i]
		}
	}
	for i, layer := range []string{"4", "6", "8", "10"} {
		name := "mask.decoder." + layer
		x = relu(naiveUp(x, w[name+".weight"], w[name+".bias"], []int{128, 64, 32, 16}[i]))
	}
	return conv("12", x, 1, 1).v
}

// naiveMasks are what naiveDecode makes of two of the masks of TestMaskDecoder.
var naiveMasks = sync.OnceValue(func() map[int][]float64 {
	weights, masks := maskWeights(), testMasks()
	return map[int][]float64{0: naiveDecode(weights, masks[0]), 33: naiveDecode(weights, masks[33])}
})

// testMasks returns the codes of more masks than are computed at once.
func testMasks() (masks [][]int) {
	for i := range 35 {
		codes := make([]int, 16)
		for j := range codes {
			codes[j] = (i*31 + j*7) % 128
		}
		masks = append(masks, codes)
	}
	return masks
}

func TestMaskDecoder(t *testing.T) {
	e, err := ggml.NewBackend(testDevice(t))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	d, err := model.NewMaskDecoder(e, maskWeights())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	masks := testMasks()
	got, err := d.Decode(context.Background(), masks)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range naiveMasks() {
		largest, worst := 0.0, 0.0
		for j := range want {
			largest = max(largest, math.Abs(want[j]))
			worst = max(worst, math.Abs(float64(got[i][j])-want[j]))
		}
		if !(worst < 1e-5*largest) {
			t.Errorf("mask %d: off by %.2g of %.2g", i, worst, largest)
		}
	}
	for _, bad := range [][]int{{1, 2}, append([]int{128}, masks[0][1:]...), append([]int{-1}, masks[0][1:]...)} {
		if _, err := d.Decode(context.Background(), [][]int{bad}); err == nil {
			t.Errorf("%v: no error", bad)
		}
	}
	if got, err := d.Decode(context.Background(), nil); err != nil || len(got) != 0 {
		t.Errorf("no masks: %v, %v", got, err)
	}
}

func TestMaskDecoderRefuses(t *testing.T) {
	e, err := ggml.NewBackend(testDevice(t))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for name, spoil := range map[string]func(map[string][]float32){
		"mask.codebook":               func(w map[string][]float32) { delete(w, "mask.codebook") },
		"mask.decoder.4.weight":       func(w map[string][]float32) { w["mask.decoder.4.weight"] = w["mask.decoder.4.weight"][1:] },
		"mask.decoder.3.net.2.bias":   func(w map[string][]float32) { w["mask.decoder.3.net.2.bias"][5] = float32(math.NaN()) },
		"mask.decoder.12.bias":        func(w map[string][]float32) { w["mask.decoder.12.bias"][0] = float32(math.Inf(1)) },
		"mask.decoder.2.net.0.weight": func(w map[string][]float32) { w["mask.decoder.2.net.0.weight"] = nil },
	} {
		t.Run(name, func(t *testing.T) {
			w := maskWeights()
			spoil(w)
			d, err := model.NewMaskDecoder(e, w)
			if err == nil {
				d.Close()
			}
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Error(err)
			}
		})
	}
}
