// Package bench measures how fast a model runs and how near that comes to what
// the machine can do.
//
// A repetition opens the model anew and captions a picture, as the program does
// from its start: open_ms, first_token_ms and caption20_ms. It then measures the
// parts by themselves on the same engine, which is warm by now: image_ms,
// vision_ms, prefill_ms, decode_tok_s; where graphs are kept, after some turns
// that do not count. It loads the tokenizer alone, and, if asked to, decodes
// several sequences together: sequences. One repetition before all others warms
// up and does not count.
//
// The model is a file, or a [Synthetic] one of random weights, which takes the
// place of a checkpoint that may not be passed around. A number taken while
// something else keeps the cores busy is worth nothing: threads wait for each
// other.
package bench
