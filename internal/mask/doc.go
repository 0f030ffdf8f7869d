// Package mask makes full-size masks of what the mask decoder says, and COCO's
// run-length codes and polygons of those.
//
// Masks are []byte of H·W values, row-major, 0 or 1 (any other value counts as 1).
package mask
