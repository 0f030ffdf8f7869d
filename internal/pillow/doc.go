// Package pillow computes what Pillow computes, to the last bit: its resize of
// 8-bit RGB with BICUBIC and of floats with BILINEAR (src/libImaging/Resample.c),
// and its conversion of CMYK to RGB (Convert.c). Processors of transformers
// prepare pictures with the former, and big_vision pastes masks with the latter
// resize.
//
// Pillow up to 12 resizes horizontally first, and so does this package. Pillow 13
// swaps the passes of some tall pictures, which may change an 8-bit sample by one
// level and a float by its last bit.
package pillow
