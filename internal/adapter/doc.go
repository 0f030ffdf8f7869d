// Package adapter reads adapters of PEFT (LoRA and what belongs to it) and works
// out what they make of a model. Every tensor of an adapter is used, or it is an
// error that names it.
//
//	spec.go     PATH:SCALE, and several adapters at once
//	open.go     what a path is, and what to type where it is not an adapter
//	config.go   adapter_config.json, and the kinds of adapters that are refused
//	pattern.go  rank_pattern and alpha_pattern, matched as PEFT does
//	keys.go     a tensor's name → the module that it belongs to, and its part in it
//	resolve.go  an adapter's tensors against those of a model
//	notes.go    what a user should know of an adapter
//	sum.go      several adapters, and a head that was the token embedding
//	stored.go   values of tensors that replace the model's
//	summary.go  what is in an adapter, for humans
package adapter
