package safetensors

import "bytes"

// beginnings are how files start that lie where a checkpoint's file should be,
// with what they are and what to do about it.
var beginnings = []struct{ start, what string }{
	{"version https://git-lfs", "a Git LFS pointer, not the file itself: run `git lfs pull` in its folder"},
	{"GGUF", "a GGUF model already: use it with --model, or change its type with `paligemma quantize`"},
	{"PK\x03\x04", "a zip archive, as torch.save writes pickled weights, which are not read: save it with save_pretrained, as safetensors"},
	{"\x80\x02", "a Python pickle, which is not read: save it with save_pretrained, as safetensors"},
	{"\x80\x04", "a Python pickle, which is not read: save it with save_pretrained, as safetensors"},
	{"\x89HDF", "an HDF5 file, as Keras writes weights, which is not read: download the model for transformers, as safetensors"},
	{"<!", "a web page, not the file itself: download it again"},
	{"<html", "a web page, not the file itself: download it again"},
	{"\x1f\x8b", "compressed with gzip: unpack it first"},
	{"\xef\xbb\xbf", "text that begins with a byte order mark, which JSON may not: save it as UTF-8 without one"},
	{"\xff\xfe", "text in UTF-16: save it as UTF-8"},
	{"\xfe\xff", "text in UTF-16: save it as UTF-8"},
}

// DescribeForeign says what a file is that starts so, and what to do
// about it, if it is of a kind that is often found in place of a checkpoint's
// file; else it returns "".
func DescribeForeign(start []byte) string {
	for _, b := range beginnings {
		if bytes.HasPrefix(start, []byte(b.start)) {
			return b.what
		}
	}
	return ""
}
