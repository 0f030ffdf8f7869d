// Package ggml binds the ggml tensor library (https://github.com/ggml-org/ggml).
//
// A [Backend] holds the devices that were asked for, the CPU as their fallback, a
// persistent thread pool and the scheduler that spreads a graph over them.
// A [Store] has tensors that live as long as a model or a cache; a [Graph] is built anew for
// every computation and dies with it, unless it is kept ([Graph.Keep]).
//
// ggml's own checks abort the process. Every operation is therefore checked
// here first; the first error of a graph sticks, makes all later operations
// do nothing, and is returned by [Graph.Compute].
//
// Shapes are written in ggml's order, innermost dimension first: [hidden, T]
// is T rows of hidden values.
package ggml
