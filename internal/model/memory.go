package model

const (
	floatSize  = 4 // bytes
	mostMemory = 1 << 60
)

// WorkingMemory estimates what a model needs beyond its weights, in bytes, for a
// prompt of some tokens and those that follow it: the cache of keys and values, the
// results of the widest layer, the logits, and all that is small. It is meant to be
// a little too much.
func (c Config) WorkingMemory(prompt, generated int) int64 {
	const small = 48 << 20 // vocabulary, picture, graphs, the program itself
	// In floating point nothing overflows, whatever a file says.
	cache := c.cacheMemory(float64(prompt) + float64(generated))
	return int64(min(mostMemory, small+cache+max(c.textMemory(float64(prompt)), c.visionMemory())+c.logitMemory()))
}

// textMemory is the size of the results in a layer of the language model.
func (c Config) textMemory(tokens float64) float64 {
	return tokens * floatSize * (2*float64(c.Text.MLP) + 12*float64(c.Text.Hidden))
}

// visionMemory is the size of the results in a layer of the tower.
func (c Config) visionMemory() float64 {
	v := c.Vision
	return float64(v.ImageTokens) * floatSize * (float64(v.MLP) + 12*float64(v.Hidden))
}

// logitMemory is the size of the logits, with copies.
func (c Config) logitMemory() float64 { return 4 * floatSize * float64(c.Text.Vocab) }

// scoreMemory is the size of attention's scores, before and after softmax, where all tokens
// see each other and attention is written out.
func scoreMemory(tokens, heads int) float64 {
	return 2 * min(scoreBytes, floatSize*float64(heads)*float64(tokens)*float64(tokens))
}

// SequenceMemory estimates what another sequence of some tokens needs, in bytes,
// where several are decoded together: its cache of keys and values, in float32. An open
// model knows more ([Model.SequenceMemory]).
func (c Config) SequenceMemory(tokens int) int64 {
	return int64(min(mostMemory, c.cacheMemory(float64(tokens))))
}

// cacheMemory is the size of the keys and values of some tokens, in float32.
func (c Config) cacheMemory(tokens float64) float64 {
	return tokens * 2 * floatSize * float64(c.Text.Layers) * float64(c.Text.KVHeads) * float64(c.Text.HeadDim)
}
