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
	n, cache := float64(prompt), c.cacheMemory(float64(prompt)+float64(generated))
	text := n * size * (2*float64(t.MLP) + 12*float64(t.Hidden))
	vision := float64(v.ImageTokens) * size * (float64(v.MLP) + 12*float64(v.Hidden))
	return int64(min(most, small+cache+max(text, vision)+4*size*float64(t.Vocab)))
}

// SequenceMemory estimates what another sequence of some tokens needs, in bytes,
// where several are decoded together: its cache of keys and values.
func (c Config) SequenceMemory(tokens int) int64 {
	return int64(min(1<<60, c.cacheMemory(float64(tokens))))
}

// cacheMemory is the size of the keys and values of some tokens, in float32.
func (c Config) cacheMemory(tokens float64) float64 {
	const size = 4
	return tokens * 2 * size * float64(c.Text.Layers) * float64(c.Text.KVHeads) * float64(c.Text.HeadDim)
}
