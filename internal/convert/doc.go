// Package convert turns a PaliGemma checkpoint (safetensors and JSON, as
// save_pretrained leaves them; big_vision's npz; or a pair of GGUF files of
// llama.cpp) into one GGUF file that holds everything:
// weights, configuration, tokenizer and the image processor's numbers. It also
// makes such a file into one of another type.
//
//	folder.go           what a path is, and what to type where it is not a checkpoint
//	inputs.go           the files that are read, which the output must not replace
//	catalog.go          the checkpoint's tensors without what trainers add to names
//	leftovers.go        tensors that are ignored, and those that are not plain weights
//	weights.go          where a checkpoint's tensors lie, whatever files they are
//	bigvision.go        npz → tensors in the order of transformers
//	strided.go          rows of a tensor that lies transposed in an array
//	pair.go             a language model and its vision part, both GGUF → tensors
//	shapes.go           a configuration of shapes, and PaliGemmas below a prefix
//	names.go            the checkpoint's tensors for those of the file
//	json.go             fields of JSON files by type, and what is wrong with them
//	config.go           config.json → model.Config, sparse releases filled in by family
//	processor.go        the image processor's JSON, checked against what the graph does
//	completion.go       tokens that tokenizer.json lacks and other files have
//	tokenizer_source.go the file of a tokenizer, tokenizer.json or SentencePiece's
//	tokenizer.go        tokenizer.json → tokenizer.* keys and the special ids
//	policy.go           what each tensor is stored as, and what is padded
//	merge.go            adapters on the way of rows
//	mask.go             the mask decoder's tensors
//	origin.go           keys that say where on a hub a checkpoint comes from
//	quantize.go         GGUF → GGUF of another type
//	rows.go             where the values of tensors come from
//	stream.go           rows → float32 → blocks, in parallel and in order
//	output.go           the header, the tensors and the report of a file
//	report.go           the table of what was chosen
//
// Nothing is read whole but the JSON, the tokenizer, the mask decoder and the low-rank
// updates of adapters: weights pass through in pieces of about a million values, so
// memory does not depend on the size of the checkpoint or of its shards. The same input gives the same bytes, however many threads work.
package convert
