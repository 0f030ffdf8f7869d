package ggml

// Counts are of the graphs of some computations.
type Counts struct {
	Computed int `json:"computed"` // graphs
	Built    int `json:"built"`    // graphs recorded for it: fewer where one is computed again
	// Splits is the most parts that the scheduler cut one of the graphs into, each for one
	// device: 1 where no operation falls back on the CPU.
	Splits int `json:"splits"`
}

// Add counts what other computations took, too.
func (c *Counts) Add(other Counts) {
	c.Computed += other.Computed
	c.Built += other.Built
	c.Splits = max(c.Splits, other.Splits)
}

// TakeCounts returns the counts since it was last called.
func (b *Backend) TakeCounts() Counts {
	c := b.counts
	b.counts = Counts{}
	return c
}
