package model

// Joined is the number of layers whose Q, K and V are one matrix, and of all.
func (m *Model) Joined() (joined, layers int) {
	for _, w := range m.projections() {
		layers++
		if w.joined.tensor.Valid() {
			joined++
		}
	}
	return joined, layers
}

// Separate undoes that.
func (m *Model) Separate() {
	for _, w := range m.projections() {
		w.joined = Matrix{}
	}
}
