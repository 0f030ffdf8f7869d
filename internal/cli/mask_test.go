package cli

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"strings"

	"paligemma/internal/model"
)

// writeCodec writes a mask codec of random weights, as vae-oid.npz has them.
func writeCodec(path string) error {
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for _, t := range model.MaskTensors() {
		w, err := z.Create(t.Source + ".npy")
		if err != nil {
			return err
		}
		n, shape := 1, ""
		for _, d := range t.Shape {
			n *= d
			shape += fmt.Sprintf("%d, ", d)
		}
		header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }", shape)
		header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
		data := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), byte(len(header)>>8))
		data = append(data, header...)
		hash := fnv.New64a()
		hash.Write([]byte(t.Source))
		random := rand.New(rand.NewPCG(hash.Sum64(), 6))
		// Weights that neither fade out nor blow up on their way, and a seed with
		// which masks have an inside and an outside.
		scale := math.Sqrt(2 * float64(t.Shape[0]) / float64(n))
		for range n {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(random.NormFloat64()*scale)))
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, buf.Bytes(), 0o600)
}
