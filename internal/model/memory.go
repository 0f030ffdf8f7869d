package model

// WorkingMemory estimates what a model needs beyond its weights, in bytes, for a
// prompt of some tokens and those that follow it: the cache of keys and values, the
// results of the widest layer, the logits, and all that is small. It is meant to be
// a little too much.
func (c Config) WorkingMemory(prompt, generated int) int64 {
	const (
		size  = 4        // of a float32
		small = 48 << 20 // vocabulary, picture, graphs, the program itself
		most  = 1 << 60
	)
	// In floating point nothing overflows, whatever a file says.
	t, v := c.Text, c.Vision
	n, all := float64(prompt), float64(prompt)+float64(generated)
	cache := all * 2 * size * float64(t.Layers) * float64(t.KVHeads) * float64(t.HeadDim)
	text := n * size * (2*float64(t.MLP) + 12*float64(t.Hidden))
	vision := float64(v.ImageTokens) * size * (float64(v.MLP) + 12*float64(v.Hidden))
	return int64(min(most, small+cache+max(text, vision)+4*size*float64(t.Vocab)))
}
