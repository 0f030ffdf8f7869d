package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
)

// Probe is what single products reach on the backend's device with the backend's
// threads, the best of a few runs: what a whole model can be compared with. It is
// not the limit of the hardware: other kernels may do better.
type Probe struct {
	Read float64 `json:"probe_read_gb_s"`   // an F32 matrix of 268 MB times a vector: its bytes over the time
	F32  float64 `json:"probe_f32_gflops"`  // one product of a matrix [2048, 8192] of this type with 256 tokens, as a model has it:
	BF16 float64 `json:"probe_bf16_gflops"` // its 2·2048·8192·256 operations over the time, what is done to the
	Q8_0 float64 `json:"probe_q8_0_gflops"` // tokens first (quantize, round) included
	Q4_K float64 `json:"probe_q4_k_gflops"`
}

const (
	probeIn, probeOut, probeTokens = 2048, 8192, 256

	readIn, readOut = 4096, 16384 // 268 MB of F32

	probeRounds = 5 // the first one also makes ggml's plan
)

// runProbe opens a backend itself.
func runProbe(ctx context.Context, o ggml.Options) (*Probe, error) {
	e, err := ggml.NewBackend(o)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	p := &Probe{}
	for _, m := range []struct {
		typ  gguf.Type
		rate *float64
	}{{gguf.TypeF32, &p.F32}, {gguf.TypeBF16, &p.BF16}, {gguf.TypeQ8_0, &p.Q8_0}, {gguf.TypeQ4_K, &p.Q4_K}} {
		best, err := probeProduct(ctx, e, m.typ)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.typ, err)
		}
		*m.rate = 2 * probeIn * probeOut * probeTokens / best.Seconds() / 1e9
	}
	best, err := probeRead(ctx, e)
	if err != nil {
		return nil, err
	}
	p.Read = 4 * readIn * readOut / best.Seconds() / 1e9
	return p, nil
}

// probeProduct times the product of random weights with random tokens.
func probeProduct(ctx context.Context, e *ggml.Backend, typ gguf.Type) (time.Duration, error) {
	random := rand.New(rand.NewPCG(2, uint64(typ)))
	rows, err := newRows(random, typ, probeIn, probeIn)
	if err != nil {
		return 0, err
	}
	spec := ggml.Spec{Name: "probe", Type: typ, Shape: []int64{probeIn, probeOut}}
	spec.Data = make([]byte, probeOut*rows.bytes)
	rows.fill(random, spec.Data)
	store, err := e.NewWeights([]ggml.Spec{spec}, nil)
	if err != nil {
		return 0, err
	}
	defer store.Close()
	x := make([]float32, probeIn*probeTokens)
	for i := range x {
		x[i] = float32(random.NormFloat64())
	}
	return bestProduct(ctx, e, store.Tensors()[0], x)
}

// probeRead times the product of a large matrix with one vector, which does
// next to nothing but wait for memory. Its values, zeros, do not matter.
func probeRead(ctx context.Context, e *ggml.Backend) (time.Duration, error) {
	store, err := e.NewStore([]ggml.Spec{{Name: "probe", Type: gguf.TypeF32, Shape: []int64{readIn, readOut}}})
	if err != nil {
		return 0, err
	}
	defer store.Close()
	return bestProduct(ctx, e, store.Tensors()[0], make([]float32, readIn))
}

// bestProduct multiplies w with the rows of x several times.
func bestProduct(ctx context.Context, e *ggml.Backend, w ggml.Tensor, x []float32) (time.Duration, error) {
	var best time.Duration
	for range probeRounds {
		took, err := product(ctx, e, w, x)
		if err != nil {
			return 0, err
		}
		if best == 0 || took < best {
			best = took
		}
	}
	return max(best, 1), nil
}

func product(ctx context.Context, e *ggml.Backend, w ggml.Tensor, x []float32) (time.Duration, error) {
	g := e.NewGraph(ggml.GraphOptions{})
	defer g.Close()
	in := w.Dim(0)
	g.Output(g.MulWeights(w, g.Float32s(x, in, int64(len(x))/in)))
	start := time.Now()
	err := g.Compute(ctx)
	return time.Since(start), err
}
