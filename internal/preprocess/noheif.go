//go:build !heif

package preprocess

// decodeHEIF is nil: this build reads neither HEIC nor AVIF. `make HEIF=1` makes
// one that does; the reasons why it is not the default are in
// docs/architecture.md.
var decodeHEIF func(data []byte, kind string, lim Limits) (*RGB, error)
