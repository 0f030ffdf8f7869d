// Package layout knows what tensors are called in checkpoints, whoever wrote
// them, and in our file: one table for all layouts of names, for whole checkpoints
// and for adapters.
package layout
