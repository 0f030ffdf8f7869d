// Package pillow computes what Pillow computes, to the last bit: its resize of
// 8-bit RGB with BICUBIC and of floats with BILINEAR (src/libImaging/Resample.c),
// and its conversion of CMYK to RGB (Convert.c). Processors of transformers
// prepare pictures with the former, and big_vision pastes masks with the latter
// resize.
//
// The horizontal pass comes first, but for RGB that is more than a hundred times as
// high as wide and becomes lower, as in Pillow since 12.2. Pillow 13 swaps the passes
// of other tall pictures, too, which may change an 8-bit sample by a level or two and
// a float by its last bit.
package pillow
