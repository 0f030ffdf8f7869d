// Package layout knows what tensors are called in checkpoints, whoever wrote
// them, and in a model's file: one table for all layouts of names, for whole checkpoints
// and for adapters.
package layout
